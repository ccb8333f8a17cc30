"""Every reader for two minutes: our errors alone, within `SECONDS` and `BYTES`.

FUZZ_SECONDS=20 is another time for each, SEED repeats changes. What was wrong is kept below
``reports/fuzz/``, the figures are in ``reports/fuzz.json``. The hub's answers are fuzzed by
`tests/system/test_fuzz_hub.py`.
"""

import hashlib
import itertools
import os
import random
import resource
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from prep.home.layout import make_folder
from tests.proofs.fuzz.hostile import extremes, inputs
from tests.proofs.fuzz.readers import READERS, Reader, outcome, written
from tests.support.paths import ROOT

EACH = float(os.environ.get("FUZZ_SECONDS", "120"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
SECONDS, BYTES = 10.0, 300_000_000  # what a file under a megabyte may take
MOST = 1_000_000  # bytes of a file
MEMORY = 4 << 30  # bytes of address space: what goes beyond is an error of its own
TRACED = 25  # of so many changed files, one is read with its memory traced
pytestmark = pytest.mark.timeout(EACH + 900)


@dataclass(slots=True)
class Figures:
    """What was tried at one reader. Seconds are of the processor, peak is in bytes."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_input: str = ""
    peak: int = 0
    peak_input: str = ""
    faults: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "tried": self.tried,
            "outcomes": dict(self.outcomes.most_common()),
            "slowest-seconds": round(self.slowest, 3),
            "slowest": self.slowest_input,
            "peak-bytes": self.peak,
            "peak": self.peak_input,
            "faults": self.faults,
        }


@pytest.fixture(scope="module")
def figures(keep: Callable[[str, object], None]) -> Iterator[dict[str, Figures]]:
    """By reader; written when all are done."""
    found: dict[str, Figures] = {}
    yield found
    readers = {name: figures.as_json() for name, figures in found.items()}
    keep("fuzz.json", {"seed": SEED, "seconds": EACH, "readers": readers})


@pytest.fixture(autouse=True)
def limited_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.name))
def test_reader_raises_our_errors_alone(
    reader: Reader, tmp_path: Path, figures: dict[str, Figures], show: Callable[[str], None]
) -> None:
    found = figures[reader.name] = Figures()
    fuzz(reader, tmp_path / "folder", found)
    outcomes = ", ".join(f"{what} {count}" for what, count in found.outcomes.most_common())
    show(f"{found.tried} tried, {found.slowest:.2f} s, {found.peak / 1e6:.1f} MB: {outcomes}")
    assert found.faults == {}, f"seed {SEED}"


def fuzz(reader: Reader, folder: Path, figures: Figures) -> None:
    """One reader: the extremes first, then changed files until the time is over."""
    make_folder(folder)
    reader.prepare(folder)
    valid = reader.seed(folder)

    def attempt(what: str, data: bytes, traced: bool) -> None:
        for trace in (False, True) if traced else (False,):
            fault = _attempt(reader, folder, what, data, figures, trace)
            if fault:
                kept = ROOT / "reports" / "fuzz"
                kept.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256(data).hexdigest()[:12]
                (kept / f"{reader.name.replace('/', '-')} {digest}").write_bytes(data)
                figures.faults.setdefault(fault, f"{what}, {digest}")

    for what, data in extremes(valid, reader.form, MOST):
        attempt(what, data, True)
    ends = time.monotonic() + EACH
    for number in itertools.count():
        if time.monotonic() >= ends:
            break
        _changed(reader, valid, SEED + number, ends, attempt)


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
        result = outcome(reader, folder)
    except Exception as error:  # whatever it is, it is what we are looking for
        result = type(error).__name__
        at = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{result} at {Path(at.filename).name}:{at.lineno}: {str(error)[:200]}"
    took = time.process_time() - began
    if trace:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > figures.peak:
            figures.peak, figures.peak_input = peak, what
        return f"{peak} bytes of memory: {what}" if peak > BYTES else fault
    figures.tried += 1
    figures.outcomes[result] += 1
    if took > figures.slowest:
        figures.slowest, figures.slowest_input = took, what
    return f"{took:.1f} s: {what}" if took > SECONDS else fault
