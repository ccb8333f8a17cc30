"""The home is laid out so that other users, on other mounts, read what was locked."""

import pytest

from model_tests.checks import none_of
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched

pytestmark = pytest.mark.layout

LINKS = (
    "Such links dangle where the home is mounted elsewhere. Without --offline, pytest repairs it."
)
MODES = (
    "Services run as other users. Without --offline, pytest opens what it may below the home; the "
    "home's own folder is yours to open: chmod o+rx."
)
UNLOCKED = (
    "A loader would take it before or beside the locked files, so answers could change. It is not "
    "ours, so it is never removed: take it away by hand, or lock it."
)


def test_links_stay_inside_the_home(fetched: Fetched) -> None:
    """A home that is moved or mounted elsewhere takes its links along."""
    none_of(
        (problem for problem in fetched.state.problems if problem.aspect == "links"),
        f"{fetched.spec.name} has links that leave the home",
        LINKS,
    )


def test_everybody_can_read(fetched: Fetched) -> None:
    """Files o+r and folders o+rx, from the home's root downwards."""
    none_of(
        (problem for problem in fetched.state.problems if problem.aspect == "modes"),
        f"{fetched.spec.name} cannot be read by other users",
        MODES,
    )


def test_no_loader_takes_an_unlocked_file(fetched: Fetched) -> None:
    """Adapters, tokenizers, configurations and weights that nobody locked."""
    none_of(
        (problem for problem in fetched.state.problems if problem.aspect == "unlocked"),
        f"{fetched.spec.name} has unlocked files in {fetched.home.shown(fetched.snapshot)}",
        UNLOCKED,
    )


def test_converted_links_stay_inside_the_home(converted: Converted) -> None:
    """The stable path and all files behind it."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "links"),
        f"{converted.model}: the {converted.precision} conversion has links that leave the home",
        LINKS,
    )


def test_everybody_can_read_the_converted(converted: Converted) -> None:
    """Files o+r and folders o+rx, from the home's root downwards."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "modes"),
        f"{converted.model}: the {converted.precision} conversion cannot be read by other users",
        MODES,
    )


def test_no_loader_takes_an_unlisted_converted_file(converted: Converted) -> None:
    """Another IR, tokenizer or configuration than the receipt lists."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "unlocked"),
        f"{converted.model}: unlisted files in {converted.home.shown(converted.path)}",
        UNLOCKED,
    )
