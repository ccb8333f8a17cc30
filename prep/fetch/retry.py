"""What is retried, how often, and how long is waited between two tries.

Every transient error is retried, as long as the time without progress stays within
``--download-timeout``. A wait that would end beyond it is not begun: the parent's watch must never
find a child asleep that it would have to kill. What a hub asks to wait is another thing: it has a
limit of its own, all threads wait for it together, and the parent is told while it lasts.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception

from prep.errors import TimedOut
from prep.fetch.session import Hosts, ServerUnavailable, SignatureRefused, host_of
from prep.fetch.timer import ProgressTimer
from prep.fetch.transient import TruncatedBody, is_transient, request_of, retry_after, summary
from prep.process.child import Emit, no_progress, past_deadline

RETRIES = 5  # tries in a row, of which none brought a new byte
RETRIES_UNREACHABLE = 3  # of a host that never answered: most often there is no network
RETRIES_SIGNED = 3  # of a URL that its host refuses: each has a new signature
BACKOFF_MAX = 15.0  # seconds between two tries; it doubles from 1
RETRY_AFTER_MAX = 330.0  # seconds that hubs may ask to wait without progress; their windows are 300
WAIT_EVENT_SECONDS = 1.0  # between two events of such a wait
SAME_LINE_SECONDS = 1.0

T = TypeVar("T")


class RetriesExhausted(Exception):
    """It was tried often enough, or the next try would be too late; `cause` is the last error.

    `retry_after` is how long the hub asked to wait, `total_wait` that with the waits before; both
    in seconds. `by_deadline`: it is --download-deadline that is too near.
    """

    def __init__(
        self,
        cause: BaseException,
        tries: int,
        retry_after: float | None = None,
        by_deadline: bool = False,
        total_wait: float = 0.0,
    ) -> None:
        super().__init__(tries)
        self.cause, self.tries, self.retry_after = cause, tries, retry_after
        self.by_deadline, self.total_wait = by_deadline, total_wait


class Retry:
    """Retries transient errors, for all files of a child; `cancelled` ends waits in all threads."""

    def __init__(self, timer: ProgressTimer, hosts: Hosts, emit: Emit) -> None:
        self.timer, self.hosts = timer, hosts
        self.cancelled = threading.Event()
        self._emit = emit
        self._reported: tuple[float, str] = (0.0, "")
        self._lock = threading.Lock()
        self._wait_until = self._wait_emitted = 0.0
        self._wait: dict[str, object] = {}

    def __call__(
        self, what: str, work: Callable[[], T], reached: Callable[[], int] = lambda: 0
    ) -> T:
        """What `work` gives in the end; `reached` grows where a try received something new."""
        return _Attempts(self, what, reached).run(work)

    def total_wait(self, seconds: float) -> float:
        """How long hubs will have asked to wait, this wait too: several threads wait at once."""
        now = time.monotonic()
        return self.timer.hub_waits + max(0.0, now + seconds - max(now, self._wait_until))

    def wait_as_asked(self, seconds: float, host: str, status: int) -> None:
        """Wait as the hub asks; requests that other threads are about to make wait too."""
        with self._lock:
            self.timer.hub_waits = self.total_wait(seconds)
            if (until := time.monotonic() + seconds) > self._wait_until:
                self._wait_until = until
                self._wait = {"of": seconds, "host": host, "status": status}
        self.wait_for_others()

    def wait_for_others(self) -> None:
        """Wait while the hub wants no request; the parent is told how long that still is."""
        if time.monotonic() >= self._wait_until:
            return
        with self.timer.paused():
            while (left := self._wait_until - time.monotonic()) > 0:
                with self._lock:
                    if time.monotonic() - self._wait_emitted >= WAIT_EVENT_SECONDS:
                        self._wait_emitted = time.monotonic()
                        self._emit({"event": "waiting", "left": left, **self._wait})
                if self.cancelled.wait(min(left, WAIT_EVENT_SECONDS)):
                    return

    def report(self, text: str) -> None:
        """One line of progress, once where several files meet the same at the same time."""
        now, (then, last) = time.monotonic(), self._reported
        if text != last or now - then > SAME_LINE_SECONDS:
            self._reported = (now, text)
            self._emit({"event": "said", "text": text})


class _Attempts:
    """Tries of one piece of work; they are counted anew after one that received something."""

    def __init__(self, retry: Retry, what: str, reached: Callable[[], int]) -> None:
        self._retry, self._what, self._reached = retry, what, reached
        self._best, self._before = reached(), 0
        self._error: BaseException = TruncatedBody()

    def run(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(is_transient),
            wait=self._wait,
            stop=self._stop,
            before_sleep=self._report,
            sleep=self._sleep,
            reraise=True,
        )

        def attempt() -> T:
            self._retry.wait_for_others()
            return work()

        return retrying(attempt)

    def _number(self, state: RetryCallState) -> int:
        if (reached := self._reached()) > self._best:
            self._best, self._before = reached, state.attempt_number - 1
        return state.attempt_number - self._before

    def _wait(self, state: RetryCallState) -> float:
        self._error, jitter = _error(state), random.uniform(0, 1)
        if (asked := retry_after(self._error)) is not None:
            return asked + jitter
        doubled: float = 2 ** (self._number(state) - 1)
        return min(doubled, BACKOFF_MAX) + jitter

    def _stop(self, state: RetryCallState) -> bool:
        """Whether it is enough; raises the error that says why."""
        error, number = _error(state), self._number(state)
        timer, asked = self._retry.timer, retry_after(error)
        if self._retry.cancelled.is_set():
            return True
        by_deadline = state.upcoming_sleep > timer.until_deadline()
        if asked is not None:
            total = self._retry.total_wait(asked)
            if by_deadline or total > RETRY_AFTER_MAX:
                raise RetriesExhausted(error, number, asked, by_deadline, total) from error
        elif state.upcoming_sleep > timer.remaining():
            if by_deadline and timer.deadline is not None:
                raise TimedOut(past_deadline(self._what, timer.deadline)) from error
            if isinstance(error, httpx.TimeoutException) and self._has_answered(error):
                raise TimedOut(no_progress(self._what, timer.timeout)) from error
            raise RetriesExhausted(error, number) from error
        if number >= self._limit(error):
            raise RetriesExhausted(error, number) from error
        return False

    def _report(self, state: RetryCallState) -> None:
        error, number = _error(state), self._number(state)
        why = ", as the hub asks" if retry_after(error) is not None else ""
        self._retry.report(
            f"network: {summary(error)}, trying again in {state.upcoming_sleep:.0f} s{why} "
            f"({number + 1} of {self._limit(error)})"
        )

    def _sleep(self, seconds: float) -> None:
        if retry_after(self._error) is None or not isinstance(self._error, ServerUnavailable):
            self._retry.cancelled.wait(seconds)
        else:
            response = self._error.response
            self._retry.wait_as_asked(seconds, host_of(response.request.url), response.status_code)

    def _has_answered(self, error: BaseException) -> bool:
        request = request_of(error)
        return request is None or self._retry.hosts.has_answered(request.url)

    def _limit(self, error: BaseException) -> int:
        if isinstance(error, SignatureRefused):
            return RETRIES_SIGNED
        return RETRIES if self._has_answered(error) else RETRIES_UNREACHABLE


def _error(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error
