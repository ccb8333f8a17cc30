"""The verdict is the same in an odd environment; a proof tries every environment."""

import os
from pathlib import Path

import pytest

from tests.support.environments import (
    ALL_AT_ONCE,
    CONDITIONS,
    ENVIRONMENTS,
    Environment,
    differs,
    home_of,
    shuffled,
    verdict,
)
from tests.support.restricted import AS_USER
from tests.support.runs import CHECKS, TINY, sample

WITHOUT_LOADS = ("-m", "pins or layout", "--precision", "none")


def test_order_is_really_another(prepared: Path) -> None:
    """Our own sorting would make all seeds one."""
    orders = []
    for environment in (Environment(), shuffled(1), shuffled(2)):
        done = sample(prepared, "--offline", "--collect-only", "-q", *environment.args)
        orders.append([line for line in done.out.splitlines() if f"[{TINY}" in line])
    assert [len(order) for order in orders] == [CHECKS] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_valid_home_is_ready_in_an_odd_environment(prepared: Path) -> None:
    with home_of("valid", prepared) as home:
        run, entry = verdict(home, ALL_AT_ONCE)
        assert differs("valid", run, entry) == [], run.out
    assert sum(entry["tests"].values()) == CHECKS


@pytest.mark.parametrize(
    "environment",
    [
        ALL_AT_ONCE,
        shuffled(6),
        ENVIRONMENTS["side by side, shuffled"],
        ENVIRONMENTS["in no language"],
    ],
    ids=["all at once", "shuffled", "side by side, shuffled", "in no language"],
)
def test_damaged_home_fails_for_the_same_reasons(prepared: Path, environment: Environment) -> None:
    with home_of("damaged source", prepared) as home:
        run, entry = verdict(home, environment, *WITHOUT_LOADS)
        assert differs("damaged source", run, entry) == [], run.out


def test_another_verdict_would_be_seen(prepared: Path) -> None:
    """Of a home that is damaged otherwise, and of a valid one."""
    with home_of("damaged source", prepared) as home:
        run, entry = verdict(home, Environment(), *WITHOUT_LOADS)
    assert differs("valid", run, entry)[:2] == ["exit 1, wanted 0", "failed, not ready"]
    assert differs("damaged conversion", run, entry) == sorted(
        cause["text"] for cause in entry["causes"]
    )


@pytest.mark.proof
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_verdict_is_the_same(prepared: Path, name: str, condition: str) -> None:
    environment = ENVIRONMENTS[name]
    if environment.on == AS_USER and os.geteuid() != 0:
        pytest.skip("only root can take rights away from itself")
    with home_of(condition, prepared, environment.on) as home:
        run, entry = verdict(home, environment)
        assert differs(condition, run, entry) == [], run.out
