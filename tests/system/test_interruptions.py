"""Whatever ends a test early: exactly its load's tests fail, and no answer is anybody else's."""

from pathlib import Path

import pytest

from tests.support.interruptions.runs import hold, interrupted, prepare, ready_status, suite
from tests.support.interruptions.ways import CALLED_AGAIN, FIRST, QUICK, WAYS, A
from tests.support.runs import TINY, sample, status


@pytest.fixture(scope="module")
def prepared_for_interruptions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize(
    "name",
    [*QUICK, *(pytest.param(name, marks=pytest.mark.proof) for name in WAYS if name not in QUICK)],
)
def test_no_later_test_is_judged_by_what_an_interrupted_one_left(
    tmp_path: Path, prepared_for_interruptions: Path, name: str
) -> None:
    way = WAYS[name]
    done, home = interrupted(prepared_for_interruptions, tmp_path, way)
    hold(done, home, tmp_path / "junit.xml", way)
    if way.code != 0:  # else that run itself came to this
        after = suite(prepared_for_interruptions, home, "--hub", "http://127.0.0.1:9")
        assert after.code == 0, after.out
    assert (status(home), ready_status(home)) == ("ready", "ready")


def test_no_failed_answer_is_judged_twice(tmp_path: Path, prepared_for_interruptions: Path) -> None:
    """Where a plugin runs a failed test again and keeps what was loaded, that is no verdict."""
    way = CALLED_AGAIN
    done, home = interrupted(prepared_for_interruptions, tmp_path, way)
    hold(done, home, tmp_path / "junit.xml", way)
    assert (
        f"{FIRST}[{TINY}:{A}] passed when it was run again, but by the answers that it "
        "failed by: the load was not made again. Run the whole model again."
    ) in done.said


@pytest.mark.parametrize(
    ("option", "name"),
    [("--lf", "--lf"), ("--ff", "--ff"), ("--last-failed", "--lf"), ("--sw", "--sw")],
)
def test_options_of_pytests_cache_are_refused_in_a_sentence(
    tmp_path: Path, option: str, name: str
) -> None:
    done = sample(tmp_path / "home", option)
    assert done.code == 4, done.out
    assert (
        f"ERROR: {name}: this suite keeps no record of failed tests, because a verdict needs every "
        "test of a model. Choose models with --models, or tests with -k or -m."
    ) in done.said
    assert "Traceback" not in done.out
