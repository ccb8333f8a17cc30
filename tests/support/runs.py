"""Runs of the suite as a user starts it: a pytest process, against a hub of the test's."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.support.paths import ROOT

SAMPLE = ROOT / "sample_hub" / "models.toml"
TINY = "tiny-embedding"
TINY_REPO = "model-prep-samples/tiny-embedding"
CHECKS = 263  # how many tests the suite has for it

# What would steer a run from outside; a test gives what it means to give.
STEERING = (
    *("HF_", "HUGGING", "TRANSFORMERS_", "MODELS_TO_DOWNLOAD", "DOWNLOAD_", "PYTEST_"),
    "JOB_COMPLETION_INDEX",
)
# pytest shortens what it prints, unless one of these says that nobody watches.
UNWATCHED = ("CI", "BUILD_NUMBER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its exit code, all it printed, and how long it took in seconds."""

    code: int
    out: str
    seconds: float

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
    began = time.monotonic()
    done = subprocess.run(
        [*prefix, *command(*args)],
        cwd=cwd,
        env=environment(**(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(code=done.returncode, out=done.stdout, seconds=time.monotonic() - began)


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
    home: Path,
    *args: str | Path,
    hub: str = "http://127.0.0.1:9",
    models: str | None = TINY,
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
