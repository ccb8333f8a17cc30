"""A plugin for runs: interrupts one load, or one test, and takes another load's model away.

What it does is in the environment variable `INTERRUPT`, as JSON: `how`, where (`load`, the id of a
load), and `gone`, the load whose converted folder is not there while it is made.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.interruptions.ways import FIRST

PLAN: dict[str, str] = json.loads(os.environ.get("INTERRUPT", "{}"))
BEGUN: set[str] = set()  # loads
SOON = 0.08  # seconds: a load is under way by then, and takes more than twice that


def happens() -> bool:
    """Once in a run: xdist has a new worker do the test again at which the one before died."""
    try:
        Path(PLAN["once"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def is_of(item: pytest.Item, key: str) -> bool:
    return PLAN.get(key) is not None and item.nodeid.endswith(f"[tiny-embedding:{PLAN[key]}]")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest-timeout takes its seconds from a marker; the first test of a load makes it."""
    how, _, method = PLAN.get("how", "").partition(":")
    chosen = [item for item in items if is_of(item, "load") and FIRST in item.nodeid]
    if how in ("timeout", "timeout-in-call"):
        for item in chosen:
            in_call = how == "timeout-in-call"
            item.add_marker(pytest.mark.timeout(SOON, method=method, func_only=in_call))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """While the load is under way: an exception out of a signal's handler, or a kill."""
    how = PLAN.get("how")
    if not is_of(item, "load"):
        return
    if how in ("SystemExit", "KeyboardInterrupt", "kill") and happens():
        if how == "kill":
            threading.Timer(SOON, os.kill, (os.getpid(), signal.SIGKILL)).start()
            return
        error = {"SystemExit": SystemExit(3), "KeyboardInterrupt": KeyboardInterrupt()}[how]

        def ring(number: int, frame: object) -> None:
            raise error

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, SOON)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """In the test itself, when the load was made."""
    if not is_of(item, "load") or not PLAN["how"].partition(":")[0].endswith("-in-call"):
        return
    if FIRST in item.nodeid and happens():
        match PLAN["how"].partition(":")[0]:
            case "timeout-in-call":
                time.sleep(60)
            case "SystemExit-in-call":
                raise SystemExit(3)
            case "KeyboardInterrupt-in-call":
                raise KeyboardInterrupt
            case "failure-in-call":
                raise AssertionError("not this time")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Iterator[None]:
    """The load that is interrupted is begun now; what another would read is not there meanwhile."""
    load = request.getfixturevalue("load") if fixturedef.argname == "loaded" else None
    if load is not None and load.id in {PLAN["load"], PLAN.get("gone")} - BEGUN:
        BEGUN.add(load.id)
        request.getfixturevalue("stages").forget(request.getfixturevalue("spec"), load)
    if load is None or load.id != PLAN.get("gone"):
        return (yield)
    folder = Path(PLAN["folder"])
    folder.rename(folder.with_name("taken away"))
    try:
        return (yield)
    finally:
        folder.with_name("taken away").rename(folder)
