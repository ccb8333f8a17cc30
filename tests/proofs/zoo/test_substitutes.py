"""Random weights, mixed-up tokens and wrong pooling fail, whatever the architecture: `make zoo`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.sandbox.import_server import ImportServer
from tests.proofs.zoo.rows import ROWS, Row, kinds
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

KINDS = kinds()


@pytest.fixture(scope="module")
def interrogator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrogator]:
    server = ImportServer(tmp_path_factory.mktemp("scratch"))
    yield Interrogator(server=server)
    server.stop()


def of_row(place: Path, row: Row) -> Path:
    return place / row.model / row.entry["revision"].replace("/", "-")


@pytest.mark.parametrize("row", KINDS, ids=[row.name for row in KINDS])
def test_a_stand_in_passes_by_itself(row: Row, place: Path, interrogator: Interrogator) -> None:
    folder = of_row(place, row)
    assert interrogator.failed_judges(row, folder, folder) == set()


@pytest.mark.parametrize("row", KINDS, ids=[row.name for row in KINDS])
@pytest.mark.parametrize("substitute", [random_weights, mixed_up_tokens])
def test_a_substitute_is_seen(
    row: Row, substitute: Substitute, place: Path, tmp_path: Path, interrogator: Interrogator
) -> None:
    """Published as they are, by the questions alone; in place of the published, by agreement."""
    served = of_row(place, row)
    folder = substituted(served, tmp_path / "model", substitute)
    assert AGREEMENT in interrogator.failed_judges(row, served, folder)
    failed = interrogator.failed_judges(row, folder, folder)
    assert failed >= {JUDGED_BY[row.task]} if row.task in JUDGED_BY else failed


POOLED = [row for row in KINDS if row.task == "embedding" and row.model != "static-retrieval"]


@pytest.mark.parametrize("row", POOLED, ids=[row.name for row in POOLED])
def test_wrong_pooling_is_seen(
    row: Row, place: Path, tmp_path: Path, interrogator: Interrogator
) -> None:
    served = of_row(place, row)
    folder = substituted(served, tmp_path / "model", other_pooling)
    assert AGREEMENT in interrogator.failed_judges(row, served, folder)


def test_all_kinds_are_tried() -> None:
    assert len(KINDS) == len({row.kind for row in ROWS.values() if row.expected == "ready"})
