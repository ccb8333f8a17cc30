"""What is transient, how often is tried, and how long is waited; the answers are real ones."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from pathlib import Path

import httpx
import pytest

from prep.errors import HubBusy, TimedOut
from prep.fetch.hub import Network, ask
from prep.fetch.retry import RETRIES, RetriesExhausted, Retry, is_transient, retry_after
from prep.fetch.session import TRANSIENT_STATUSES, Hosts, ServerUnavailable, TruncatedBody
from prep.fetch.timer import ProgressTimer
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import REPO

REQUEST = httpx.Request("GET", "http://hub.invalid/x")
NOW = 1_790_000_000


def answer(status: int, headers: Mapping[str, str] | None = None) -> ServerUnavailable:
    return ServerUnavailable(httpx.Response(status, headers=headers, request=REQUEST))


def retries(timeout: float = 60, deadline: float | None = None) -> Retry:
    """For a host that never answered; events are discarded."""

    def nobody(event: dict[str, object]) -> None:
        return None

    return Retry(ProgressTimer(timeout, deadline, nobody), Hosts(nobody), nobody)


def failing(error: Exception) -> Callable[[], None]:
    """Work that raises this, each time."""

    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize("status", sorted(TRANSIENT_STATUSES))
def test_each_transient_status_is_raised_before_the_client_sees_it(
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


def test_waits_that_hubs_ask_for_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.fetch.retry.RETRY_AFTER_MAX", 2.9)
    retry, tries = retries(timeout=1), 0

    def work() -> None:
        nonlocal tries
        tries += 1
        raise answer(429, {"Retry-After": "1"})

    with pytest.raises(RetriesExhausted) as caught:
        retry("x", work)
    assert 2 <= tries <= 3, "1 s and a jitter of up to 1 s each: the third asks for 3 s at least"
    assert (caught.value.retry_after, caught.value.by_deadline) == (1, False)
    assert 2.9 < caught.value.total_wait < 5


def test_wait_that_the_hub_asks_for_does_not_count_and_is_reported_while_it_lasts() -> None:
    events: list[dict[str, object]] = []
    retry = Retry(ProgressTimer(1, None, events.append), Hosts(events.append), events.append)
    answers = [answer(429, {"Retry-After": "3"})]

    def work() -> float:
        if answers:
            raise answers.pop()
        return retry.timer.remaining()

    began = time.monotonic()
    assert retry("x", work) > 0, "of the one second without progress"
    assert 3 <= time.monotonic() - began < 6
    waiting = [event for event in events if event["event"] == "waiting"]
    left = [float(str(event["left"])) for event in waiting]
    assert len(left) >= 3 and left == sorted(left, reverse=True)
    assert {event["host"] for event in waiting} == {"hub.invalid"}
    assert {event["status"] for event in waiting} == {429}


def test_no_thread_asks_while_the_hub_wants_no_request() -> None:
    retry = retries()
    asked: list[float] = []
    first = [answer(429, {"Retry-After": "2"})]

    def busy() -> None:
        if first:
            raise first.pop()

    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        pool.submit(retry, "x", busy)
        while first:
            time.sleep(0.01)
        time.sleep(0.2)
        pool.submit(retry, "y", lambda: asked.append(time.monotonic() - began)).result()
    assert asked[0] >= 2


def test_threads_that_are_asked_to_wait_at_once_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.fetch.retry.RETRY_AFTER_MAX", 5)
    retry, began = retries(), time.monotonic()
    both = threading.Barrier(2)
    refused: set[str] = set()

    def work(name: str) -> float:
        if name not in refused:
            refused.add(name)
            both.wait()
            raise answer(429, {"Retry-After": "3"})
        return time.monotonic() - began

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(retry, name, partial(work, name)) for name in "ab"]
        assert [3 <= job.result() < 5.5 for job in jobs] == [True, True]


def test_wait_beyond_the_deadline_is_not_begun() -> None:
    began = time.monotonic()
    with pytest.raises(RetriesExhausted) as caught:
        retries(deadline=5)("x", failing(answer(503, {"Retry-After": "9"})))
    assert (caught.value.by_deadline, caught.value.tries) == (True, 1)
    assert time.monotonic() - began < 5


def test_silence_until_the_deadline_is_said_to_exceed_the_deadline() -> None:
    silence = failing(httpx.ReadTimeout("", request=REQUEST))
    text = r"^timed out: x: not done within the 0\.5 s of --download-deadline"
    with pytest.raises(TimedOut, match=text):
        retries(deadline=0.5)("x", silence)


def test_tries_are_counted_anew_after_one_that_received_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retry, tries, have = retries(), 0, 0
    monkeypatch.setattr(retry.cancelled, "wait", lambda timeout: False)
    retry.hosts.record("answered", REQUEST.url, "hub")

    def work() -> None:
        nonlocal tries, have
        tries += 1
        have += tries in (2, 4)
        raise TruncatedBody(answer(200).response)

    with pytest.raises(RetriesExhausted) as caught:
        retry("x", work, lambda: have)
    assert (tries, caught.value.tries) == (8, RETRIES), "two, two, and four after the last"


def test_failure_of_one_file_ends_the_wait_of_another() -> None:
    retry = retries()
    retry.cancelled.set()

    began = time.monotonic()
    with pytest.raises(ServerUnavailable):
        retry("x", failing(answer(503, {"Retry-After": "50"})))
    assert time.monotonic() - began < 30


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
    assert retry_after(answer(429, headers)) == seconds
    assert retry_after(answer(503, headers)) == seconds


def test_date_without_the_hubs_clock_is_compared_with_ours() -> None:
    asked = retry_after(answer(429, {"Retry-After": formatdate(time.time() + 100, usegmt=True)}))
    assert asked is not None and 60 < asked <= 100


def test_only_transient_errors_are_retried() -> None:
    for error in (
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError),
        *(httpx.RemoteProtocolError, httpx.ProxyError, httpx.PoolTimeout),
    ):
        assert is_transient(error("", request=REQUEST)), error
    assert is_transient(TruncatedBody(answer(200).response)) and is_transient(answer(503))
    for error in (httpx.TooManyRedirects, httpx.UnsupportedProtocol):
        assert not is_transient(error("", request=REQUEST)), error
    assert not is_transient(ValueError()) and not is_transient(OSError(28, "No space left"))
