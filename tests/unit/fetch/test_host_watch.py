"""The parent gives up a host that accepts no connection, and nothing that makes progress."""

import time
from pathlib import Path

import pytest

from prep.errors import HubUnreachable, TimedOut
from prep.fetch import host_watch
from prep.fetch.host_watch import HostWatch, named
from prep.fetch.hub import Network, ask
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import REPO, deaf


def test_wait_that_the_hub_asks_for_is_progress_for_the_parent() -> None:
    watch = HostWatch("hub", 0.5, None, 20)
    for left in (3, 2, 1):
        time.sleep(0.3)
        assert not watch.handle({"event": "waiting", "left": left}), "it is to be shown as well"
        watch.check("x")


def test_steps_of_small_files_are_progress_for_the_parent() -> None:
    watch = HostWatch("hub", 0.5, None, 20)
    for _ in range(4):
        time.sleep(0.2)
        assert watch.handle({"event": "step"})
        watch.check("x")
    time.sleep(0.8)
    with pytest.raises(TimedOut):
        watch.check("x")


def test_host_that_accepts_no_connection_is_given_up_whatever_else_is_received() -> None:
    watch = HostWatch("hub:80", 60, None, connect_limit=0.3)
    watch.handle({"event": "asking", "host": "hub:80", "role": "hub"})
    watch.handle({"event": "asking", "host": "slow", "role": "bytes"})
    watch.handle({"event": "connected", "host": "slow", "role": "bytes"})
    watch.handle({"event": "asking", "host": "cdn", "role": "bytes"})
    watch.handle({"event": "answered", "host": "hub:80"})
    watch.saw(10_000_000)
    watch.check("x")
    time.sleep(0.5)
    watch.saw(20_000_000)
    with pytest.raises(HubUnreachable, match=r"^hub unreachable: cdn \(storage host of hub:80\): "):
        watch.check("x")


def test_a_host_is_named_with_the_reason_why_it_is_asked() -> None:
    assert named("hub", "hub", "hub") == "hub"
    assert named("login", "hub", "hub") == "login (redirected to by hub)"
    assert named("cdn", "hub", "bytes", "cdn") == "cdn (storage host of hub)"
    assert named("login", "hub", "bytes", "cdn") == (
        "login (redirected to by cdn, the storage host of hub)"
    )


def test_host_that_accepts_no_connection_costs_less_than_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the parent: a name's look-up takes no timeout of ours."""
    monkeypatch.setattr("prep.fetch.hub.CONNECT_LIMIT_SECONDS", 2)
    assert host_watch.CONNECT_LIMIT_SECONDS + 5 <= 25
    with deaf() as port:
        network, began = Network(endpoint=f"http://127.0.0.1:{port}"), time.monotonic()
        with pytest.raises(HubUnreachable, match=rf"^hub unreachable: 127.0.0.1:{port}: timed out"):
            ask(network, REPO, "main", ("*",), scratch=tmp_path)
    assert time.monotonic() - began < 40


def test_host_that_accepts_the_connection_has_the_whole_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prep.fetch.hub.CONNECT_LIMIT_SECONDS", 1)
    (served := tmp_path / "served").mkdir()
    (served / "config.json").write_text("{}")
    repo, first = ServedRepo.of(REPO, served), [Fault(wait=6)]
    with Hub([repo], faults=lambda method, path: first.pop() if first else None) as hub:
        network = Network(endpoint=hub.url, timeout=9)
        assert ask(network, REPO, "main", ("*",), scratch=tmp_path).commit == repo.commit
