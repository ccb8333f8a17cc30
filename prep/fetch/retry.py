"""Patience: what is tried again, how long one waits, and when it is enough.

Everything that can pass is tried again, as long as the time without progress stays within
``--download-timeout``. A wait that would end beyond it is not begun: the parent's watch must never
find a child asleep that it would have to kill. What a hub asks to wait is another thing: it has a
bound of its own, all threads wait for it together, and the parent is told while it lasts.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception

from prep.errors import TimedOut
from prep.fetch.hub_errors import (
    LONGEST_ASKED_WAIT,
    RetriesExhausted,
    TruncatedBody,
    asked_wait,
    in_short,
    passes,
    url_of,
)
from prep.fetch.session import Hosts, ServerUnavailable, SignatureRefused, host_of
from prep.process.child import MINIMUM_RATE, Emit, late, no_progress

TRIES = 5  # in a row, of which none brought a new byte
TRIES_UNHEARD = 3  # of a host that never answered: most often there is no network
TRIES_SIGNED = 3  # of an address that its host refuses: each has a new signature
WAITING_SECONDS = 1.0  # between two events of a wait
CONNECT_SECONDS = 8
SILENCES = 3  # requests that hear nothing, until the time without progress is over
LONGEST_BACKOFF = 15.0
SAME_SECONDS = 1.0

T = TypeVar("T")


class ProgressTimer:
    """How long nothing came, for all files of a child together. Times are seconds.

    Progress is a finished step, or bytes at `MINIMUM_RATE` at least.
    """

    def __init__(self, timeout: float, deadline: float | None, emit: Emit) -> None:
        self.timeout, self.deadline = timeout, deadline
        self._emit = emit
        self._lock = threading.Lock()
        self._begin = self._mark = time.monotonic()
        self._moved = 0
        self.asked = 0.0  # how long hubs asked to wait, since the last progress

    def step(self) -> None:
        """Something was finished; the parent's watch hears of it too."""
        self.asked = 0.0
        self.sent_on()

    def sent_on(self) -> None:
        """A redirect came: who sends us on is not silent, but that ends no row of asked waits."""
        with self._lock:
            self._mark, self._moved = time.monotonic(), 0
        self._emit({"event": "step"})

    def came(self, count: int) -> None:
        """So many bytes came over the network."""
        with self._lock:
            self._moved += count
            now = time.monotonic()
            if self._moved >= MINIMUM_RATE * max(1.0, now - self._mark):
                self._mark, self._moved, self.asked = now, 0, 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Our own disk is at work, or a hub asked to wait: no progress, and no lack of it."""
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                now = time.monotonic()
                self._mark = min(now, self._mark + now - began)

    def left(self) -> float:
        """How long nothing may come from now on."""
        return min(self.timeout - (time.monotonic() - self._mark), self.left_altogether())

    def left_altogether(self) -> float:
        """How much of ``--download-deadline`` is left."""
        if self.deadline is None:
            return float("inf")
        return self.deadline - (time.monotonic() - self._begin)

    def silence(self) -> float:
        """How long one request may hear nothing: a connection that died is asked for again."""
        return max(1.0, min(self.timeout / SILENCES, self.left()))

    def bounds(self) -> httpx.Timeout:
        """The same, and for connecting."""
        silence = self.silence()
        return httpx.Timeout(silence, connect=min(CONNECT_SECONDS, silence))

    def check(self, what: str) -> None:
        """Raise `TimedOut` where too little came for too long; a drip is too little."""
        if time.monotonic() - self._mark > self.timeout:
            raise TimedOut(no_progress(what, self.timeout))


class Retry:
    """Tries again what can pass, for all files of a child; `give_up` ends waits in all threads."""

    def __init__(self, pace: ProgressTimer, hosts: Hosts, emit: Emit) -> None:
        self.pace, self.hosts = pace, hosts
        self.given_up = threading.Event()
        self._emit = emit
        self._told: tuple[float, str] = (0.0, "")
        self._lock = threading.Lock()
        self._until = self._said_waiting = 0.0
        self._wait: dict[str, object] = {}

    def __call__(
        self, what: str, work: Callable[[], T], reached: Callable[[], int] = lambda: 0
    ) -> T:
        """What `work` gives in the end; `reached` grows where a try brought something new."""
        return _Attempts(self, what, reached).run(work)

    def asked_with(self, seconds: float) -> float:
        """How long hubs will have asked to wait, this wait too: several threads wait at once."""
        now = time.monotonic()
        return self.pace.asked + max(0.0, now + seconds - max(now, self._until))

    def rest(self, seconds: float, host: str, status: int) -> None:
        """Wait as the hub asks; what other threads are about to ask waits too."""
        with self._lock:
            self.pace.asked = self.asked_with(seconds)
            if (until := time.monotonic() + seconds) > self._until:
                self._until = until
                self._wait = {"of": seconds, "host": host, "status": status}
        self.turn()

    def turn(self) -> None:
        """Wait while the hub wants nobody to ask; the parent hears how long that still is."""
        if time.monotonic() >= self._until:
            return
        with self.pace.paused():
            while (left := self._until - time.monotonic()) > 0:
                with self._lock:
                    if time.monotonic() - self._said_waiting >= WAITING_SECONDS:
                        self._said_waiting = time.monotonic()
                        self._emit({"event": "waiting", "left": left, **self._wait})
                if self.given_up.wait(min(left, WAITING_SECONDS)):
                    return

    def tell(self, text: str) -> None:
        """One line of progress, once where several files meet the same at the same time."""
        now, (then, last) = time.monotonic(), self._told
        if text != last or now - then > SAME_SECONDS:
            self._told = (now, text)
            self._emit({"event": "said", "text": text})


class _Attempts:
    """Tries in a row that brought nothing new; one that did is the first of a new row."""

    def __init__(self, persist: Retry, what: str, reached: Callable[[], int]) -> None:
        self._persist, self._what, self._reached = persist, what, reached
        self._best, self._before = reached(), 0
        self._error: BaseException = TruncatedBody()

    def run(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(passes),
            wait=self._wait,
            stop=self._stop,
            before_sleep=self._tell,
            sleep=self._sleep,
            reraise=True,
        )

        def in_turn() -> T:
            self._persist.turn()
            return work()

        return retrying(in_turn)

    def _number(self, state: RetryCallState) -> int:
        if (reached := self._reached()) > self._best:
            self._best, self._before = reached, state.attempt_number - 1
        return state.attempt_number - self._before

    def _wait(self, state: RetryCallState) -> float:
        self._error, jitter = _error(state), random.uniform(0, 1)
        if (asked := asked_wait(self._error)) is not None:
            return asked + jitter
        doubled: float = 2 ** (self._number(state) - 1)
        return min(doubled, LONGEST_BACKOFF) + jitter

    def _stop(self, state: RetryCallState) -> bool:
        """Whether it is enough; said with what is known by now."""
        error, number = _error(state), self._number(state)
        pace, asked = self._persist.pace, asked_wait(error)
        if self._persist.given_up.is_set():
            return True
        by_deadline = state.upcoming_sleep > pace.left_altogether()
        in_all = self._persist.asked_with(asked or 0.0)
        if asked is not None and (by_deadline or in_all > LONGEST_ASKED_WAIT):
            raise RetriesExhausted(error, number, asked, by_deadline, in_all) from error
        if asked is None and state.upcoming_sleep > pace.left():
            if by_deadline and pace.deadline is not None:
                raise TimedOut(late(self._what, pace.deadline)) from error
            if isinstance(error, httpx.TimeoutException) and self._is_heard(error):
                raise TimedOut(no_progress(self._what, pace.timeout)) from error
            raise RetriesExhausted(error, number) from error
        if number >= self._tries(error):
            raise RetriesExhausted(error, number) from error
        return False

    def _tell(self, state: RetryCallState) -> None:
        error, number = _error(state), self._number(state)
        why = ", as the hub asks" if asked_wait(error) is not None else ""
        self._persist.tell(
            f"network: {in_short(error)}, trying again in {state.upcoming_sleep:.0f} s{why} "
            f"({number + 1} of {self._tries(error)})"
        )

    def _sleep(self, seconds: float) -> None:
        if asked_wait(self._error) is None or not isinstance(self._error, ServerUnavailable):
            self._persist.given_up.wait(seconds)
        else:
            response = self._error.response
            self._persist.rest(seconds, host_of(response.request.url), response.status_code)

    def _is_heard(self, error: BaseException) -> bool:
        url = url_of(error)
        return url is None or self._persist.hosts.heard(url)

    def _tries(self, error: BaseException) -> int:
        if isinstance(error, SignatureRefused):
            return TRIES_SIGNED
        return TRIES if self._is_heard(error) else TRIES_UNHEARD


def _error(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error
