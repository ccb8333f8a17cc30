"""A few kinds of models that people prepare, by whole runs; `make zoo` tries all of them.

Those that need no training: their weights are the samples', in other types and other files.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.sandbox.import_server import ImportServer
from sample_hub.server import Hub
from tests.proofs.zoo import runner
from tests.proofs.zoo.rows import ROWS, served, write_catalogue
from tests.proofs.zoo.substitutes import (
    AGREEMENT,
    JUDGED_BY,
    Interrogator,
    Substitute,
    mixed_up_tokens,
    other_pooling,
    random_weights,
    substituted,
)
from tests.support.paths import ROOT
from tests.support.runs import environment
from tools.zoo.rows import rows as stand_ins

READY = ("e5-instruct", "saved-by-6", "cross-encoder-saved-by-6")
REFUSED = ("byt5", "nli-deberta", "gte-v1-5")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("stand-ins")
    command = [sys.executable, "-m", "tools.zoo.build", "--out", there, *READY, *REFUSED]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True)
    return there


@pytest.fixture(scope="module")
def hub(place: Path) -> Iterator[Hub]:
    with Hub(served(place, (*READY, *REFUSED))) as running:
        yield running


@pytest.fixture(scope="module")
def interrogator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrogator]:
    server = ImportServer(tmp_path_factory.mktemp("scratch"))
    yield Interrogator(server=server)
    server.stop()


def test_kinds_that_are_ready(hub: Hub, tmp_path: Path) -> None:
    rows = [ROWS[name] for name in READY]
    write_catalogue(tmp_path / "models.toml", rows)
    found = list(runner.ready(rows, tmp_path, hub.url))
    assert {outcome.row.name: outcome.found for outcome in found} == dict.fromkeys(READY, "ready")
    assert [
        outcome.row.name for outcome in found if outcome.consumers != outcome.row.consumers
    ] == []


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_that_are_refused(name: str, hub: Hub, tmp_path: Path) -> None:
    outcome = runner.refused(ROWS[name], tmp_path, hub.url)
    assert (outcome.found, runner.wrong(outcome)) == ("refused", "")


def test_every_stand_in_is_expected_to_become_something() -> None:
    assert {row.model for row in ROWS.values()} == set(stand_ins())


@pytest.mark.parametrize(
    ("name", "substitute"),
    [
        ("e5-instruct", random_weights),
        ("e5-instruct", other_pooling),
        ("cross-encoder-saved-by-6", mixed_up_tokens),
    ],
)
def test_a_substitute_is_seen(
    name: str, substitute: Substitute, place: Path, tmp_path: Path, interrogator: Interrogator
) -> None:
    """In place of the published; and published itself, where a substitute answers at random."""
    row, served = ROWS[name], place / name / "main"
    folder = substituted(served, tmp_path / "model", substitute)
    assert AGREEMENT in interrogator.failed_judges(row, served, folder)
    if substitute is not other_pooling:
        assert JUDGED_BY[row.task] in interrogator.failed_judges(row, folder, folder)
