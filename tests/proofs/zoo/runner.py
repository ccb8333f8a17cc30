"""The runs of a user with the catalogue of the rows, and what became of each row."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.tasks.registry import TASKS
from tests.proofs.zoo.rows import Row, write_catalogue
from tests.support.runs import Run, read_summary, run

TOGETHER = 6  # models of a run: enough to share what a run costs, few enough to name a culprit
SECONDS = 1500
ASKING = "asking the exporter which architectures it converts "  # told before the answer
COMMIT = re.compile(r"\b[0-9a-f]{40}\b")


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a row: `relocked`, then the status of the online and the offline run."""

    row: Row
    relocked: bool
    message: str
    seconds: dict[str, float] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    consumers: set[str] = field(default_factory=set)
    agreement: dict[str, float | None] = field(default_factory=dict)

    @property
    def found(self) -> str:
        """One word, or two where the runs differ; "locked" where it was not run."""
        if not self.relocked:
            return "refused"
        return " then ".join(dict.fromkeys(self.status.values())) or "locked"


def refused(row: Row, folder: Path, hub: str, prefix: tuple[str, ...] = ()) -> Outcome:
    """--relock of a catalogue that holds this row alone; `prefix` is a command in front."""
    catalogue = write_catalogue(folder / f"{row.name}.toml", [row])
    done = _run(catalogue, folder / "none", hub, "--relock", prefix=prefix)
    return Outcome(
        row=row,
        relocked=done.code == 0,
        message=done.said.removeprefix(ASKING),
        seconds={"relock": done.seconds},
    )


def ready(rows: Sequence[Row], folder: Path, hub: str) -> Iterator[Outcome]:
    """All three runs of these rows; what could not be locked is not run."""
    catalogue, home = write_catalogue(folder / "models.toml", rows), folder / "home"
    outcomes, left = [], list(rows)
    while left:
        names = [arg for row in left for arg in ("--models", row.name)]
        done = _run(catalogue, home, hub, "--relock", *names)
        # Of several that are refused, a message names one or more; they are told, the rest goes on.
        ended = [row for row in left if not done.code or f" {row.name}: " in f" {done.said}"]
        for row in ended or left:
            seconds = {"relock": done.seconds / len(ended or left)}
            outcomes.append(
                Outcome(row=row, relocked=not done.code, message=done.said, seconds=seconds)
            )
        left = [row for row in left if row not in (ended or left)]
    locked = [outcome for outcome in outcomes if outcome.relocked]
    for start in range(0, len(locked), TOGETHER):
        batch = locked[start : start + TOGETHER]
        names = [arg for outcome in batch for arg in ("--models", outcome.row.name)]
        for stage, more in {"online": (), "offline": ("--offline",)}.items():
            summary = folder / f"{stage}-{start}.json"
            where = hub if stage == "online" else "http://127.0.0.1:9"
            done = _run(catalogue, home, where, *names, *more, "--summary", summary)
            for outcome in batch:
                outcome.seconds[stage] = done.seconds / len(batch)
                _note(outcome, stage, done, summary)
    yield from outcomes


def offline(row: Row, catalogue: Path, home: Path) -> Outcome:
    """The offline run of one row that was ready in this home."""
    outcome = Outcome(row=row, relocked=True, message="")
    summary = home.with_name("summary.json")
    args = ("--models", row.name, "--offline", "--summary", summary)
    _note(outcome, "offline", _run(catalogue, home, "http://127.0.0.1:9", *args), summary)
    return outcome


def _run(
    catalogue: Path, home: Path, hub: str, *args: str | Path, prefix: tuple[str, ...] = ()
) -> Run:
    given = ("--catalogue", catalogue, "--model-home", home, "--hub", hub, *args)
    return run("-q", "-p", "no:timeout", *given, timeout=SECONDS, prefix=prefix)


def _note(outcome: Outcome, stage: str, done: Run, path: Path) -> None:
    model: Mapping[str, Any] = {}
    if path.exists():
        model = read_summary(path)["models"].get(outcome.row.name, {})
    outcome.status[stage] = model.get("status", f"no verdict, exit {done.code}")
    loads = model.get("loads", {}).items()
    known = {consumer.name for consumer in TASKS[outcome.row.task].consumers}
    for name in (name for name, load in loads if "seconds" in load):
        outcome.consumers |= known & set(name.split(":")[:2])  # perhaps after a precision
    for precision, made in model.get("precisions", {}).items():
        outcome.agreement[precision] = made["agreement"]
    if causes := model.get("causes"):
        outcome.message = "\n\n".join(cause["text"] for cause in causes)
    elif outcome.status[stage] != "ready":
        outcome.message = done.out[-3000:]


def wrong(outcome: Outcome) -> str:
    """What is not as expected; empty where all is."""
    row, message = outcome.row, COMMIT.sub("{commit}", outcome.message)
    if outcome.found != row.expected:
        return f"{outcome.found}, expected {row.expected}: {outcome.message}"
    if row.refused is not None and message != " ".join(row.refused.split()):
        return f"another message: {message}"
    if lost := [word for word in row.failed if word not in message]:
        return f"{', '.join(lost)} not named: {message}"
    if row.expected == "ready" and outcome.consumers != row.consumers:
        return f"loaded by {sorted(outcome.consumers)}, expected {sorted(row.consumers)}"
    return ""


def table(outcomes: Iterable[Outcome]) -> str:
    """What was expected and what was found, and how long it took."""
    lines = [f"{'row':32} {'expected':9} {'found':18} relock  online offline"]
    for outcome in outcomes:
        row = outcome.row
        seconds = "".join(
            f"{outcome.seconds.get(s, 0):8.1f}" for s in ("relock", "online", "offline")
        )
        mark = "!" if wrong(outcome) else " "
        lines.append(f"{row.name:32} {row.expected:9} {outcome.found:18}{seconds[1:]} {mark}")
    return "\n".join(lines)


def report(outcomes: Iterable[Outcome], began: float) -> dict[str, object]:
    """The same as data."""
    return {
        "seconds": round(time.monotonic() - began, 1),
        "rows": [
            {
                "row": outcome.row.name,
                "model": outcome.row.model,
                "task": outcome.row.task,
                "expected": outcome.row.expected,
                "found": outcome.found,
                "consumers": sorted(outcome.consumers),
                "agreement": outcome.agreement,
                "seconds": {key: round(value, 1) for key, value in outcome.seconds.items()},
                "wrong": wrong(outcome),
                "message": outcome.message[:6000] if outcome.found != "ready" else "",
            }
            for outcome in outcomes
        ],
    }
