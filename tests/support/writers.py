"""Eight processes at one file: ``python -m tests.support.writers KIND FOLDER SECONDS``.

Each writes for so many seconds, all of them at once, and this prints as JSON how often each did. A
process of its own, so that it can fork: the tests' has threads.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prep.catalogue.lock import Lock
from prep.home.file_lock import HolderNote
from prep.home.layout import Home
from prep.plugin.terminal import _append_to
from prep.report import summary
from prep.report.ready_file import write_for_consumers
from prep.report.verdict import ModelRun
from prep.settings import Settings
from tests.support.small_homes import locked_model
from tests.support.small_settings import SPEC, settings_for

PROCESSES = 8
LEAST = 3  # entries of each, however busy the machine is
Write = Callable[[int], object]  # one entry, of that number

# A line of one write, and one that the C library would cut into several.
LENGTHS = (10, 10_000)


class Worker:
    """As much of an xdist worker's configuration as its events need."""

    def __init__(self, name: str, cleanup: ExitStack) -> None:
        self.workerinput = {"workerid": name}
        self.add_cleanup = cleanup.callback


def settings_of(folder: Path, name: str) -> Settings:
    """The case of one model, of that name."""
    spec = replace(SPEC, name=name)
    plain = settings_for(folder, locked_model())
    lock = Lock(models=(replace(locked_model(), name=name),))
    catalogue = replace(plain.catalogue, models=(spec,))
    questions = {name: next(iter(plain.questions.values()))}
    return replace(plain, models=(spec,), lock=lock, catalogue=catalogue, questions=questions)


@contextmanager
def ledger(folder: Path, name: str) -> Iterator[Write]:
    """Lines of the ledger."""
    home = Home(folder)

    def write(number: int) -> None:
        more = "x" * LENGTHS[number % 2]
        home.note_placed("file", folder / f"{name}-{number}", more=more)

    yield write


@contextmanager
def report(folder: Path, name: str) -> Iterator[Write]:
    """Whole reports: the summary, the history and the page, of one model each."""
    settings = settings_of(folder, name)
    paths = {"summary": folder / "summary.json", "report": folder / "report.html"}
    settings = replace(settings, **paths)
    report = summary.model_report(ModelRun(), "failed", settings, name)

    def write(number: int) -> None:
        summary.write_reports(settings, {name: replace(report, files=number)}, number % 2, 0.0)

    yield write


@contextmanager
def ready(folder: Path, name: str) -> Iterator[Write]:
    """What consumers read."""
    settings = settings_of(folder, name)
    yield lambda number: write_for_consumers(settings, {name: "failed"}, 0)


@contextmanager
def events(folder: Path, name: str) -> Iterator[Write]:
    """Events of progress."""
    with ExitStack() as cleanup:
        emit = _append_to(str(folder / "events.jsonl"), Worker(name, cleanup))  # type: ignore[arg-type]
        yield lambda number: emit({"number": number, "more": "x" * LENGTHS[number % 2]})


@contextmanager
def note(folder: Path, name: str) -> Iterator[Write]:
    """The note of a lock's holder, as where locks do nothing and every process has one."""
    holder = HolderNote(folder / "org--name.fetch.holder", locked=False)

    def write(number: int) -> None:
        holder.record_bytes(number)
        holder._write()

    yield write


KINDS: dict[str, Any] = {kind.__name__: kind for kind in (ledger, report, ready, events, note)}


def hammer(kind: str, folder: Path, seconds: float) -> dict[str, int]:
    """Let them all write; gives how often each did. Raises where one of them failed."""
    begin = time.monotonic() + 0.2  # all of them are there by then
    counts: dict[str, int] = {}
    reading, writing = os.pipe()
    children = {}
    for number in range(PROCESSES):
        name = f"writer-{number}"
        if (pid := os.fork()) == 0:
            code = 1
            try:
                with KINDS[kind](folder, name) as write:
                    time.sleep(max(0.0, begin - time.monotonic()))
                    count = 0
                    while count < LEAST or time.monotonic() < begin + seconds:
                        write(count)
                        count += 1
                os.write(writing, f"{name} {count}\n".encode())
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        children[pid] = name
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            name, _, count_text = line.partition(" ")
            counts[name] = int(count_text)
    codes = {name: os.waitpid(pid, 0)[1] for pid, name in children.items()}
    if any(codes.values()):
        raise SystemExit(f"ended with {codes}")
    return counts


if __name__ == "__main__":
    where = Path(sys.argv[2])
    where.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "events":
        (where / "events.jsonl").touch()
    sys.stdout.write(json.dumps(hammer(sys.argv[1], where, float(sys.argv[3]))))
