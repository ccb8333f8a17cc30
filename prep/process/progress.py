"""Progress as events: stages emit them, the process that has the terminal shows them.

An event is a small dict, so that xdist's workers can send it as a line of JSON: ``say`` is a line
for people, ``doing`` is the current work (None: nothing that takes time), with ``done`` and ``of``
in bytes, loads or seconds where it can be measured.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prep.files.fields import either, is_count, is_text, maybe, one_of, record
from prep.process.cancelled import CANCELLED, WORKER, check_cancelled

log = logging.getLogger("prep")

Event = dict[str, Any]
_LINE = {"model": is_text, "say": is_text}
_WORK = {"model": is_text, "doing": maybe(is_text)}
_MEASURED = {**_WORK, "done": is_count, "of": is_count, "unit": one_of("bytes", "loads", "seconds")}
# From another process, which is `who`.
is_event = either(*(record({"who": is_text, **form}) for form in (_LINE, _WORK, _MEASURED)))
EVENT_SECONDS = 0.1  # between two events of bytes
SPEED_SECONDS = 5.0  # the speed is that of the last seconds, not of the whole


class Progress:
    """The progress of the stages of one process; `emit` takes each event, None discards them.

    `loads` is how many loads of each model this run will make. Every line is logged as well.
    """

    def __init__(
        self, emit: Callable[[Event], None] | None = None, loads: Mapping[str, int] | None = None
    ) -> None:
        self._emit = emit
        self._loads = dict(loads or {})
        self._loaded: dict[str, int] = {}
        self._busy: dict[str, str] = {}  # the model that each thread works on
        self._sent = 0.0
        self._lock = threading.RLock()  # files are digested in parallel

    def say(self, model: str, text: str) -> None:
        """One line; the current work stays."""
        log.info("%s: %s", model, text)
        self._send({"model": model, "say": text})

    def begin(self, model: str, text: str) -> None:
        """One line, which is also the current work."""
        self.say(model, text)
        self.busy(model, text)

    def bytes(self, model: str, doing: str, event: Mapping[str, Any]) -> None:
        """Bytes done out of how many, from a child's event."""
        self._bytes(model, doing, int(event["done"]), int(event["of"]))

    def counter(self, model: str, doing: str, of: int) -> Callable[[int], None]:
        """A callback that takes the sizes of blocks as they are done."""
        done = 0
        cancelled, worker = CANCELLED.get(), WORKER.get()  # blocks are digested in other threads

        def count(more: int) -> None:
            nonlocal done
            check_cancelled(f"{model}: {doing}", cancelled)
            WORKER.set(worker)
            with self._lock:
                done += more
                self._bytes(model, doing, done, of)

        return count

    def busy(self, model: str, doing: str, **measure: Any) -> None:
        """The current work, measured by time alone, or as in `Doing`."""
        with self._lock:
            self._busy[WORKER.get()] = model
            self._send({"model": model, "doing": doing, **measure})

    def load(self, model: str, which: str) -> None:
        """The next of the model's loads."""
        number = self._loaded[model] = self._loaded.get(model, 0) + 1
        of = max(number, self._loads.get(model, 0))
        self.busy(model, f"loading by {which}", done=number, of=of, unit="loads")

    def countdown(self, model: str, doing: str, left: float, of: float) -> None:
        """A wait whose end is known, in seconds; to be called again while it lasts."""
        self.busy(model, doing, done=round(of - left), of=round(of), unit="seconds")

    def finish(self) -> None:
        """The current work is done, or failed."""
        with self._lock:
            if model := self._busy.pop(WORKER.get(), None):
                self._send({"model": model, "doing": None})

    def _bytes(self, model: str, doing: str, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._sent >= EVENT_SECONDS or done >= of:
            self._sent = now
            self.busy(model, doing, done=done, of=of, unit="bytes")

    def _send(self, event: Event) -> None:
        if self._emit is not None:
            with self._lock:
                who = WORKER.get()
                self._emit({"who": who, **event} if who else event)


@dataclass(slots=True)
class Doing:
    """The current work for a model, from its events; times are of the monotonic clock.

    `text` is None while nothing takes time. `said` is when a line was last shown.
    """

    model: str
    text: str | None
    since: float
    said: float
    done: int | None = None
    of: int = 0
    unit: str | None = None
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, event: Event, now: float) -> None:
        """Apply an event of the same model."""
        text, done, unit = event["doing"], event.get("done"), event.get("unit")
        if text != self.text:
            self.since = now
        if text != self.text or (done or 0) < (self.done or 0):
            self._marks.clear()
        self.text = text
        if text is not None or self.unit != "loads":  # the number of loads stays visible
            self.done, self.of, self.unit = done, event.get("of", 0), unit
        if unit == "bytes":
            self._marks.append((now, done or 0))
            while now - self._marks[0][0] > SPEED_SECONDS and len(self._marks) > 2:
                self._marks.popleft()

    @property
    def share(self) -> float | None:
        """The share that is done, None where it is not measured."""
        if self.unit is None or self.done is None:
            return None
        return self.done / self.of if self.of else 1.0

    @property
    def speed(self) -> float | None:
        """Bytes a second in the last seconds, None where that is not known yet."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended - began >= EVENT_SECONDS else None

    def figures(self, now: float) -> list[str]:
        """The numbers to show, the most important first."""
        if self.unit == "bytes" and self.done is not None:
            figures = [f"{self.done / 1e6:.1f} of {self.of / 1e6:.1f} MB"]
            if speed := self.speed:
                figures += [
                    f"{speed / 1e6:.1f} MB/s",
                    f"{span((self.of - self.done) / speed)} left",
                ]
            return figures
        if self.unit == "seconds" and self.done is not None:
            return [f"{span(self.of - self.done)} left"]
        elapsed = span(now - self.since)
        return [f"{self.done} of {self.of}", elapsed] if self.unit == "loads" else [elapsed]

    def line(self, now: float) -> str:
        """As a plain line."""
        if self.unit == "bytes":
            first, *more = self.figures(now)
            return ", ".join([f"{self.text}: {first} ({self.share:.0%})", *more])
        if self.unit == "seconds":
            return f"{self.text}: {self.figures(now)[0]}"
        number = f" ({self.done} of {self.of})" if self.unit == "loads" else ""
        return f"{self.text}{number}, {span(now - self.since)} so far"


def span(seconds: float) -> str:
    """A duration for people."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
