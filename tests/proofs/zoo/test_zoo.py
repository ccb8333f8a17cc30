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
from dataclasses import replace
from pathlib import Path

import pytest

from prep.convert.overlay import folder as overlay
from sample_hub.server import Hub
from tests.proofs.matrix.runner import slug
from tests.proofs.zoo import runner
from tests.proofs.zoo.damages import DAMAGES, Damage
from tests.proofs.zoo.rows import ROWS, Row, served
from tests.support.paths import ROOT
from tests.support.runs import copy_home, in_namespace
from tools.zoo.build import folder

pytestmark = pytest.mark.timeout(0)  # a row waits for the runs of all, which have time limits

Outcomes = dict[str, runner.Outcome]


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of all tests that were chosen."""
    given = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    rows = [params["row"] for params in given if "row" in params]
    rows += [params["damage"].row for params in given if "damage" in params]
    if any("converter" in item.name for item in request.session.items):
        rows.append(ROWS["mt5"])
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
    assert runner.wrong(outcomes[row.name]) == ""


@pytest.mark.parametrize("damage", DAMAGES, ids=[slug(damage.name) for damage in DAMAGES])
def test_damage(damage: Damage, outcomes: Outcomes, scratch: Path, tmp_path: Path) -> None:
    assert outcomes[damage.row.name].found == "ready", outcomes[damage.row.name].message
    home = copy_home(scratch / "home", tmp_path / "home")
    damage.to(home)
    outcome = runner.offline(damage.row, scratch / "models.toml", home)
    assert outcome.found == "failed", outcome.message
    assert damage.file in outcome.message


def test_converter_that_is_not_installed(place: Path, tmp_path: Path) -> None:
    """An empty file system lies over its folder."""
    row = replace(ROWS["mt5"], name="mt5-without-converter")
    hide = ("sh", "-c", f'[ ! -d {overlay()} ] || mount -t tmpfs none {overlay()}; exec "$@"', "-")
    with Hub(served(place, [row.model])) as hub:
        outcome = runner.refused(row, tmp_path, hub.url, prefix=(*in_namespace("--mount"), *hide))
    assert outcome.found == "refused"
    assert outcome.message == (
        "converter not installed: mt5-without-converter: it is converted with "
        f"transformers==4.57.6, which is not installed in {overlay()}. "
        "Install it: python -m prep.convert.overlay"
    )
