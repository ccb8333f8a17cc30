"""What is happening, told as events: stages tell it, whoever has the terminal shows it.

An event is a small dict, so that it travels from xdist's workers as a line of JSON: ``say`` is a
line for people, ``doing`` is what goes on from now (None: nothing that takes time), with ``done``
and ``of`` in bytes, loads or seconds where there is a measure.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prep.files.fields import either, is_count, is_text, maybe, one_of, record

log = logging.getLogger("prep")

Event = dict[str, Any]
_SAID = {"model": is_text, "say": is_text}
_DOES = {"model": is_text, "doing": maybe(is_text)}
_MEASURED = {**_DOES, "done": is_count, "of": is_count, "unit": one_of("bytes", "loads", "seconds")}
# As another process told it: `who` is that process.
is_event = either(*(record({"who": is_text, **one}) for one in (_SAID, _DOES, _MEASURED)))
EVENT_SECONDS = 0.1  # bytes are told no oftener
SPEED_SECONDS = 5.0  # a speed is that of the last seconds, not of the whole


class Progress:
    """What the stages of one process tell; `emit` takes each event, None where nobody looks.

    `loads` tells how many loads of each model this run will make. Every line is logged as well, so
    that a log file tells the same story.
    """

    def __init__(
        self, emit: Callable[[Event], None] | None = None, loads: Mapping[str, int] | None = None
    ) -> None:
        self._emit = emit
        self._loads = dict(loads or {})
        self._loaded: dict[str, int] = {}
        self._busy: str | None = None  # the model that something is being done for
        self._told = 0.0
        self._lock = threading.RLock()  # files are digested side by side

    def say(self, model: str, text: str) -> None:
        """One line, now; what goes on goes on."""
        log.info("%s: %s", model, text)
        self._send({"model": model, "say": text})

    def begin(self, model: str, text: str) -> None:
        """One line, now, and that is what goes on until something else does."""
        self.say(model, text)
        self._do(model, text)

    def bytes(self, model: str, doing: str, event: Mapping[str, Any]) -> None:
        """A child's event of bytes that are there, out of how many."""
        self._bytes(model, doing, int(event["done"]), int(event["of"]))

    def counter(self, model: str, doing: str, of: int) -> Callable[[int], None]:
        """A callback that takes counts of bytes as they are worked through."""
        done = 0

        def count(more: int) -> None:
            nonlocal done
            with self._lock:
                done += more
                self._bytes(model, doing, done, of)

        return count

    def busy(self, model: str, doing: str) -> None:
        """Work that has no measure but time, from now: who shows it goes by the clock."""
        self._do(model, doing)

    def load(self, model: str, which: str) -> None:
        """The same for the next of the model's loads."""
        number = self._loaded[model] = self._loaded.get(model, 0) + 1
        of = max(number, self._loads.get(model, 0))
        self._do(model, f"loading by {which}", done=number, of=of, unit="loads")

    def countdown(self, model: str, doing: str, left: float, of: float) -> None:
        """A wait whose end is known, in seconds; to be told again while it lasts."""
        self._do(model, doing, done=round(of - left), of=round(of), unit="seconds")

    def finish(self) -> None:
        """The stages that a test asked for are there, or failed: nothing goes on any more."""
        with self._lock:
            if self._busy is not None:
                self._send({"model": self._busy, "doing": None})
                self._busy = None

    def _bytes(self, model: str, doing: str, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._told >= EVENT_SECONDS or done >= of:
            self._told = now
            self._do(model, doing, done=done, of=of, unit="bytes")

    def _do(self, model: str, doing: str, **measure: Any) -> None:
        with self._lock:
            self._busy = model
            self._send({"model": model, "doing": doing, **measure})

    def _send(self, event: Event) -> None:
        if self._emit is not None:
            with self._lock:
                self._emit(event)


@dataclass(slots=True)
class Doing:
    """What goes on for a model, as far as events have told; times are of the monotonic clock.

    `text` is None while nothing goes on that takes time. `said` is when people last read of it.
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
        """Go by an event of the same model."""
        text, done, unit = event["doing"], event.get("done"), event.get("unit")
        if text != self.text:
            self.since = now
        if text != self.text or (done or 0) < (self.done or 0):
            self._marks.clear()
        self.text = text
        if text is not None or self.unit != "loads":  # how many loads there were stays to be seen
            self.done, self.of, self.unit = done, event.get("of", 0), unit
        if unit == "bytes":
            self._marks.append((now, done or 0))
            while now - self._marks[0][0] > SPEED_SECONDS and len(self._marks) > 2:
                self._marks.popleft()

    @property
    def share(self) -> float | None:
        """How much of it is done, None where there is no measure."""
        if self.unit is None or self.done is None:
            return None
        return self.done / self.of if self.of else 1.0

    @property
    def speed(self) -> float | None:
        """Bytes a second of late, None where that cannot be said yet."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended - began >= EVENT_SECONDS else None

    def figures(self, now: float) -> list[str]:
        """What can be said in numbers, the most telling first."""
        if self.unit == "bytes" and self.done is not None:
            found = [f"{self.done / 1e6:.1f} of {self.of / 1e6:.1f} MB"]
            if speed := self.speed:
                found += [f"{speed / 1e6:.1f} MB/s", f"{span((self.of - self.done) / speed)} left"]
            return found
        if self.unit == "seconds" and self.done is not None:
            return [f"{span(self.of - self.done)} left"]
        elapsed = span(now - self.since)
        return [f"{self.done} of {self.of}", elapsed] if self.unit == "loads" else [elapsed]

    def line(self, now: float) -> str:
        """As one plain line."""
        if self.unit == "bytes":
            first, *more = self.figures(now)
            return ", ".join([f"{self.text}: {first} ({self.share:.0%})", *more])
        if self.unit == "seconds":
            return f"{self.text}: {self.figures(now)[0]}"
        number = f" ({self.done} of {self.of})" if self.unit == "loads" else ""
        return f"{self.text}{number}, {span(now - self.since)} so far"


def span(seconds: float) -> str:
    """A stretch of time for people."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
