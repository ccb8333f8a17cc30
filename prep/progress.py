"""What is happening, as plain lines: pytest hides output, and a long stage must not look dead."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger("prep")


class Progress:
    """Lines for people, `write`n to the terminal, at most one every `seconds` while a stage runs.

    Every line is logged as well, so that a log file tells the same story.
    """

    def __init__(self, write: Callable[[str], None] | None, seconds: float) -> None:
        self._write = write
        self._seconds = seconds
        self._said = time.monotonic()
        self._lock = threading.RLock()  # files are digested side by side

    def say(self, model: str, text: str) -> None:
        """One line, now."""
        with self._lock:
            self._said = time.monotonic()
            log.info("%s: %s", model, text)
            if self._write is not None:
                self._write(f"[{model}] {text}")

    def bytes(self, model: str, doing: str, event: dict[str, Any]) -> None:
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

    def ticker(self, model: str, doing: str) -> Callable[[], None]:
        """A callback for work that has no measure but time."""
        began = time.monotonic()

        def tick() -> None:
            if self._due() and time.monotonic() - began >= self._seconds:
                self.say(model, f"{doing}, {time.monotonic() - began:.0f} s so far")

        return tick

    def _bytes(self, model: str, doing: str, done: int, of: int) -> None:
        if self._due():
            share = f"{done / of:.0%}" if of else "all"
            self.say(model, f"{doing}: {done / 1e6:.1f} of {of / 1e6:.1f} MB ({share})")

    def _due(self) -> bool:
        return time.monotonic() - self._said >= self._seconds
