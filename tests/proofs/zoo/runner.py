"""The runs of a user with the catalogue of the rows, and what became of each row."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    """What became of a row: whether it was `relocked`, then the status of its run."""

    row: Row
    relocked: bool
    message: str
    seconds: dict[str, float] = field(default_factory=dict)
    status: str = "locked"
    consumers: set[str] = field(default_factory=set)
    agreement: dict[str, float | None] = field(default_factory=dict)

    @property
    def found(self) -> str:
        """One word; "locked" where it was not run."""
        return self.status if self.relocked else "refused"


class Results:
    """What is known of earlier runs, a file a row: what was interrupted goes on where it stopped.

    Forgotten is what another entry, or another expectation, was known of.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, row: Row) -> Outcome | None:
        path = self.folder / f"{row.name}.json"
        if not path.exists():
            return None
        known = json.loads(path.read_bytes())
        if known.pop("row") != _plain(row):
            return None
        return Outcome(row=row, **known | {"consumers": set(known["consumers"])})

    def keep(self, outcome: Outcome) -> Outcome:
        text = json.dumps(_plain(outcome), indent=1, ensure_ascii=False)
        (self.folder / f"{outcome.row.name}.json").write_text(f"{text}\n", encoding="utf-8")
        return outcome


def _plain(thing: Row | Outcome) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(asdict(thing), default=sorted))


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
    """Both runs of these rows, each as soon as it is known; what could not be locked is not run.

    ``folder/models.toml`` is their catalogue.
    """
    catalogue, home = folder / "models.toml", folder / "home"
    locked, left = [], list(rows)
    while left:
        names = [arg for row in left for arg in ("--models", row.name)]
        done = _run(catalogue, home, hub, "--relock", *names)
        # Of several that are refused, a message names one or more; they are told, the rest goes on.
        ended = [row for row in left if not done.code or f" {row.name}: " in f" {done.said}"]
        for row in ended or left:
            outcome = Outcome(row=row, relocked=not done.code, message=done.said)
            outcome.seconds["relock"] = done.seconds / len(ended or left)
            if outcome.relocked:
                locked.append(outcome)
            else:
                yield outcome
        left = [row for row in left if row not in (ended or left)]
    for start in range(0, len(locked), TOGETHER):
        batch = locked[start : start + TOGETHER]
        names = [arg for outcome in batch for arg in ("--models", outcome.row.name)]
        summary = folder / "summary.json"
        done = _run(catalogue, home, hub, *names, "--summary", summary)
        for outcome in batch:
            outcome.seconds["run"] = done.seconds / len(batch)
            _note(outcome, done, summary)
        yield from batch


def offline(row: Row, catalogue: Path, home: Path) -> Outcome:
    """The offline run of one row that was ready in this home."""
    outcome = Outcome(row=row, relocked=True, message="")
    summary = home.with_name("summary.json")
    args = ("--models", row.name, "--offline", "--summary", summary)
    _note(outcome, _run(catalogue, home, "http://127.0.0.1:9", *args), summary)
    return outcome


def _run(
    catalogue: Path, home: Path, hub: str, *args: str | Path, prefix: tuple[str, ...] = ()
) -> Run:
    given = ("--catalogue", catalogue, "--model-home", home, "--hub", hub, *args)
    return run("-q", "-p", "no:timeout", *given, timeout=SECONDS, prefix=prefix)


def _note(outcome: Outcome, done: Run, path: Path) -> None:
    model: Mapping[str, Any] = {}
    if path.exists():
        model = read_summary(path)["models"].get(outcome.row.name, {})
    outcome.status = model.get("status", f"no verdict, exit {done.code}")
    loads = model.get("loads", {}).items()
    known = {consumer.name for consumer in TASKS[outcome.row.task].consumers}
    for name in (name for name, load in loads if "seconds" in load):
        outcome.consumers |= known & set(name.split(":")[:2])  # perhaps after a precision
    for precision, made in model.get("precisions", {}).items():
        outcome.agreement[precision] = made["agreement"]
    if causes := model.get("causes"):
        outcome.message = "\n\n".join(cause["text"] for cause in causes)
    elif outcome.status != "ready":
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
    lines = [f"{'row':32} {'expected':9} {'found':18} relock     run"]
    for outcome in outcomes:
        row = outcome.row
        seconds = "".join(f"{outcome.seconds.get(s, 0):8.1f}" for s in ("relock", "run"))
        mark = "!" if wrong(outcome) else " "
        lines.append(f"{row.name:32} {row.expected:9} {outcome.found:18}{seconds[1:]} {mark}")
    return "\n".join(lines)


def report(outcomes: Iterable[Outcome]) -> dict[str, object]:
    """The same as data."""
    return {
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
