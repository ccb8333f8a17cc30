"""Every fault of the network ends in its class, with its message, and keeps what was downloaded."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.fault_play import Played, Row, play
from tests.support.fault_rows import ROWS


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
def test_fault_ends_in_its_class_with_its_message_and_keeps_what_came(
    row: Row, played: Callable[[str], Played]
) -> None:
    result = played(row.id)
    if row.error or not row.sentence:
        assert result.said == result.wanted
    else:
        assert result.wanted in result.said.splitlines()
    assert (result.error, result.kept) == (row.error, row.kept)
