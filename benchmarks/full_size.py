"""The full-size proof: the suite on stand-ins as large as the models of models.toml.

    python -m benchmarks.full_size --json full-size.json

The stand-ins (see benchmarks/stand_ins.py) are served by the embedded hub, locked, fetched,
converted and loaded by every consumer, all as the true ones are; then once more, and nothing may
be fetched or converted again. Answers are not asked: random weights have none, so the status of
both is "unchecked". The exit code is 0 if everything was as it must be, else 1.
"""

import argparse
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.stand_ins import STAND_INS, WEIGHTS, StandIn
from prep.catalogue.lock import read_lock
from sample_hub.server import Hub, ServedRepo
from tests.support.paths import ROOT
from tests.support.runs import command, environment, summary

log = logging.getLogger("benchmarks.full_size")

NEEDED = 6_000_000_000  # bytes on disk: stand-ins, what is fetched of them, two conversions at work
LEVELS = "pins or layout or conversion or load"
KEPT = ("status", "bytes", "fetched-bytes", "seconds", "precisions", "loads", "network-cut")
SAMPLE_SECONDS = 0.2  # a look takes some milliseconds


@dataclass(slots=True)
class Run:
    """One run of the suite: exit code, wall seconds, and the most memory of all its processes.

    `models` are the summary's entries; empty where the run wrote none.
    """

    code: int = -1
    seconds: float = 0.0
    peak: int = 0
    models: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As the JSON file has it."""
        kept = {name: {key: entry.get(key) for key in KEPT} for name, entry in self.models.items()}
        head = {"exit": self.code, "seconds": round(self.seconds, 2), "peak-bytes": self.peak}
        return head | {"models": kept}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the stand-ins, run the suite on them twice, print what it took."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        with _workspace(options.folder) as folder:
            runs = prove(folder)
            problems = list(differing(folder)) + list(wrong(runs))
    except KeyboardInterrupt:
        return 130
    except subprocess.CalledProcessError as error:
        log.error("%s ended with exit code %d", " ".join(error.cmd[1:4]), error.returncode)
        return 1
    sys.stdout.write(f"\n{report(runs)}\n")
    if options.json:
        figures = {"machine": machine(), **{name: run.facts() for name, run in runs.items()}}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        log.info("wrote %s", options.json)
    for problem in problems:
        log.error("%s", problem)
    return 1 if problems else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="work in this folder, which is new or empty, and leave everything there: stand-ins, "
        "catalogue, home; on a disk with 6 GB free. Default: a temporary one (TMPDIR), removed",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures into this file as well"
    )
    options = parser.parse_args(arguments)
    if options.folder and options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"--folder {options.folder} is not empty: name a new one")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    return options


@contextmanager
def _workspace(asked: Path | None) -> Iterator[Path]:
    """The folder that was asked for, or one that is removed afterwards."""
    if asked is None:
        folder = Path(tempfile.mkdtemp(prefix="model-prep-full-size-"))
    else:
        folder = asked.resolve()
        folder.mkdir(parents=True, exist_ok=True)
    try:
        if (free := shutil.disk_usage(folder).free) < NEEDED:
            sys.exit(
                f"{folder} has {free / 1e9:.1f} GB free, wanted {NEEDED / 1e9:.0f} GB: "
                "name a folder on another disk with --folder"
            )
        yield folder
    finally:
        if asked is None:
            log.info("removing %s", folder)
            shutil.rmtree(folder, ignore_errors=True)


def prove(folder: Path) -> dict[str, Run]:
    """Lock, prepare and prove; then again: the runs of the suite by what they are."""
    log.info("making stand-ins in %s", folder)
    # In a process of its own: this one stays small, and has no torch.
    making = [sys.executable, "-m", "benchmarks.stand_ins", str(folder)]
    subprocess.run(making, cwd=ROOT, check=True)
    catalogue = folder / "models.toml"
    catalogue.write_text("\n".join(["catalogue-version = 1", *map(_entry, STAND_INS)]), "utf-8")
    # Empty, but there: else the goldens of the originals would be asked of their stand-ins.
    (folder / "goldens").mkdir()
    served = [ServedRepo.of(model.repo, folder / model.repo, model.license) for model in STAND_INS]
    home = folder / "home"
    with Hub(served) as hub:
        case = ("--catalogue", catalogue, "--hub", hub.url)
        levels = (*case, "--model-home", home, "-m", LEVELS)
        return {
            "relock": suite(*case, "--relock"),
            "first": suite(*levels, home=home),
            "second": suite(*levels, home=home),
        }


def _entry(stand_in: StandIn) -> str:
    why = f"stands in for the true {stand_in.name}, to see what one of its size takes"
    return (
        f'\n[[models]]\nname = "{stand_in.name}"\nrepo = "{stand_in.repo}"\nrevision = "main"\n'
        f'task = "{stand_in.task}"\nprecisions = ["int8"]\nwhy = "{why}"\n'
    )


def suite(*args: str | Path, home: Path | None = None) -> Run:
    """Run the suite to its end; it prints where this process prints."""
    log.info("pytest %s", " ".join(map(str, args)))
    began = time.monotonic()
    process = subprocess.Popen(command(*args), cwd=ROOT, env=environment())
    run = Run()
    try:
        with watched(process.pid, run):
            run.code = process.wait()
    finally:
        process.kill()  # where this process is interrupted; else it is gone already
        process.wait()
    run.seconds = time.monotonic() - began
    if home is not None:
        with suppress(OSError):
            run.models = summary(home)["models"]
    return run


@contextmanager
def watched(pid: int, run: Run) -> Iterator[None]:
    """Note the most memory that a process and all its descendants had together, while inside.

    Pss: pages that several of them share, as forks do, count once; mapped files count too.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_SECONDS):
            run.peak = max(run.peak, sum(map(_pss, _family(pid))))

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _family(int(child))


def _pss(pid: int) -> int:
    """Bytes; 0 of a process that is gone, or that we may not look into."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return 1024 * next(int(row.split()[1]) for row in text.splitlines() if row[:4] == "Pss:")
    return 0


def differing(folder: Path) -> Iterator[str]:
    """What is not as large as the original."""
    lock = read_lock(ROOT / "models.lock.toml")
    for stand_in in STAND_INS:
        original = lock.get(stand_in.name)
        sizes = {file.path: file.size for file in original.files} if original else {}
        got, wanted = (folder / stand_in.repo / WEIGHTS).stat().st_size, sizes.get(WEIGHTS)
        if got != wanted:
            yield f"{stand_in.repo}: {WEIGHTS} has {got} bytes, the original's {wanted}"


def wrong(runs: Mapping[str, Run]) -> Iterator[str]:
    """What did not come out as it must."""
    for name, run in runs.items():
        if run.code != 0:
            yield f"{name} run: exit code {run.code}, wanted 0"
    for name, fetches in (("first", True), ("second", False)):
        for stand_in in STAND_INS:
            entry = runs[name].models.get(stand_in.name, {})
            got = (
                entry.get("status"),
                entry.get("fetched-bytes"),
                entry.get("precisions", {}).get("int8", {}).get("made"),
            )
            wanted = ("unchecked", entry.get("bytes") if fetches else 0, fetches)
            if got != wanted:
                what = "status, bytes fetched and made"
                yield f"{name} run, {stand_in.name}: {what} are {got}, wanted {wanted}"


def report(runs: Mapping[str, Run]) -> str:
    """Two tables for people: what the runs took, and what each load took."""
    rows = [["run", "model", "fetched", "in", "converted in", "peak", "wall", "all processes"]]
    loads = [["model and load", "first", "peak", "second", "peak"]]
    for name, run in runs.items():
        rows.append([name, *[""] * 5, _seconds(run.seconds), _megabytes(run.peak)])
        for model, entry in run.models.items():
            int8 = entry["precisions"].get("int8", {})
            fetched = [_megabytes(entry["fetched-bytes"]), _seconds(entry["seconds"])]
            converted = ["not", ""]
            if int8.get("made"):  # else the peak is the receipt's, of an earlier run
                converted = [_seconds(int8["seconds"]), _megabytes(int8["peak-bytes"])]
            rows.append(["", model, *fetched, *converted, "", ""])
    for model, entry in runs["first"].models.items():
        again = runs["second"].models.get(model, {}).get("loads", {})
        for load, took in entry["loads"].items():
            loads.append([f"{model}: {load}", *_load(took), *_load(again.get(load, {}))])
    return f"{_table(rows)}\n{_table(loads)}"


def _load(took: Mapping[str, Any]) -> list[str]:
    if "not-tried" in took:
        return ["not tried", ""]
    return [_seconds(took.get("seconds")), _megabytes(took.get("peak-bytes"))]


def _table(rows: Sequence[Sequence[str]]) -> str:
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for head, *cells in rows:
        right = (cell.rjust(width) for cell, width in zip(cells, others, strict=True))
        lines.append("  ".join((head.ljust(first), *right)).rstrip())
    return "\n".join([*lines, ""])


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f} MB"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory-bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
