"""Every way by a real run, and the run after it."""

from pathlib import Path

import pytest

from tests.proofs.interruptions.runs import hold, interrupted, prepare, ready_status, suite
from tests.proofs.interruptions.ways import WAYS
from tests.support.runs import status


@pytest.fixture(scope="module")
def prepared_for_interruptions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("name", WAYS)
def test_no_later_test_is_judged_by_what_an_interrupted_one_left(
    tmp_path: Path, prepared_for_interruptions: Path, name: str
) -> None:
    way = WAYS[name]
    done, home = interrupted(prepared_for_interruptions, tmp_path, way)
    hold(done, home, tmp_path / "junit.xml", way)
    after = suite(prepared_for_interruptions, home, "--hub", "http://127.0.0.1:9")
    assert after.code == 0, after.out
    assert (status(home), ready_status(home)) == ("ready", "ready")
