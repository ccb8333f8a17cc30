"""Every stand-in of a model that people prepare ends as expected: `make zoo`.

ZOO_PYTHON is an interpreter with tools/requirements.txt, which trains those that are not in the
cache yet; ZOO is their folder, where it is not the cache's. The table and the messages are in
reports/zoo.json.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sample_hub.server import Hub
from tests.proofs.zoo import runner
from tests.proofs.zoo.rows import ROWS, Row, served
from tests.support.paths import ROOT
from tools.zoo.build import folder

pytestmark = pytest.mark.timeout(0)  # a row waits for the runs of all, which have time limits

Outcomes = dict[str, runner.Outcome]


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of all tests that were chosen."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    rows = [given.params["row"] for given in params if given and "row" in given.params]
    return list({row.name: row for row in rows}.values())


@pytest.fixture(scope="module")
def place(chosen: list[Row]) -> Path:
    """The folder of the stand-ins, with all that are asked for."""
    there = Path(os.environ.get("ZOO") or folder())
    python = os.environ.get("ZOO_PYTHON", sys.executable)
    models = sorted({row.model for row in chosen})
    subprocess.run([python, "-m", "tools.zoo.build", "--out", there, *models], cwd=ROOT, check=True)
    return there


@pytest.fixture(scope="module")
def outcomes(
    chosen: list[Row],
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    show: Callable[[str], None],
    keep: Callable[[str, object], None],
) -> Iterator[Outcomes]:
    scratch, began = tmp_path_factory.mktemp("zoo"), time.monotonic()
    with Hub(served(place, (row.model for row in chosen))) as hub:
        found = [runner.refused(row, scratch, hub.url) for row in chosen if row.refused is not None]
        whole = [row for row in chosen if row.refused is None]
        found += runner.ready(whole, scratch, hub.url) if whole else []
    show(runner.table(found))
    keep("zoo.json", runner.report(found, began))
    yield {outcome.row.name: outcome for outcome in found}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS), scope="module")
def test_row(row: Row, outcomes: Outcomes) -> None:
    outcome = outcomes[row.name]
    if row.refused is not None:
        assert outcome.found == "refused", outcome.message
        assert " ".join(row.refused.split()) in outcome.message
        return
    assert outcome.found == "ready", outcome.message
    assert outcome.consumers == row.consumers
