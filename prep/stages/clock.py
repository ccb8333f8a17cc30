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
class Clock:
    """One model's stretches, in their order; none lies in another. `at` is since the first, in s.

    A stage that asks for another stops while that one works, so that the seconds add up to what
    the model took.
    """

    began: float | None = None
    stretches: list[dict[str, Any]] = field(default_factory=list)
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
                {**stretch, "at": round(stretch["at"], 2), "seconds": round(stretch["seconds"], 2)}
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
        at, (stage, which) = since - self.began, self._open[-1]
        for last in self.stretches[-1:]:
            pause = at - last["at"] - last["seconds"]
            if (last["stage"], last["which"]) == (stage, which) and pause <= JOIN_SECONDS:
                last["seconds"] = now - self.began - last["at"]
                return
        self.stretches.append({"stage": stage, "which": which, "at": at, "seconds": now - since})
