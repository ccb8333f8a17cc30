"""``python -m tests.proofs.signals``: a hundred runs ended by SIGINT and a hundred by SIGTERM.

What was done is kept in ``--folder``, so that the same command goes on where it was stopped.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.proofs.signals import (
    BOUND,
    WORKERS,
    as_json,
    lacks_file,
    moment,
    problems_of,
    run_until,
    take,
)
from tests.support.runs import TINY, status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the moments that are not done yet, then one run to its end; 1 unless all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.signals", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("reports/signals"))
    parser.add_argument("--count", type=int, default=200, help="how many moments")
    parser.add_argument("--seed", default="13")
    given = parser.parse_args(arguments)
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"done-{given.seed}.jsonl"
    lines = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
    usual = usual_seconds(folder)
    for number in range(len(lines), given.count):
        line = one(folder, given.seed, number, usual)
        lines.append(line)
        with done.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        say(told(line))
    code, seconds = undisturbed(folder)
    say(f"the last, undisturbed: exit {code} after {seconds:.0f} s, {status(folder / 'home')}")
    for text in table(lines):
        say(text)
    bad = sum(bool(line["problems"]) for line in lines)
    say(f"{len(lines) - bad} of {len(lines)} as promised")
    well = code == 0 and status(folder / "home") in ("ready", "repaired")
    return 0 if well and not bad else 1


def usual_seconds(folder: Path) -> dict[str, float]:
    """How long a run takes here, with all to do and with nothing, alone and with workers."""
    path = folder / "usual.json"
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text())
        return known
    usual = {}
    for name, args in (("alone", ()), ("workers", WORKERS)):
        shutil.rmtree(folder / "home", ignore_errors=True)
        for work in ("all", "nothing"):
            code, usual[f"{name}, {work}"] = undisturbed(folder, *args)
            if code != 0:
                raise SystemExit(f"an undisturbed run ended with {code}: see {folder / 'run/log'}")
    path.write_text(json.dumps(usual))
    say(", ".join(f"{name} to do: {seconds:.0f} s" for name, seconds in usual.items()))
    return usual


def undisturbed(folder: Path, *args: str) -> tuple[int, float]:
    """The exit code of a run that is left alone, and how long it took."""
    began = time.monotonic()
    arguments = (*sample_of(folder), *args)
    ended = run_until(arguments, fresh(folder), lambda said, gone: False, signal.SIGINT)
    return ended.code, time.monotonic() - began


def one(folder: Path, seed: str, number: int, usual: dict[str, float]) -> dict[str, Any]:
    """One moment; gives its line."""
    at = moment(seed, number)
    home = folder / "home"
    take(home, at.taken)
    work = "nothing" if at.taken == "nothing" else "all"
    seconds = at.share * usual[f"{'workers' if at.workers else 'alone'}, {work}"]
    args = (*sample_of(folder), *(WORKERS if at.workers else ()))
    run, lacked = fresh(folder), lacks_file(home)
    ended = run_until(
        args, run, lambda said, gone: gone >= seconds, at.signal, group=at.group, again=at.again
    )
    problems = problems_of(ended, at.signal, home, run, lacked=lacked)
    if problems:
        shutil.copytree(run, folder / f"problem-{seed}-{number}", dirs_exist_ok=True)
    return as_json(at, ended, problems) | {"at": round(seconds, 1)}


def sample_of(folder: Path) -> tuple[str, ...]:
    home, junit = folder / "home", folder / "run" / "junit.xml"
    chosen = ("--hub", "sample", "--models", TINY)
    return (*chosen, f"--model-home={home}", f"--junitxml={junit}")


def fresh(folder: Path) -> Path:
    """An empty folder for one run's log, junit and TMPDIR."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    return run


def told(line: dict[str, Any]) -> str:
    """One run."""
    more = [*(["to the group"] if line["group"] else []), *(["twice"] if line["again"] else [])]
    over = "" if line["seconds"] is None else f", over after {line['seconds']:.1f} s"
    text = f"{line['number']:>3} {line['kind']:<13} at {line['at']:5.1f} s, {line['stage']}"
    text += f" ({', '.join(more)})" if more else ""
    text += f", {line['taken']} taken: exit {line['code']}{over}"
    return text + "".join(f"\n      {problem}" for problem in line["problems"])


def table(lines: Sequence[dict[str, Any]]) -> list[str]:
    """By kind: how many, the longest end, and the stages at which the signal came."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        kinds[line["kind"]].append(line)
    found = [f"bound: {BOUND:g} s from the signal until the last process is gone"]
    for kind, of_it in sorted(kinds.items()):
        longest = max((line["seconds"] or 0.0) for line in of_it)
        stages: dict[str, int] = defaultdict(int)
        for line in of_it:
            stages[line["stage"]] += 1
        hit = ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items()))
        found.append(f"{kind:<13} {len(of_it):>4} runs, longest end {longest:4.1f} s; at: {hit}")
    return found


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
