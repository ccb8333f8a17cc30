"""The pins hold: lock, snapshot, name and receipt mean one commit, and every byte is the lock's."""

import pytest

from model_tests.checks import none_of
from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched
from prep.verify.problem import Problem

pytestmark = pytest.mark.pins

REFUSE = (
    "Whoever loads it could run somebody else's code, or read other memory than the weights. "
    "Nothing of ours was let at it. Choose another model or revision: --relock refuses this one."
)
MADE_AGAIN = (
    "Whoever loads it could run somebody else's code. Nothing of ours was let at it. "
    "Without --offline, pytest converts it again."
)
FETCHED_AGAIN = "The lock is the authority. Without --offline, pytest fetches these again."


def test_lock_answers_the_catalogue(spec: ModelSpec, locked: LockedModel) -> None:
    """The lock was made for this entry as it is, and not for an earlier one."""
    got = (locked.repo, locked.requested_revision, locked.requested_files)
    assert got == (spec.repo, spec.revision, spec.files)


def test_source_is_what_the_lock_says(fetched: Fetched) -> None:
    """Corrupt and missing files: every byte is digested, and all problems are in one list."""
    none_of(
        (problem for problem in fetched.state.problems if problem.aspect == "bytes"),
        f"{fetched.spec.name} is not what the lock says in {fetched.home.shown(fetched.snapshot)}",
        FETCHED_AGAIN,
    )


def test_nothing_asks_to_run_code(fetched: Fetched) -> None:
    """No locked file names code of the repository, or of any package, to be imported."""
    none_of(
        (problem for problem in fetched.state.problems if _is(problem, "code")),
        f"{fetched.spec.name} asks to run code in {fetched.home.shown(fetched.snapshot)}",
        REFUSE,
    )


def test_weights_are_what_their_headers_say(fetched: Fetched) -> None:
    """Names, types, shapes and places of all tensors, and the index of shards, fit the files."""
    none_of(
        (problem for problem in fetched.state.problems if _is(problem, "lies")),
        f"{fetched.spec.name} has weights that are not what they say in "
        f"{fetched.home.shown(fetched.snapshot)}",
        REFUSE,
    )


def test_name_leads_to_the_pin(fetched: Fetched) -> None:
    """`refs/main` is what turns the name alone into a commit, offline."""
    none_of(
        (problem for problem in fetched.state.problems if problem.aspect == "ref"),
        f"{fetched.spec.name} cannot be loaded by name as the locked commit",
        "Consumers would get another commit, or none. Without --offline, pytest writes it anew.",
    )


def test_receipt_names_the_pin(converted: Converted) -> None:
    """The conversion was made from the locked bytes, finished, and its receipt is intact."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "receipt"),
        f"{converted.model}: the {converted.precision} conversion does not belong to the lock",
        "Without --offline, pytest converts it again.",
    )


def test_nothing_converted_asks_to_run_code(converted: Converted) -> None:
    """The configurations beside an IR are read by the same libraries."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "unsafe"),
        f"{converted.model}: the {converted.precision} conversion asks to run code in "
        f"{converted.home.shown(converted.path)}",
        MADE_AGAIN,
    )


def _is(problem: Problem, kind: str) -> bool:
    return problem.aspect == "unsafe" and problem.kind == kind
