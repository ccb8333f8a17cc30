"""Loads by consumers in processes without network: this side starts the server and sends jobs."""

import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.errors import NotTried, PrepError, TimedOut, TransientError, UnsuitableInterpreter
from prep.process.child import Child, Event, as_error, crash_error, environment, unwrap
from prep.tasks.consumers import Case, Interpreter

START_SECONDS = 180
JOB_SECONDS = 900
PROBE = Path(__file__).with_name("probe")
MAIN = """import sys

from prep.sandbox.probe.serve import serve

serve(*map(int, sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job in a forked child returned: `value`, and what its guard recorded.

    `seconds` and `peak` (bytes of memory, with the imported libraries) are the child's own.
    `number` is that of the exchange, unique in a process.
    """

    number: int
    value: dict[str, Any]
    seconds: float
    peak: int
    network: tuple[dict[str, str], ...]
    writes: tuple[str, ...]


class ImportServer:
    """One process without network that has torch, transformers and openvino imported.

    `start` returns at once, so that importing goes on beside a download; `ready` waits for it. With
    an `interpreter` it runs in a service's environment, with the libraries that are there. A job
    that is interrupted ends the process, and the next job starts a fresh one.
    """

    def __init__(self, scratch: Path, interpreter: Interpreter | None = None) -> None:
        self._scratch = scratch
        self._interpreter = interpreter
        self._child: Child | None = None
        self._greeting: Event | None = None
        self._start_error: PrepError | None = None  # kept: trying again would take as long

    def start(self) -> None:
        """Start importing; does nothing where that was done before."""
        if self._child is not None:
            return
        private = Path(tempfile.mkdtemp(prefix="offline-", dir=self._scratch))
        for folder in (self._scratch, private):
            folder.chmod(0o711)  # loads as another user need it
        for name in ("hf-home", "home", "tmp"):
            (private / name).mkdir()
        (private / "tmp").chmod(0o711)
        env = environment(
            private,
            network=False,
            HF_HOME=str(private / "hf-home"),
            HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1",
            TMPDIR=str(private / "tmp"),
        )
        command = [sys.executable, "-m", "prep.sandbox.launch"]
        if self._interpreter is not None:
            command += [str(self._interpreter.python), str(pack(private / "probe.pyz"))]
        self._child = Child(command, env, private / "server.log")

    def ready(self, report: Callable[[str], None] = lambda text: None) -> Event:
        """What the server imported and how its network is cut; waits until it is started.

        Where it cannot be started, that is raised every time, without another try.
        """
        if self._start_error is not None:
            raise self._start_error.with_traceback(None)
        if self._child is not None and not self._child.idle:
            self.stop()  # an exchange was broken off: what comes next would be its answer
        if self._greeting is None or self._child is None:
            self._greeting = self._wait_for_greeting(report)
        return self._greeting

    def run(
        self,
        call: str,
        args: Mapping[str, Any],
        *,
        doing: str,
        home: Path | None = None,
        case: Case | None = None,
        may_write: Sequence[Path] = (),
        timeout: float = JOB_SECONDS,
    ) -> JobResult:
        """Run ``module:function`` on `args` in a forked child; raises what was raised there.

        With a `case`, the child sees `home` as the case says: as its HF_HOME or elsewhere, as which
        user, on which mount. Raises `NotTried` where this machine does not allow it.
        """
        self.ready()
        assert self._child is not None
        sandbox = None
        if home is not None and case is not None:
            place = case.cache if case.cache == "HF_HOME" else "path"
            sandbox = {"home": str(home), "as": place, "user": case.user, "mount": case.mount}
        order = {
            "call": call,
            "args": dict(args),
            "sandbox": sandbox,
            "may_write": [str(path) for path in may_write],
            "timeout": timeout,
        }
        with self._child.exchange(doing, order) as answer:
            event = _in_time(answer, doing, timeout + 10)
        if "result" not in event:
            raise _failure(doing, event, self._child.kills)
        return JobResult(
            number=event["order"],
            value=event["result"],
            seconds=event["seconds"],
            peak=event["peak"],
            network=tuple(event["network"]),
            writes=tuple(event["writes"]),
        )

    def stop(self) -> None:
        """End the server and whatever it runs; it can be started again."""
        if self._child is not None:
            if self._greeting is not None and self._child.idle:
                self._child.end()  # it reads the end of its orders only between jobs
            self._child.stop()
        self._child, self._greeting, self._start_error = None, None, None

    def forget_failure(self) -> None:
        """Where it could not be started, try again with the next job."""
        if self._start_error is not None:
            self.stop()

    def _wait_for_greeting(self, report: Callable[[str], None]) -> Event:
        """Start it where that was not done, and wait for both lines of its greeting."""
        self.start()
        assert self._child is not None
        where = f" of {self._interpreter.label}" if self._interpreter else ""
        report(f"importing the libraries{where} in a process without network")
        doing = f"starting the import server{where}"
        try:
            with self._child.exchange(doing) as answer:
                cut = unwrap(_in_time(answer, doing, START_SECONDS))
                libraries = unwrap(_in_time(answer, doing, START_SECONDS))
        except PrepError as error:
            self._start_error = error
            if self._interpreter is not None and not isinstance(error, TransientError):
                self._start_error = UnsuitableInterpreter(
                    f"{self._interpreter.python} cannot run the probe: {error}\nGive the Python "
                    "3.9 or newer of an environment that has the consumer's libraries."
                )
            raise self._start_error from None
        return {**cut, **libraries}


def _in_time(answer: Callable[[float], Event | None], doing: str, timeout: float) -> Event:
    """The next event of an exchange, awaited for `timeout` seconds."""
    if (event := answer(timeout)) is None:
        raise _timed_out(doing, timeout)
    return event


def _timed_out(doing: str, timeout: float) -> TimedOut:
    return TimedOut(
        f"{doing}: not done within {timeout:g} s, so it was stopped. On a busy machine, run again "
        "with fewer models at once."
    )


def pack(to: Path) -> Path:
    """The probe as one file that any Python 3.9 or newer can run, without the rest of `prep`.

    It keeps its dotted name, below packages that are empty in that file.
    """
    with zipfile.ZipFile(to, "w") as archive:
        for package in ("prep", "prep/sandbox"):
            archive.writestr(f"{package}/__init__.py", "")
        for path in sorted(PROBE.glob("*.py")):
            archive.write(path, f"prep/sandbox/probe/{path.name}")
        archive.writestr("__main__.py", MAIN)
    to.chmod(0o644)
    return to


def _failure(doing: str, event: Event, kills: int) -> PrepError:
    """Why a job has no result, with the network access that it attempted."""
    if "not-tried" in event:
        return NotTried(event["not-tried"])
    if "late" in event:
        return _timed_out(doing, event["late"])
    if "died" in event:
        return crash_error(doing, event["died"], kills)
    attempts = "".join(
        f"\n  it reached for {access['host']}, asked for by {access['caller']}"
        for access in event.get("network", ())
    )
    error = as_error(event["error"])
    return type(error)(f"{doing} failed: {error}{attempts}")
