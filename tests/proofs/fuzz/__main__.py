"""``python -m tests.proofs.fuzz``: every reader for minutes, with the figures.

Whatever rises that is none of our errors, takes more than `SECONDS` or more than `BYTES`, is kept
below ``reports/fuzz/`` and makes the exit code 1.
"""

import argparse
import collections
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from prep.home.layout import make_folder
from tests.proofs.fuzz import hub
from tests.proofs.fuzz.hostile import extremes, inputs
from tests.proofs.fuzz.readers import READERS, Reader, outcome, written
from tests.support.paths import ROOT

SECONDS, BYTES = 10.0, 300_000_000  # what a file under a megabyte may take
MOST = 1_000_000  # bytes of a file
MEMORY = 4 << 30  # bytes of address space: what goes beyond is an error of its own
TRACED = 25  # of so many changed files, one is read with its memory traced


@dataclass(slots=True)
class Figures:
    """What was tried at one reader. Seconds are of the processor, peak is in bytes."""

    tried: int = 0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    slowest_input: str = ""
    peak: int = 0
    peak_input: str = ""
    faults: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As the report has it."""
        return {
            "tried": self.tried,
            "outcomes": dict(self.outcomes.most_common()),
            "slowest-seconds": round(self.slowest, 3),
            "slowest": self.slowest_input,
            "peak-bytes": self.peak,
            "peak": self.peak_input,
            "faults": self.faults,
        }


def main(argv: list[str] | None = None) -> int:
    """Fuzz, print the table, write the report; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="for each reader")
    parser.add_argument("--seed", type=int, default=None, help="of the changes; else a new one")
    parser.add_argument("--most", type=int, default=MOST, help="bytes of a file")
    parser.add_argument("--only", default="", help="readers whose name holds this; hub")
    parser.add_argument("--json", type=Path, default=ROOT / "reports" / "fuzz.json")
    asked = parser.parse_args(argv)
    begin = asked.seed if asked.seed is not None else random.randrange(1 << 32)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    report: dict[str, Any] = {}
    print(f"seed {begin}")  # noqa: T201
    print(HEAD.format("reader", "tried", "slowest", "peak", "faults", "outcomes"))  # noqa: T201
    for reader in READERS:
        if asked.only not in reader.name:
            continue
        kept = asked.json.parent / "fuzz"
        figures = fuzz(reader, asked.seconds, asked.most, begin, kept)
        report[reader.name] = figures.told()
        print(_row(reader.name, figures), flush=True)  # noqa: T201
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"seed": begin, "seconds": asked.seconds, "readers": report}
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if asked.only in "hub":
        report["hub"] = (figures := fuzz_hub()).told()
        print(_row("hub", figures), flush=True)  # noqa: T201
        told = {"seed": begin, "seconds": asked.seconds, "readers": report}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if any(one["faults"] for one in report.values()) else 0


def fuzz_hub() -> Figures:
    """Every row of the hub that answers what no hub would, once; the time is that on the clock."""
    figures = Figures()
    with hub.between() as server:
        for row in hub.ROWS:
            for do in hub.ASKED_BY[row.where]:
                began, fault, what = time.monotonic(), None, f"{row}, {do}"
                with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
                    try:
                        kind, text = hub.outcome(server, row, do, Path(name) / "folder")
                        if kind == "ChildCrashed":  # whatever rose in the child, without a sentence
                            fault = text[:200]
                    except Exception as error:
                        kind, fault = type(error).__name__, str(error)[:200]
                took = time.monotonic() - began
                figures.tried += 1
                figures.outcomes[kind] += 1
                if took > figures.slowest:
                    figures.slowest, figures.slowest_input = took, what
                if fault:
                    figures.faults[fault] = what
    return figures


HEAD = "{:<40} {:>7} {:>9} {:>9} {:>6}  {}"


def _row(name: str, figures: Figures) -> str:
    outcomes = ", ".join(f"{what} {count}" for what, count in figures.outcomes.most_common())
    seconds, peak = f"{figures.slowest:.2f} s", f"{figures.peak / 1e6:.1f} MB"
    return HEAD.format(name, figures.tried, seconds, peak, len(figures.faults), outcomes)


def fuzz(reader: Reader, seconds: float, most: int, begin: int, kept: Path) -> Figures:
    """One reader: the extremes first, then changed files until the time is over."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name) / "folder"
        make_folder(folder)
        reader.prepare(folder)
        valid = reader.seed(folder)

        def attempt(what: str, data: bytes, traced: bool) -> None:
            for trace in (False, True) if traced else (False,):
                fault = _attempt(reader, folder, what, data, figures, trace)
                if fault:
                    kept.mkdir(parents=True, exist_ok=True)
                    digest = hashlib.sha256(data).hexdigest()[:12]
                    (kept / f"{reader.name.replace('/', '-')} {digest}").write_bytes(data)
                    figures.faults.setdefault(fault, f"{what}, {digest}")

        for what, data in extremes(valid, reader.form, most):
            attempt(what, data, True)
        ends = time.monotonic() + seconds
        for number in _numbers():
            if time.monotonic() >= ends:
                break
            _changed(reader, valid, begin + number, ends, attempt)
    return figures


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _changed(
    reader: Reader,
    valid: bytes,
    begin: int,
    ends: float,
    attempt: Callable[[str, bytes, bool], None],
) -> None:
    """A few hundred changed files."""
    count = 0

    @seed(begin)
    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        nonlocal count
        changed = data.draw(inputs(valid, reader.form))  # always: hypothesis replays its draws
        if time.monotonic() < ends:
            count += 1
            attempt("changed", changed, count % TRACED == 0)

    run()


def _attempt(
    reader: Reader, folder: Path, what: str, data: bytes, figures: Figures, trace: bool
) -> str | None:
    """Read one; gives what was wrong with that, as one line."""
    written(reader, folder, data)
    if trace:
        tracemalloc.start()
    began, fault = time.process_time(), None
    try:
        told = outcome(reader, folder)
    except Exception as error:  # whatever it is, it is what we are looking for
        told = type(error).__name__
        at = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{told} at {Path(at.filename).name}:{at.lineno}: {str(error)[:200]}"
    took = time.process_time() - began
    if trace:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > figures.peak:
            figures.peak, figures.peak_input = peak, what
        return f"{peak} bytes of memory: {what}" if peak > BYTES else fault
    figures.tried += 1
    figures.outcomes[told] += 1
    if took > figures.slowest:
        figures.slowest, figures.slowest_input = took, what
    return f"{took:.1f} s: {what}" if took > SECONDS else fault


if __name__ == "__main__":
    sys.exit(main())
