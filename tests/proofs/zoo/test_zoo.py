"""Every stand-in of a model that people prepare ends as expected: `make zoo`.

ZOO_PYTHON is an interpreter with tools/requirements.txt, which trains those that are not in the
cache yet; ZOO is their folder, where it is not the cache's. ZOO_RUN is a folder for home and
results: with it, a row that ended as expected before is not run again. The table and the messages
are in reports/zoo.json.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from prep.convert.overlay import folder as overlay
from sample_hub.server import Hub
from tests.proofs.matrix.runner import slug
from tests.proofs.zoo import runner
from tests.proofs.zoo.damages import DAMAGES, Damage
from tests.proofs.zoo.rows import ROWS, Row, served, write_catalogue
from tests.proofs.zoo.runner import wrong
from tests.support.runs import copy_home, in_namespace

pytestmark = pytest.mark.timeout(0)  # a row waits for the runs of all, which have time limits

Outcomes = dict[str, runner.Outcome]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("ZOO_RUN")
    return Path(given) if given else tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def outcomes(
    chosen: list[Row],
    place: Path,
    scratch: Path,
    show: Callable[[str], None],
    keep: Callable[[str, object], None],
) -> Outcomes:
    results = runner.Results(scratch / "results")
    known = {row.name: results.of(row) for row in chosen}
    found = {name: outcome for name, outcome in known.items() if outcome and not wrong(outcome)}
    left = [row for row in chosen if row.name not in found]
    write_catalogue(scratch / "models.toml", (row for row in ROWS.values() if row.refused is None))
    refused = [row for row in left if row.refused is not None]
    whole = [row for row in left if row.refused is None]
    with Hub(served(place, (row.model for row in chosen))) as hub:
        new = (runner.refused(row, scratch, hub.url) for row in refused)
        for outcome in chain(new, runner.ready(whole, scratch, hub.url) if whole else ()):
            found[outcome.row.name] = results.keep(outcome)
    show(runner.table(found.values()))
    keep("zoo.json", runner.report(found.values()))
    return found


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS), scope="module")
def test_row(row: Row, outcomes: Outcomes) -> None:
    assert wrong(outcomes[row.name]) == ""


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
        f"huggingface-hub==0.36.2, transformers==4.57.6, and {overlay()} has nothing. "
        "Install it (133 MB): python -m prep.convert.overlay"
    )
