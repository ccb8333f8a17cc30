"""Several models are asked for side by side: in order, and each with its own errors and time."""

import threading
import time

import pytest

from prep.errors import HubUnreachable, TimedOut
from prep.fetch.client import Client
from prep.fetch.ranges import STREAMS
from prep.fetch.worker import Tally, _in_order, _refused
from prep.process.child import Event


def client(events: list[Event] | None = None, **limits: float | None) -> Client:
    emit = (lambda event: None) if events is None else events.append
    return Client({"timeout": 5.0, "deadline": None, **limits}, emit)


def test_results_come_in_order_whoever_is_first() -> None:
    names = [f"model-{number}" for number in range(30)]
    running, most, lock = 0, 0, threading.Lock()

    def work(name: str) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05 if name.endswith("1") else 0.01)
        with lock:
            running -= 1
        return int(name.partition("-")[2])

    assert list(_in_order(work, names, client())) == list(zip(names, range(30), strict=True))
    assert 1 < most <= STREAMS


def test_the_first_error_in_order_is_raised_and_no_more_models_are_begun() -> None:
    begun: list[int] = []

    def work(name: str) -> int:
        number = int(name)
        begun.append(number)
        time.sleep(0.2 if number == 3 else 0.01)
        if number in (3, 5):
            raise HubUnreachable(name)
        return number

    done = []
    with pytest.raises(HubUnreachable, match=r"^hub unreachable: 3$"):
        for name, _ in _in_order(work, map(str, range(200)), client()):
            done.append(name)
    assert done == ["0", "1", "2"]
    assert len(begun) < 200


def test_hub_that_does_not_answer_for_the_first_is_not_asked_for_the_others() -> None:
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        raise HubUnreachable(name)

    with pytest.raises(HubUnreachable):
        list(_in_order(work, "abc", client()))
    assert begun == ["a"]


def test_time_without_progress_is_each_models_own() -> None:
    events: list[Event] = []
    every = client(events, timeout=0.5)
    slow, busy = every.of("asking about slow"), every.of("asking about busy")
    for _ in range(4):
        time.sleep(0.2)
        busy.timer.step()
    with pytest.raises(TimedOut, match=r"^timed out: asking about slow: no progress for 0.5 s"):
        slow.timer.received(1)
    assert events.count({"event": "step"}) == 4


def test_deadline_is_each_models_own() -> None:
    every = client(deadline=0.3)
    first = every.of("asking about first")
    time.sleep(0.4)
    every.of("asking about second").timer.step()
    with pytest.raises(TimedOut, match=r"^timed out: asking about first: not done within the 0.3"):
        first.timer.step()


def test_a_hubs_wait_is_for_all_models_and_a_line_names_its_model() -> None:
    events: list[Event] = []
    every = client(events)
    first, second = every.of("x", "first"), every.of("y", "second")
    assert first.retry._wait is second.retry._wait
    first.retry.report("network: 503")
    assert events == [{"event": "line", "text": "first: network: 503"}]


def test_an_unexpected_error_is_that_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def may_read(url: str, session: object) -> None:
        if "/first/" in url:
            raise UnicodeDecodeError("ascii", b"\xe9", 0, 1, "odd")

    monkeypatch.setattr("prep.fetch.worker._may_read", may_read)
    models = {name: (f"org/{name}", "0" * 40, "config.json") for name in ("first", "second")}
    assert _refused(models, client()) == {
        "first": {
            "class": "UnicodeDecodeError",
            "message": "'ascii' codec can't decode byte 0xe9 in position 0: odd",
        }
    }


def test_total_done_never_falls_when_a_file_is_started_again() -> None:
    events: list[dict[str, object]] = []
    tally = Tally(10, events.append)
    tally.add(6, received=False)
    tally.add(-6, received=False)
    tally.add(10)
    assert tally.fetched == 10
    assert events[-1] == {"event": "bytes", "total_done": 16, "done": 10, "of": 10}
