"""The verdict is the same whatever is around a run; all surroundings are tried by `make steady`."""

from pathlib import Path

import pytest

from tests.proofs.environments.environment import (
    ALL_AT_ONCE,
    AROUND,
    Around,
    differs,
    home_of,
    shuffled,
    verdict,
)
from tests.support.runs import CHECKS, TINY, sample

WITHOUT_LOADS = ("-m", "pins or layout", "--precision", "none")


def test_order_is_really_another(prepared: Path) -> None:
    """Our own sorting would make all seeds one."""
    orders = []
    for around in (Around(), shuffled(1), shuffled(2)):
        done = sample(prepared, "--offline", "--collect-only", "-q", *around.args)
        orders.append([line for line in done.out.splitlines() if f"[{TINY}" in line])
    assert [len(order) for order in orders] == [CHECKS] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_healthy_home_is_ready_in_odd_surroundings_all_at_once(prepared: Path) -> None:
    with home_of("healthy", prepared) as home:
        run, entry = verdict(home, ALL_AT_ONCE)
        assert differs("healthy", run, entry) == [], run.out
    assert sum(entry["tests"].values()) == CHECKS


@pytest.mark.parametrize(
    "around",
    [ALL_AT_ONCE, shuffled(6), AROUND["side by side, shuffled"], AROUND["in no language"]],
    ids=["all at once", "shuffled", "side by side, shuffled", "in no language"],
)
def test_spoiled_home_is_red_for_the_same_reasons(prepared: Path, around: Around) -> None:
    with home_of("spoiled source", prepared) as home:
        run, entry = verdict(home, around, *WITHOUT_LOADS)
        assert differs("spoiled source", run, entry) == [], run.out


def test_another_verdict_would_be_seen(prepared: Path) -> None:
    """Of a home that is spoiled otherwise, and of one that is healthy."""
    with home_of("spoiled source", prepared) as home:
        run, entry = verdict(home, Around(), *WITHOUT_LOADS)
    assert differs("healthy", run, entry)[:2] == ["exit 1, wanted 0", "failed, not ready"]
    assert differs("spoiled conversion", run, entry) == sorted(entry["problems"])
