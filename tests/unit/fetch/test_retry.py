"""What is tried again, how long is waited, and when it is enough; the answers are real ones."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from pathlib import Path

import httpx
import pytest

from prep.errors import HubBusy, HubUnreachable, TimedOut
from prep.fetch import host_watch
from prep.fetch.host_watch import HostWatch
from prep.fetch.hub import Network, ask, reach
from prep.fetch.hub_errors import (
    HubRequest,
    RetriesExhausted,
    TruncatedBody,
    asked_wait,
    meaning,
    passes,
)
from prep.fetch.retry import ProgressTimer, Retry
from prep.fetch.session import Hosts, ServerUnavailable
from prep.fetch.worker import Child, _refused
from prep.process.child import MINIMUM_RATE, Watch
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import REPO, deaf


def answer(status: int, headers: Mapping[str, str] | None = None) -> ServerUnavailable:
    request = httpx.Request("GET", "http://hub.invalid/x")
    return ServerUnavailable(httpx.Response(status, headers=headers, request=request))


def persistence(timeout: float = 60, deadline: float | None = None) -> Retry:
    """With a host that never answered; what it tells is thrown away."""

    def nobody(event: dict[str, object]) -> None:
        return None

    return Retry(ProgressTimer(timeout, deadline, nobody), Hosts(nobody), nobody)


NOW = 1_790_000_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 120 "}, 120),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True), "Date": formatdate(NOW)}, 90),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True), "Date": formatdate(NOW)}, 0),
        (
            {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
            55,
        ),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "9"}, 9),
    ],
    ids=lambda value: "-".join(f"{v}" for v in value.values()) if isinstance(value, dict) else None,
)
def test_wait_that_the_hub_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(answer(429, headers)) == seconds
    assert asked_wait(answer(503, headers)) == seconds


def test_date_without_the_hubs_clock_is_held_against_ours() -> None:
    asked = asked_wait(answer(429, {"Retry-After": formatdate(time.time() + 100, usegmt=True)}))
    assert asked is not None and 60 < asked <= 100


def test_only_what_can_pass_is_tried_again() -> None:
    request = httpx.Request("GET", "http://hub.invalid/x")
    for error in (
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError),
        *(httpx.RemoteProtocolError, httpx.ProxyError, httpx.PoolTimeout),
    ):
        assert passes(error("", request=request)), error
    assert passes(TruncatedBody()) and passes(answer(503))
    for error in (httpx.TooManyRedirects, httpx.UnsupportedProtocol):
        assert not passes(error("", request=request)), error
    assert not passes(ValueError()) and not passes(OSError(28, "No space left"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_each_status_that_can_pass_is_raised_before_the_client_sees_it(
    tmp_path: Path, status: int
) -> None:
    """Its own retry would sleep for as long as the hub says."""
    (tmp_path / "config.json").write_text("{}")
    served = ServedRepo.of(REPO, tmp_path)
    asked = Fault(status=status, headers={"Retry-After": "999"})
    (tmp_path / "s").mkdir()
    with (
        Hub([served], faults=lambda method, path: asked) as hub,
        pytest.raises(HubBusy, match=f"answered {status} for ORG/NAME and asks to wait 999 s"),
    ):
        ask(Network(endpoint=hub.url), REPO, "main", ("*",), scratch=tmp_path / "s")
    assert len(hub.requests) == 1


def test_waits_that_are_asked_for_add_up_to_their_own_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prep.fetch.retry.LONGEST_ASKED_WAIT", 2.9)
    persist, tries = persistence(timeout=1), 0

    def work() -> None:
        nonlocal tries
        tries += 1
        raise answer(429, {"Retry-After": "1"})

    with pytest.raises(RetriesExhausted) as caught:
        persist("x", work)
    assert 2 <= tries <= 3, "1 s and a jitter of up to 1 s each: the third asks for 3 s at least"
    assert (caught.value.asked, caught.value.by_deadline) == (1, False)
    assert 2.9 < caught.value.in_all < 5


def test_waits_that_are_too_long_together_are_told_as_their_sum() -> None:
    asked = HubRequest(
        endpoint="http://hub.invalid",
        repo=REPO,
        revision="main",
        has_token=True,
        shown=lambda: "unknown",
    )
    gave_up = RetriesExhausted(answer(429), 2, 172.0, in_all=344.4)
    assert str(meaning(gave_up, asked)) == (
        "hub.invalid answered 429 for ORG/NAME and asks to wait 172 s more, 344 s in all, longer "
        "than the 330 s that a run waits without progress when it is asked to. What came so far "
        "is kept; run again after that time."
    )


def test_an_error_that_nobody_thought_of_is_that_models_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def may_read(url: str, session: object) -> None:
        if "/first/" in url:
            raise UnicodeDecodeError("ascii", b"\xe9", 0, 1, "odd")

    monkeypatch.setattr("prep.fetch.worker._may_read", may_read)
    models = {name: (f"org/{name}", "0" * 40, "config.json") for name in ("first", "second")}
    child = Child({"timeout": 5.0, "deadline": None}, lambda event: None)
    assert _refused({"asked": models}, child) == {
        "first": {
            "class": "UnicodeDecodeError",
            "message": "'ascii' codec can't decode byte 0xe9 in position 0: odd",
        }
    }


def test_wait_that_is_asked_for_is_no_silence_and_is_told_while_it_lasts() -> None:
    told: list[dict[str, object]] = []
    persist = Retry(ProgressTimer(1, None, told.append), Hosts(told.append), told.append)
    answers = [answer(429, {"Retry-After": "3"})]

    def work() -> float:
        if answers:
            raise answers.pop()
        return persist.pace.left()

    began = time.monotonic()
    assert persist("x", work) > 0, "of the one second without progress"
    assert 3 <= time.monotonic() - began < 6
    waiting = [event for event in told if event["event"] == "waiting"]
    left = [float(str(event["left"])) for event in waiting]
    assert len(left) >= 3 and left == sorted(left, reverse=True)
    assert {event["host"] for event in waiting} == {"hub.invalid"}
    assert {event["status"] for event in waiting} == {429}


def test_nobody_asks_while_the_hub_wants_nobody_to() -> None:
    persist = persistence()
    asked: list[float] = []
    first = [answer(429, {"Retry-After": "2"})]

    def busy() -> None:
        if first:
            raise first.pop()

    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        pool.submit(persist, "x", busy)
        while first:
            time.sleep(0.01)
        time.sleep(0.2)
        pool.submit(persist, "y", lambda: asked.append(time.monotonic() - began)).result()
    assert asked[0] >= 2


def test_threads_that_are_asked_at_once_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.fetch.retry.LONGEST_ASKED_WAIT", 5)
    persist, began = persistence(), time.monotonic()
    both = threading.Barrier(2)
    refused: set[str] = set()

    def work(name: str) -> float:
        if name not in refused:
            refused.add(name)
            both.wait()
            raise answer(429, {"Retry-After": "3"})
        return time.monotonic() - began

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(persist, name, partial(work, name)) for name in "ab"]
        assert [3 <= job.result() < 5.5 for job in jobs] == [True, True]


def test_wait_that_the_hub_asks_for_is_no_silence_of_the_child_for_its_parent() -> None:
    watch = HostWatch("hub", 0.5, None, 20)
    for left in (3, 2, 1):
        time.sleep(0.3)
        assert not watch.hears({"event": "waiting", "left": left}), "it is to be shown as well"
        watch.check("x")


def test_wait_beyond_the_deadline_is_not_begun() -> None:
    def work() -> None:
        raise answer(503, {"Retry-After": "9"})

    began = time.monotonic()
    with pytest.raises(RetriesExhausted) as caught:
        persistence(deadline=5)("x", work)
    assert (caught.value.by_deadline, caught.value.tries) == (True, 1)
    assert time.monotonic() - began < 5


def test_line_that_is_silent_until_the_deadline_is_late_and_not_without_progress() -> None:
    request = httpx.Request("GET", "http://hub.invalid/x")

    def work() -> None:
        raise httpx.ReadTimeout("", request=request)

    with pytest.raises(TimedOut, match=r"^x: not done within the 0\.5 s of --download-deadline"):
        persistence(deadline=0.5)("x", work)


def test_try_that_brought_something_is_the_first_of_a_new_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    persist, tries, have = persistence(), 0, 0
    monkeypatch.setattr(persist.given_up, "wait", lambda timeout: False)

    def work() -> None:
        nonlocal tries, have
        tries += 1
        have += tries in (2, 4)
        raise TruncatedBody

    with pytest.raises(RetriesExhausted) as caught:
        persist("x", work, lambda: have)
    assert (tries, caught.value.tries) == (8, 5), "two, two, and the last that brought with four"


def test_failure_of_one_file_ends_the_wait_of_another() -> None:
    persist = persistence()
    persist.given_up.set()

    def work() -> None:
        raise answer(503, {"Retry-After": "50"})

    began = time.monotonic()
    with pytest.raises(ServerUnavailable):
        persist("x", work)
    assert time.monotonic() - began < 30


def test_own_disk_is_neither_progress_nor_the_lack_of_it() -> None:
    pace = persistence(timeout=0.8).pace
    with pace.paused():
        time.sleep(1)
    pace.check("x")
    assert pace.left() > 0
    time.sleep(1)
    with pace.paused():
        pass
    with pytest.raises(TimedOut, match=r"x: no progress for 0\.8 s"):
        pace.check("x")


def test_drip_is_no_progress_and_steps_are() -> None:
    pace = persistence(timeout=1).pace
    for _ in range(6):
        time.sleep(0.2)
        pace.came(MINIMUM_RATE // 20)
    with pytest.raises(TimedOut):
        pace.check("x")
    pace.step()
    pace.check("x")
    time.sleep(0.8)
    pace.came(MINIMUM_RATE * 2)
    assert pace.left() > 0.7


def test_steps_of_small_files_keep_the_parents_watch_quiet() -> None:
    watch = HostWatch("hub", 0.5, None, 20)
    for _ in range(4):
        time.sleep(0.2)
        assert watch.hears({"event": "step"})
        watch.check("x")
    time.sleep(0.8)
    with pytest.raises(TimedOut):
        watch.check("x")


def test_host_that_never_answers_is_given_up_whatever_else_comes() -> None:
    watch = HostWatch("hub:80", 60, None, silence=0.3)
    watch.hears({"event": "asking", "host": "hub:80", "role": "hub"})
    watch.hears({"event": "asking", "host": "slow", "role": "bytes"})
    watch.hears({"event": "connected", "host": "slow", "role": "bytes"})
    watch.hears({"event": "asking", "host": "cdn", "role": "bytes"})
    watch.hears({"event": "answered", "host": "hub:80"})
    watch.saw(10_000_000)
    watch.check("x")
    time.sleep(0.5)
    watch.saw(20_000_000)
    with pytest.raises(HubUnreachable, match=r"^cdn, where hub:80 sends for the bytes, cannot be"):
        watch.check("x")


def test_host_that_takes_no_connection_costs_less_than_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the parent: a name's look-up takes no timeout of ours."""
    monkeypatch.setattr("prep.fetch.hub.SILENCE_SECONDS", 2)
    assert host_watch.SILENCE_SECONDS + 5 <= 25
    (tmp_path / "s").mkdir()
    with deaf() as port:
        began = time.monotonic()
        with pytest.raises(HubUnreachable, match=r"cannot be reached \(no answer in time\)"):
            reach(Network(endpoint=f"http://127.0.0.1:{port}"), scratch=tmp_path / "s")
    assert time.monotonic() - began < 40


def test_host_that_takes_the_connection_has_the_whole_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prep.fetch.hub.SILENCE_SECONDS", 1)
    (tmp_path / "s").mkdir()
    (tmp_path / "config.json").write_text("{}")
    served = ServedRepo.of(REPO, tmp_path)
    with Hub([served], faults=lambda method, path: Fault(wait=6)) as hub:
        reach(Network(endpoint=hub.url, timeout=9), scratch=tmp_path / "s")


def test_watch_is_asked_while_events_come() -> None:
    watch = Watch(0.1)
    watch.step()
    watch.check("x")
    time.sleep(0.3)
    with pytest.raises(TimedOut):
        watch.check("x")
