"""A second run on a prepared home against one bare script that asks the same of the libraries.

    make bench

The suite is a user's command: ``pytest`` with the sample catalogue on a home that holds all three
models, online, with every check. The bare script is one process that imports the same libraries,
digests the same bytes, makes the same loads by the same calls (every case of the consumers' table
once, as a plain load by the owner), asks each the same questions, and measures each conversion
against its original. It has no checks, no report, no pytest, no child processes, no mounts, no
other user and no cut network: what the suite takes more is the price of a verdict.

Both have the same environment. They run in turn; the medians are printed, in seconds of the
clock and of the processors. Other work on the machine makes the clock worthless.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.entries import ModelSpec
from prep.catalogue.goldens import read_goldens
from prep.catalogue.lock import LockedModel
from prep.files.checksum import digest_files
from prep.home.layout import Home
from prep.home.receipt import read_receipt
from prep.process.child import environment
from prep.settings import SUITE, GivenOptions, Settings, resolve_settings
from prep.tasks.consumers import Case
from prep.tasks.question_sets import Ask, joined
from prep.tasks.registry import TASKS
from sample_hub.server import Hub, sample_repos

TARGET = 1.25
CATALOGUE = SUITE / "sample_hub" / "models.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds by the clock, and of all processors together."""

    clock: float
    processors: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; 1 where the suite takes more than `TARGET` times as long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--home", type=Path, help="prepare here, or use what is there")
    parser.add_argument("--bare", type=Path, metavar="HOME", help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.bare is not None:
        bare(Home(wanted.bare))
        return 0
    with tempfile.TemporaryDirectory(prefix="warm-") as scratch:
        home = wanted.home or Path(scratch) / "home"
        with Hub(sample_repos()) as hub:
            _run(_suite(home, hub.url), _environment(Path(scratch), home))
        return _compare(home, Path(scratch), wanted.times)


def _compare(home: Path, scratch: Path, times: int) -> int:
    commands = {
        "suite": _suite(home, "http://127.0.0.1:9"),  # a complete home asks nobody
        "bare script": [sys.executable, "-m", "benchmarks.warm", "--bare", str(home)],
    }
    took: dict[str, list[Took]] = {name: [] for name in commands}
    for number in range(times):
        for name, command in commands.items():
            run = _run(command, _environment(scratch, home))
            took[name].append(run)
            _print(
                f"{number + 1}  {name:<12}{run.clock:8.1f} s{run.processors:8.1f} s of processors"
            )
    medians = {
        name: Took(
            clock=statistics.median(run.clock for run in runs),
            processors=statistics.median(run.processors for run in runs),
        )
        for name, runs in took.items()
    }
    suite, script = medians["suite"], medians["bare script"]
    for name, median in medians.items():
        _print(f"median  {name:<12}{median.clock:8.1f} s{median.processors:8.1f} s of processors")
    ratio = suite.clock / script.clock
    _print(
        f"ratio   {ratio:.2f} by the clock, {suite.processors / script.processors:.2f} of "
        f"processors; wanted at most {TARGET} by the clock"
    )
    return int(ratio > TARGET)


def _suite(home: Path, hub: str) -> list[str]:
    options = ["--catalogue", str(CATALOGUE), "--hub", hub, "--model-home", str(home)]
    return [sys.executable, "-m", "pytest", "-q", "-c", str(SUITE / "pytest.ini"), *options]


def _environment(scratch: Path, home: Path) -> dict[str, str]:
    """The children's of the suite, for both; the suite makes it anew for its own.

    Compiled modules are kept, as where a user runs either.
    """
    more = {"HF_HOME": str(home), "PYTHONPATH": str(SUITE)}
    env = environment(scratch / "private", network=False, **more)
    del env["PYTHONDONTWRITEBYTECODE"]
    return env


def _run(command: list[str], env: dict[str, str]) -> Took:
    """Run to its end, which must be a good one; children of children are counted with it."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=SUITE, env=env, stdout=log, stderr=log)
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            log.seek(0)
            raise SystemExit(
                f"{' '.join(command)} ended with {process.returncode}:\n"
                f"{log.read().decode(errors='replace')[-4000:]}"
            )
    return Took(clock=time.monotonic() - began, processors=used.ru_utime + used.ru_stime)


def bare(home: Home) -> None:
    """All that the suite asks of the libraries, in this process and with nothing around it."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    from prep.sandbox.probe.consumers import import_libraries

    import_libraries()
    settings = resolve_settings(
        GivenOptions(catalogue=CATALOGUE, model_home=home.root, offline=True), {}, SUITE
    )
    loads = 0
    for spec in settings.models:
        locked = settings.lock.get(spec.name)
        assert locked is not None
        loads += _bare_model(settings, spec, locked)
    _print(f"{loads} loads of {len(settings.models)} models")


def _bare_model(settings: Settings, spec: ModelSpec, locked: LockedModel) -> int:
    """Digest, measure and load one model; gives how many loads that were."""
    from prep.convert import content
    from prep.sandbox.probe import consumers as probe

    home, questions = settings.home, TASKS[spec.task].questions()
    snapshot = home.snapshot(locked.repo, locked.commit)
    digest_files(snapshot / file.path for file in locked.files)
    for precision in spec.precisions:
        folder = home.stable(locked.repo, precision)
        digest_files(folder / file.path for file in read_receipt(folder).files)
        content.measure(
            {
                "task": spec.task,
                "source": str(snapshot),
                "folder": str(folder),
                "ask": questions.plain(),
            }
        )
    goldens = read_goldens(settings.goldens, spec.name, spec.repo, spec.task)
    asks: list[Ask] = [questions.all(), *([goldens.ask()] if goldens else [])]
    loads = TASKS[spec.task].loads_of(spec.repo, spec.consumers, spec.precisions)
    for load in loads:
        path = home.stable(locked.repo, load.precision) if load.precision else snapshot
        probe.load(
            {
                "task": spec.task,
                "consumer": load.consumer.name,
                "ask": joined(*asks),
                "way": _way(load.case, home, locked, path),
                "shown": str(home.root),
            }
        )
    return len(loads)


def _way(case: Case, home: Home, locked: LockedModel, path: Path) -> dict[str, object]:
    return {
        "target": locked.repo,
        "revision": locked.commit if case.way == "commit" else None,
        "below": str(path.relative_to(home.root)) if case.way == "path" else None,
        "cache_dir": "hub" if case.cache == "cache_dir" else None,
        "home": str(home.root),
    }


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
