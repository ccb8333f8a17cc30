"""Which failures are transient, how often is tried, and how long is waited between two tries.

Every transient error is retried, as long as the time without progress stays within
``--download-timeout``. A wait that would end beyond it is not begun: the parent's watch must never
find a child asleep that it would have to kill. What a hub asks to wait is another thing: it has a
limit of its own, all threads wait for it together, and the parent gets an event every second.
"""

import contextlib
import copy
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented
    parse_ratelimit_headers,
)

from prep.errors import TimedOut
from prep.fetch.session import (
    AnswerError,
    Hosts,
    ServerUnavailable,
    SignatureRefused,
    TruncatedBody,
    count_of,
    host_of,
)
from prep.fetch.timer import ProgressTimer
from prep.process.child import Emit, no_progress, past_deadline

RETRIES = 5  # tries in a row, of which none brought a new byte
RETRIES_UNREACHABLE = 3  # of a host that never answered: most often there is no network
RETRIES_SIGNED = 3  # of a URL that its host refuses: each has a new signature
BACKOFF_MAX = 15.0  # seconds between two tries; it doubles from 1
RETRY_AFTER_MAX = 330.0  # seconds that hubs may ask to wait without progress; their windows are 300
WAIT_EVENT_SECONDS = 1.0  # between two events of such a wait
SAME_LINE_SECONDS = 1.0
TRUNCATED = (
    *(TruncatedBody, httpx.DecodingError),
    *(httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError),
)

T = TypeVar("T")


@dataclass(eq=False)
class RetriesExhausted(Exception):
    """It was tried often enough, or the next try would be too late; `cause` is the last error.

    `retry_after` is how long the hub asked to wait, `total_wait` that with the waits before; both
    in seconds. `by_deadline`: it is --download-deadline that is too near.
    """

    cause: BaseException
    tries: int
    retry_after: float | None = None
    by_deadline: bool = False
    total_wait: float = 0.0


class HubWait:
    """Until when a hub wants no request; the event that says so, and when one was sent last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = self.emitted = 0.0
        self.event: dict[str, object] = {}


class Retry:
    """Retries transient errors, for all files of a child; `cancelled` ends waits in all threads."""

    def __init__(self, timer: ProgressTimer, hosts: Hosts, emit: Emit) -> None:
        self.timer, self.hosts = timer, hosts
        self.cancelled = threading.Event()
        self._emit = emit
        self._reported: tuple[float, str] = (0.0, "")
        self._wait = HubWait()

    def of(self, timer: ProgressTimer, emit: Emit) -> "Retry":
        """The same for one repository of several: its own time, and the hub's waits of all."""
        own = copy.copy(self)
        own.timer, own._emit = timer, emit
        return own

    def __call__(
        self, what: str, work: Callable[[], T], reached: Callable[[], int] = lambda: 0
    ) -> T:
        """What `work` gives in the end; `reached` grows where a try received something new.

        Tries are counted anew after one that received something.
        """
        tries, best = 0, reached()
        while True:
            self._wait_as_asked()
            try:
                return work()
            except Exception as error:
                if not is_transient(error) or self.cancelled.is_set():
                    raise
                failed = error
            received, tries = reached(), tries + 1
            if received > best:
                best, tries = received, 1
            asked = retry_after(failed)
            backoff = min(2.0 ** (tries - 1), BACKOFF_MAX)
            seconds = (backoff if asked is None else asked) + random.uniform(0, 1)
            if enough := self._enough(what, failed, tries, seconds):
                raise enough from failed
            why = ", as the hub asks" if asked is not None else ""
            self.report(
                f"network: {summary(failed)}, trying again in {seconds:.0f} s{why} "
                f"({tries + 1} of {self._limit(failed)})"
            )
            if isinstance(failed, ServerUnavailable) and asked is not None:
                self._hub_asks(seconds, failed.response)
            else:
                self.cancelled.wait(seconds)

    def _enough(
        self, what: str, error: Exception, tries: int, seconds: float
    ) -> RetriesExhausted | TimedOut | None:
        """Why there is no further try after `seconds`, None where there is one."""
        timer, asked = self.timer, retry_after(error)
        by_deadline = seconds > timer.until_deadline()
        if asked is not None:
            total = self._total_wait(asked)
            if by_deadline or total > RETRY_AFTER_MAX:
                return RetriesExhausted(error, tries, asked, by_deadline, total)
        elif seconds > timer.remaining():
            if by_deadline and timer.deadline is not None:
                return TimedOut(past_deadline(what, timer.deadline))
            if isinstance(error, httpx.TimeoutException) and self._has_answered(error):
                return TimedOut(no_progress(what, timer.timeout))
            return RetriesExhausted(error, tries)
        return RetriesExhausted(error, tries) if tries >= self._limit(error) else None

    def _limit(self, error: Exception) -> int:
        if isinstance(error, SignatureRefused):
            return RETRIES_SIGNED
        return RETRIES if self._has_answered(error) else RETRIES_UNREACHABLE

    def _has_answered(self, error: Exception) -> bool:
        request = request_of(error)
        return request is None or self.hosts.has_answered(request.url)

    def _total_wait(self, seconds: float) -> float:
        """How long hubs will have asked to wait, this wait too: several threads wait at once."""
        now = time.monotonic()
        return self.timer.hub_waits + max(0.0, now + seconds - max(now, self._wait.until))

    def _hub_asks(self, seconds: float, response: httpx.Response) -> None:
        """A hub asks to wait; the next tries of all threads do."""
        with self._wait.lock:
            self.timer.hub_waits = self._total_wait(seconds)
            if (until := time.monotonic() + seconds) > self._wait.until:
                host = host_of(response.request.url)
                self._wait.until = until
                self._wait.event = {"of": seconds, "host": host, "status": response.status_code}

    def _wait_as_asked(self) -> None:
        """Wait while a hub wants no request; events say how long that still is."""
        if time.monotonic() >= self._wait.until:
            return
        with self.timer.paused():
            while (left := self._wait.until - time.monotonic()) > 0:
                with self._wait.lock:
                    if time.monotonic() - self._wait.emitted >= WAIT_EVENT_SECONDS:
                        self._wait.emitted = time.monotonic()
                        self._emit({"event": "waiting", "left": left, **self._wait.event})
                if self.cancelled.wait(min(left, WAIT_EVENT_SECONDS)):
                    return

    def report(self, text: str) -> None:
        """One line of progress, once where several files meet the same at the same time."""
        now, (then, last) = time.monotonic(), self._reported
        if text != last or now - then > SAME_LINE_SECONDS:
            self._reported = (now, text)
            self._emit({"event": "line", "text": text})


def is_transient(error: BaseException) -> bool:
    """Whether it may pass by itself, so that the request is repeated."""
    if isinstance(error, httpx.TransportError):
        return not isinstance(error, httpx.UnsupportedProtocol) and certificate(error) is None
    return isinstance(error, (ServerUnavailable, SignatureRefused, *TRUNCATED))


def summary(error: BaseException) -> str:
    """A few words for a line of progress."""
    if isinstance(error, ServerUnavailable):
        return str(error.response.status_code)
    if isinstance(error, SignatureRefused):
        return f"{error.response.status_code} from {host_of(error.response.request.url)}"
    return "truncated answer" if isinstance(error, TRUNCATED) else reason(error)


def reason(error: BaseException) -> str:
    """Why no answer came, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    text = str(error)
    if isinstance(error, httpx.ProxyError):
        return f"the proxy answered {text}"
    for known, words in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "name cannot be resolved"),
        ("Temporary failure in name resolution", "name cannot be resolved"),
        ("No address associated", "name cannot be resolved"),
        ("Network is unreachable", "network is unreachable"),
        ("No route to host", "no route to host"),
    ):
        if known in text:
            return words
    return type(error).__name__


def certificate(error: BaseException | None) -> str | None:
    """What the TLS library says is wrong with a certificate, None where that is not the error.

    httpx hides the error of the TLS library behind two of its own.
    """
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def retry_after(error: BaseException) -> float | None:
    """How many seconds the hub asks to wait, None where it does not ask.

    ``Retry-After`` in seconds or as a date, which is compared with the hub's own clock; else when
    the limit of ``RateLimit`` is renewed, as the hub's client reads it.
    """
    if not isinstance(error, ServerUnavailable):
        return None
    headers = error.response.headers
    value = headers.get("Retry-After", "").strip()
    if (seconds := count_of(value)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, OverflowError):
        now = _date(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (_date(value) - now).total_seconds())
    with contextlib.suppress(ValueError, OverflowError):
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    return None


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def request_of(error: BaseException) -> httpx.Request | None:
    """Which request failed; behind a redirect that is not the hub's own."""
    if isinstance(error, AnswerError | HfHubHTTPError):
        return error.response.request
    if isinstance(error, httpx.RequestError):
        with contextlib.suppress(RuntimeError):
            return error.request
    return None
