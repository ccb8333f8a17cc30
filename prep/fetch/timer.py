"""How long nothing was received, and how long one request may take. Times are seconds."""

import contextlib
import threading
import time
from collections.abc import Iterator

import httpx

from prep.errors import TimedOut
from prep.process.child import MINIMUM_RATE, Emit, no_progress, past_deadline

CONNECT_SECONDS = 8
STEP_SECONDS = 0.5  # between two events of bytes that came
READ_TIMEOUTS = 3  # reads that may time out in a row within --download-timeout


class ProgressTimer:
    """Time since the last progress, for all files of a child together.

    Progress is a finished step, or bytes at `MINIMUM_RATE` at least.
    """

    def __init__(
        self, timeout: float, deadline: float | None, emit: Emit, doing: str | None = None
    ) -> None:
        """With `doing`, it is one of several in this child: the parent cannot watch its limits."""
        self._doing, self._emitted = doing, 0.0
        self.timeout, self.deadline = timeout, deadline
        self._emit = emit
        self._lock = threading.Lock()
        self._begin = self._mark = time.monotonic()
        self._received = 0
        self.hub_waits = 0.0  # how long hubs asked to wait, since the last progress

    def step(self) -> None:
        """Something was finished; an event for the parent's watch says so."""
        self.hub_waits = 0.0
        self.alive()

    def alive(self) -> None:
        """A redirect came, or bytes are digested: waits that hubs asked for still count."""
        with self._lock:
            self._mark, self._received = time.monotonic(), 0
        self._emit({"event": "step"})
        self._enforce()

    def received(self, count: int) -> None:
        """So many bytes came over the network."""
        with self._lock:
            self._received += count
            now = time.monotonic()
            if self._received >= MINIMUM_RATE * max(1.0, now - self._mark):
                self._mark, self._received, self.hub_waits = now, 0, 0.0
                if self._doing and now - self._emitted >= STEP_SECONDS:
                    self._emitted = now
                    self._emit({"event": "step"})
        self._enforce()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Our own disk is at work, or a hub asked to wait: this time does not count."""
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                now = time.monotonic()
                self._mark = min(now, self._mark + now - began)

    def remaining(self) -> float:
        """How long nothing may be received from now on."""
        return min(self.timeout - (time.monotonic() - self._mark), self.until_deadline())

    def until_deadline(self) -> float:
        """How much of ``--download-deadline`` is left."""
        if self.deadline is None:
            return float("inf")
        return self.deadline - (time.monotonic() - self._begin)

    def request_timeout(self) -> httpx.Timeout:
        """Of one request: short enough that there is time to repeat it on a new connection."""
        seconds = max(1.0, min(self.timeout / READ_TIMEOUTS, self.remaining()))
        return httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))

    def _enforce(self) -> None:
        if self._doing:
            self.check(self._doing)
            if self.deadline is not None and self.until_deadline() < 0:
                raise TimedOut(past_deadline(self._doing, self.deadline))

    def check(self, what: str) -> None:
        """Raise `TimedOut` where too little was received for too long."""
        if time.monotonic() - self._mark > self.timeout:
            raise TimedOut(no_progress(what, self.timeout))
