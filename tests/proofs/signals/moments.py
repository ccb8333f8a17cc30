"""Runs that a signal ends at random moments; `make test` has a handful of them.

Every run starts in the home that the last one left, and so is its predecessor's check.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.home.layout import Home
from tests.support.runs import CHECKS, TINY, TINY_REPO, start, summary

BOUND = 12.0  # seconds from the signal until all is over
WORKERS = ("-n", "2")
# What must never be in a run's output that a signal ended, or that it did not.
FAULTS = ("FAILED", "ERROR ", "NOT REACHED", "INTERNALERROR", "Exception ignored", "ended by force")
FILE = "model.safetensors"  # the one that is taken alone, and may be reported as missing
TAKEN = ("nothing", "nothing", "nothing", "nothing", "conversion", "conversion", "file", "home")
# By what a run says: the last of these gives how far it was.
STAGES = {
    "test session starts": "starting",
    "fetching": "fetching",
    "importing the libraries": "importing",
    "converting to": "converting",
    "test_offline_loading": "loading",
    "test_embedding": "answers",
    "= model-prep =": "closing lines",
    "passed in": "after the last line",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When which signal comes, to whom, and what is taken from the home before.

    `share` is of the time that such a run takes undisturbed. `again` is after how many seconds the
    signal comes a second time, None for once.
    """

    number: int
    signal: signal.Signals
    workers: bool
    group: bool
    again: float | None
    share: float
    taken: str

    @property
    def kind(self) -> str:
        return f"{self.signal.name}{' -n 2' if self.workers else ''}"


def moment(seed: str, number: int) -> Moment:
    """The moment of that number; the kinds take turns, the rest is drawn."""
    drawn = random.Random(f"{seed}.{number}")
    return Moment(
        number=number,
        signal=signal.SIGTERM if number % 2 else signal.SIGINT,
        workers=bool(number // 2 % 2),
        share=drawn.uniform(0.0, 1.05),
        taken=drawn.choice(TAKEN),
        group=drawn.random() < 0.5,  # as a terminal does with Ctrl-C, and timeout(1) with SIGTERM
        again=drawn.uniform(0.05, 3.0) if drawn.random() < 0.25 else None,
    )


def take(home: Path, what: str) -> None:
    """Give the next run work to do."""
    if what == "home":
        shutil.rmtree(home, ignore_errors=True)
    if what == "conversion":
        shutil.rmtree(Home(home).conversions(TINY_REPO), ignore_errors=True)
    if what == "file":
        for path in home.glob(f"hub/*/snapshots/*/{FILE}"):
            path.resolve().unlink(missing_ok=True)
            path.unlink()


def lacks_file(home: Path) -> bool:
    """Whether the file that is taken is gone, from a home that has the others."""
    folders = list(home.glob("hub/*/snapshots/*"))
    return bool(folders) and not all((folder / FILE).exists() for folder in folders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: its code (negative: by that signal), and seconds from the signal on.

    `handled` is whether the suite had its handlers whenever a signal came; `sent` is false where
    the run was over before. `left` are the command lines of processes that were there at the bound.
    """

    code: int
    sent: bool
    handled: bool
    stage: str
    seconds: float
    left: tuple[str, ...]
    out: str


def run_until(
    args: tuple[str, ...],
    folder: Path,
    it_is_time: Callable[[str, float], bool],
    number: signal.Signals,
    *,
    group: bool = False,
    again: float | None = None,
) -> Ended:
    """Start a run and send the signal when it is time, by what it has said and seconds gone.

    All of a run's processes have its TMPDIR in their environment: so they are known, wherever they
    went.
    """
    log, scratch = folder / "log", folder / "tmp"
    scratch.mkdir()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what is to run in the background; a run would inherit it, and Python
        # honours it: until the suite has its handlers, SIGINT would be lost.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    plugin = ("-p", "tests.proofs.signals.stacks")
    process = start("-v", *plugin, *args, log=log, env={"TMPDIR": str(scratch)}, session=True)
    send = os.killpg if group else os.kill
    began = time.monotonic()
    said = ""
    try:
        while process.poll() is None and not it_is_time(said, time.monotonic() - began):
            time.sleep(0.02)
            said = log.read_text(errors="replace")
        sent = process.poll() is None
        handled = catches(process.pid, signal.SIGTERM)
        at = time.monotonic()
        if sent:
            send(process.pid, number)
        if sent and again is not None:
            wait_for(lambda: process.poll() is not None, at + again)
            if process.poll() is None:
                handled = handled and catches(process.pid, signal.SIGTERM)
                send(process.pid, number)
        if not wait_for(lambda: process.poll() is not None, at + BOUND):
            for pid in (*processes_of(scratch), process.pid):
                if catches(pid, signal.SIGUSR1):
                    kill(pid, signal.SIGUSR1)
            time.sleep(2)
        seconds = time.monotonic() - at
        wait_for(lambda: not list(processes_of(scratch)), at + BOUND)
        left = tuple(command_line(pid) for pid in processes_of(scratch))
    finally:
        for pid in (*processes_of(scratch), process.pid):
            kill(pid, signal.SIGKILL)
        code = process.wait()
    return Ended(
        code=code,
        sent=sent,
        handled=handled,
        stage=stage_of(said),
        seconds=seconds,
        left=left,
        out=log.read_text(errors="replace"),
    )


def wait_for(met: Callable[[], bool], until: float) -> bool:
    """Whether it is met by then."""
    while not (over := met()) and time.monotonic() < until:
        time.sleep(0.02)
    return over


def kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def stage_of(said: str) -> str:
    """How far a run was, by what it said."""
    found = [stage for words, stage in STAGES.items() if words in said]
    return found[-1] if found else "before its first line"


def processes_of(scratch: Path) -> Iterator[int]:
    """Every process that has this TMPDIR, or a folder below it, in its environment."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(scratch).encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
        except OSError:
            continue  # it has ended, or is not ours


def command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "gone"
    return b" ".join(words).decode(errors="replace")[:120]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal, or ignores it: it is about to exit."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return False
    masks = re.findall(r"^Sig(?:Cgt|Ign):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def problems_of(
    ended: Ended, number: signal.Signals, home: Path, folder: Path, *, lacked: bool
) -> list[str]:
    """What is not as it is promised; `lacked` is whether the home did when the run began."""
    found = [f"exit {ended.code}"] if ended.code not in allowed(ended, number) else []
    if ended.seconds > BOUND:
        found.append(f"not over {BOUND:g} s after the signal")
    found += [f"left: {line}" for line in ended.left]
    if ended.handled or not ended.sent:  # else it is Python's own ending, with a traceback
        lines = ended.out.splitlines()
        found += [line for line in lines if any(words in line for words in FAULTS)]
        left = sorted(path.name for path in (folder / "tmp").iterdir())
        # What xdist asks pytest for, which keeps it for three runs.
        found += [f"left in TMPDIR: {name}" for name in left if not name.startswith("pytest-of-")]
    repaired = [line for line in ended.out.splitlines() if "repairing:" in line]
    found += [line for line in repaired if not (lacked and FILE in line)]
    return found + unreadable(home, folder / "junit.xml") + verdict(home)


def allowed(ended: Ended, number: signal.Signals) -> tuple[int, ...]:
    """The exit codes that are promised.

    Before the suite has its handlers, and when Python has taken them back at its very end, a signal
    ends the process as it does everywhere; a run whose tests are all done ends as it would have.
    """
    promised = 2 if number is signal.SIGINT else 143
    interrupted = "! KeyboardInterrupt !" in ended.out or "Exit: SIGTERM" in ended.out
    over = f" {CHECKS} passed in " in ended.out and not interrupted
    if not ended.sent:
        return (0,)
    own = 0 if over else promised
    return (own,) if ended.handled else (own, -number)


def unreadable(home: Path, junit: Path) -> list[str]:
    """The files of record that cannot be read."""
    state = home / "model-prep"
    found = []
    for name in ("summary.json", "ready.json", "history.jsonl", "placed.jsonl"):
        path = state / name
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        try:
            for line in text.splitlines() if name.endswith("l") else [text]:
                json.loads(line)
        except ValueError as error:
            found.append(f"unreadable {name}: {error}")
    if junit.exists():
        try:
            ET.parse(junit)
        except ET.ParseError as error:
            found.append(f"unreadable junit: {error}")
    return found


def verdict(home: Path) -> list[str]:
    """What the summary must not say of the model, in this run or an earlier one."""
    if not (home / "model-prep" / "summary.json").exists():
        return []
    found = summary(home)["models"][TINY]
    problems = [f"summary: {cause['text']}" for cause in found["causes"]]
    problems += [f"repaired: {repair}" for repair in found["repaired"] if FILE not in repair]
    if found["status"] not in ("ready", "repaired", "unchecked"):
        problems.append(f"status {found['status']}")
    return problems


def as_json(at: Moment, ended: Ended, problems: list[str]) -> dict[str, Any]:
    """One line of what was done."""
    return {
        "number": at.number,
        "kind": at.kind,
        "group": at.group,
        "again": at.again is not None,
        "taken": at.taken,
        "stage": "the run was over" if not ended.sent else ended.stage,
        "handled": ended.handled,
        "code": ended.code,
        "seconds": round(ended.seconds, 2) if ended.sent else None,
        "problems": problems,
    }
