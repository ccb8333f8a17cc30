"""A hundred runs ended by SIGINT and a hundred by SIGTERM: over in 12 s, nothing left or truncated.

What was done is kept in ``reports/signals``, so that the same command goes on where it was stopped;
remove the folder to begin anew. SEED draws other moments. Every run starts in the home that the
last one left.
"""

import json
import os
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.signals.moments import (
    BOUND,
    WORKERS,
    as_json,
    lacks_file,
    moment,
    problems_of,
    run_until,
    take,
)
from tests.support.paths import ROOT
from tests.support.runs import TINY, status

COUNT, SEED = 200, os.environ.get("SEED", "13")
FOLDER = ROOT / "reports" / "signals"
Line = Mapping[str, Any]


@pytest.fixture(scope="module")
def done(show: Callable[[str], None]) -> Iterator[dict[int, Line]]:
    """The moments that were done, in this run or an earlier one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = FOLDER / f"done-{SEED}.jsonl"
    texts = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    lines = {line["number"]: line for line in map(json.loads, texts)}
    yield lines
    show("\n".join(table(list(lines.values()))))


@pytest.fixture(scope="module")
def usual() -> dict[str, float]:
    """Seconds that a run takes here, with all to do and with nothing, alone and with workers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "usual.json"
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text())
        return known
    seconds = {}
    for name, args in (("alone", ()), ("workers", WORKERS)):
        shutil.rmtree(FOLDER / "home", ignore_errors=True)
        for work in ("all", "nothing"):
            began = time.monotonic()
            assert undisturbed(*args) == 0, f"see {FOLDER / 'run/log'}"
            seconds[f"{name}, {work}"] = time.monotonic() - began
    path.write_text(json.dumps(seconds))
    return seconds


@pytest.mark.parametrize("number", range(COUNT))
def test_signal_ends_the_run_as_promised(
    number: int, done: dict[int, Line], usual: Mapping[str, float]
) -> None:
    if number not in done:
        done[number] = interrupted(number, usual)
        with (FOLDER / f"done-{SEED}.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(done[number])}\n")
    assert done[number]["problems"] == [], done[number]


def test_run_after_all_of_them_is_ready(usual: Mapping[str, float]) -> None:
    assert undisturbed() == 0
    assert status(FOLDER / "home") in ("ready", "repaired")


def undisturbed(*args: str) -> int:
    """The exit code of a run that is left alone."""
    arguments = (*sample_of(FOLDER), *args)
    return run_until(arguments, fresh(), lambda said, gone: False, signal.SIGINT).code


def interrupted(number: int, usual: Mapping[str, float]) -> Line:
    """A run that is interrupted at its moment; gives its line."""
    at = moment(SEED, number)
    home = FOLDER / "home"
    take(home, at.taken)
    work = "nothing" if at.taken == "nothing" else "all"
    seconds = at.share * usual[f"{'workers' if at.workers else 'alone'}, {work}"]
    args = (*sample_of(FOLDER), *(WORKERS if at.workers else ()))
    run, lacked = fresh(), lacks_file(home)
    ended = run_until(
        args, run, lambda said, gone: gone >= seconds, at.signal, group=at.group, again=at.again
    )
    problems = problems_of(ended, at.signal, home, run, lacked=lacked)
    if problems:
        shutil.copytree(run, FOLDER / f"problem-{SEED}-{number}", dirs_exist_ok=True)
    return as_json(at, ended, problems) | {"at": round(seconds, 1)}


def sample_of(folder: Path) -> tuple[str, ...]:
    home, junit = folder / "home", folder / "run" / "junit.xml"
    return ("--hub", "sample", "--models", TINY, f"--model-home={home}", f"--junitxml={junit}")


def fresh() -> Path:
    """An empty folder for one run's log, junit and TMPDIR."""
    run = FOLDER / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    return run


def table(lines: Sequence[Line]) -> list[str]:
    """By kind: how many, the longest end, and the stages at which the signal came."""
    kinds: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        kinds[line["kind"]].append(line)
    found = [f"bound: {BOUND:g} s from the signal until the last process is gone"]
    for kind, of_kind in sorted(kinds.items()):
        longest = max((line["seconds"] or 0.0) for line in of_kind)
        stages = Counter(line["stage"] for line in of_kind)
        hit = ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items()))
        found.append(f"{kind:<13} {len(of_kind):>4} runs, longest end {longest:4.1f} s; at: {hit}")
    bad = sum(bool(line["problems"]) for line in lines)
    return [*found, f"{len(lines) - bad} of {len(lines)} as promised"]
