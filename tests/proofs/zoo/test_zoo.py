"""Every stand-in of a model that people prepare ends as expected: `make zoo`.

ZOO_PYTHON is an interpreter with tools/requirements.txt, which trains those that are not in the
cache yet; ZOO is their folder, where it is not the cache's. The table and the messages are in
reports/zoo.json.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sample_hub.server import Hub
from tests.proofs.matrix.runner import slug
from tests.proofs.zoo import runner
from tests.proofs.zoo.damages import DAMAGES, Damage
from tests.proofs.zoo.rows import ROWS, Row, served
from tests.support.paths import ROOT
from tests.support.runs import copy_home
from tools.zoo.build import folder

pytestmark = pytest.mark.timeout(0)  # a row waits for the runs of all, which have time limits

Outcomes = dict[str, runner.Outcome]
COMMIT = re.compile(r"\b[0-9a-f]{40}\b")


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of all tests that were chosen."""
    given = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    rows = [params["row"] for params in given if "row" in params]
    rows += [params["damage"].row for params in given if "damage" in params]
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
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def outcomes(
    chosen: list[Row],
    place: Path,
    scratch: Path,
    show: Callable[[str], None],
    keep: Callable[[str, object], None],
) -> Iterator[Outcomes]:
    began = time.monotonic()
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
    assert outcome.found == row.expected, outcome.message
    if row.refused is not None:
        message = COMMIT.sub("{commit}", outcome.message)
        assert message == " ".join(row.refused.split())
    elif row.failed:
        assert [word for word in row.failed if word not in outcome.message] == []
    else:
        assert outcome.consumers == row.consumers


@pytest.mark.parametrize("damage", DAMAGES, ids=[slug(damage.name) for damage in DAMAGES])
def test_damage(damage: Damage, outcomes: Outcomes, scratch: Path, tmp_path: Path) -> None:
    assert outcomes[damage.row.name].found == "ready", outcomes[damage.row.name].message
    home = copy_home(scratch / "home", tmp_path / "home")
    damage.to(home)
    outcome = runner.offline(damage.row, scratch / "models.toml", home)
    assert outcome.found == "failed"
    assert damage.file in outcome.message
