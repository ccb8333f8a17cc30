"""When each stage of a model was at work, for the reports' timeline."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEAST_SECONDS = 0.05  # what took less is not reported
JOIN_SECONDS = 1.0  # loads of one consumer are one stretch, with the tests between them


@dataclass(slots=True)
class _Stretch:
    """A time in which one stage was at work, in seconds since the model's first stage."""

    stage: str
    which: str
    at: float
    ended: float


@dataclass(slots=True)
class Clock:
    """One model's stretches, in their order; none lies in another.

    A stage that asks for another stops while that one works, so that the seconds add up to what
    the model took.
    """

    began: float | None = None
    stretches: list[_Stretch] = field(default_factory=list)
    _open: list[tuple[str, str]] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def running(self, stage: str, which: str = "") -> Iterator[None]:
        """This stage is at work: `which` is the precision, or the consumer of a load."""
        self._cut()
        self._open.append((stage, which))
        try:
            yield
        finally:
            self._cut()
            self._open.pop()

    def facts(self) -> dict[str, Any]:
        """As the summary keeps it."""
        began = datetime.fromtimestamp(self.began or time.time(), UTC)
        return {
            "began": began.isoformat(timespec="milliseconds"),
            "stretches": [
                {
                    "stage": stretch.stage,
                    "which": stretch.which,
                    "at": round(stretch.at, 2),
                    "seconds": round(stretch.ended - stretch.at, 2),
                }
                for stretch in self.stretches
            ],
        }

    def _cut(self) -> None:
        """Close what was at work until now."""
        now = time.time()
        if self.began is None:
            self.began = now
        since, self._since = self._since, now
        if not self._open or now - since < LEAST_SECONDS:
            return
        at, ended = since - self.began, now - self.began
        last = self.stretches[-1] if self.stretches else None
        if (
            last is not None
            and (last.stage, last.which) == self._open[-1]
            and at - last.ended <= JOIN_SECONDS
        ):
            last.ended = ended
        else:
            stage, which = self._open[-1]
            self.stretches.append(_Stretch(stage, which, at, ended))
