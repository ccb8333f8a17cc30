"""Whatever the network does, the user reads what it was and what to do, and keeps what came."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.fault_play import Played, Row, play
from tests.support.fault_rows import OPERATIONS, ROWS, table, written


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Played]]:
    """The rows that were chosen, side by side: most of their time is waiting."""
    chosen = {
        item.callspec.params["row"].id  # type: ignore[attr-defined]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(4) as pool:
        results: dict[str, Future[Played]] = {
            row.id: pool.submit(play, row, tmp_path_factory.mktemp(row.id))
            for row in ROWS
            if row.id in chosen
        }
        yield lambda name: results[name].result()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_fault_is_told_in_its_sentence_and_what_came_is_kept(
    row: Row, played: Callable[[str], Played]
) -> None:
    result = played(row.id)
    if row.code or not row.sentence:
        assert result.said == result.wanted
    else:
        assert result.wanted in result.said.splitlines()
    assert (result.code, result.kept) == (row.code, row.kept)


def test_operations_tell_every_fault_with_its_sentence() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    assert table() in text, "python -m tests.support.fault_rows"
    assert written(text.replace(ROWS[0].fault, "another")) == text
