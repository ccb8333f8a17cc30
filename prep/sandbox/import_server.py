"""Loads by consumers in processes without network: this side starts the server and sends jobs."""

import contextlib
import os
import sys
import tempfile
import time
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
MAIN = """import os
import sys

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


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One order to a server, and its answer once it has come. `memory` is what it needs, in bytes.

    `child` is the process that has it: an order that ended with its process is given again.
    """

    order: dict[str, Any]
    doing: str
    memory: int = 0
    child: Child | None = None
    number: int = 0
    given: float = 0.0
    answer: Event | None = None


class ImportServer:
    """One process without network that has torch, transformers and openvino imported.

    `start` returns at once, so that importing goes on beside a download; `ready` waits for it. With
    an `interpreter` it runs in a service's environment, with the libraries that are there. Jobs run
    side by side, each in a forked child: `submit` starts one, `result` waits for it. A wait that is
    interrupted ends the process with all its jobs; those that are still wanted run again in a fresh
    one. `meanwhile` is called while there is something to wait for, and may submit more jobs.
    """

    def __init__(
        self,
        scratch: Path,
        interpreter: Interpreter | None = None,
        first_on_path: Path | None = None,
    ) -> None:
        self._scratch = scratch
        self._interpreter = interpreter
        self._first_on_path = first_on_path
        self._child: Child | None = None
        self._greeting: Event | None = None
        self._start_error: PrepError | None = None  # kept: trying again would take as long
        self._open: dict[int, Job] = {}
        self.meanwhile: Callable[[], None] = lambda: None

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
        if self._first_on_path is not None:
            paths = (str(self._first_on_path), env.get("PYTHONPATH", ""))
            env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
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

    @property
    def running(self) -> tuple[Job, ...]:
        """The jobs that are not answered yet; none of those whose process is gone."""
        return tuple(self._open.values()) if self.is_ready else ()

    @property
    def is_ready(self) -> bool:
        """Whether a job could start now, without waiting for imports."""
        return self._child is not None and self._child.idle and self._greeting is not None

    def run(self, call: str, args: Mapping[str, Any], *, doing: str, **how: Any) -> JobResult:
        """Run one job and wait for it; the arguments are those of `submit`."""
        return self.result(self.submit(call, args, doing=doing, **how))

    def run_alone(self, call: str, args: Mapping[str, Any], *, doing: str, **how: Any) -> JobResult:
        """The same, with no other job beside it: for what takes all memory and all cores."""
        self.finish()
        return self.result(self.submit(call, args, doing=doing, **how), lambda: None)

    def finish(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait for what runs, or until that is `enough`; how each ended, its own wait says."""
        while (running := self.running) and not enough():
            with contextlib.suppress(PrepError):
                self._wait(running[0], lambda: None)

    def submit(
        self,
        call: str,
        args: Mapping[str, Any],
        *,
        doing: str,
        home: Path | None = None,
        case: Case | None = None,
        may_write: Sequence[Path] = (),
        threads: int | None = None,
        memory: int = 0,
        timeout: float = JOB_SECONDS,
    ) -> Job:
        """Start ``module:function`` on `args` in a forked child, which computes in so many threads.

        With a `case`, the child sees `home` as the case says: as its HF_HOME or elsewhere, as which
        user, on which mount. `timeout` is in seconds, `memory` in bytes.
        """
        sandbox = None
        if home is not None and case is not None:
            place = case.cache if case.cache == "HF_HOME" else "path"
            sandbox = {"home": str(home), "as": place, "user": case.user, "mount": case.mount}
        order = {
            "call": call,
            "args": dict(args),
            "sandbox": sandbox,
            "may_write": [str(path) for path in may_write],
            "threads": threads,
            "timeout": timeout,
        }
        job = Job(order=order, doing=doing, memory=memory)
        self._give(job)
        return job

    def result(self, job: Job, meanwhile: Callable[[], None] | None = None) -> JobResult:
        """Wait for a job; raises what was raised in it.

        Raises `NotTried` where this machine does not allow its case.
        """
        event = self._wait(job, meanwhile or self.meanwhile)
        if "result" not in event:
            assert job.child is not None
            raise _failure(job.doing, event, job.child.kills)
        return JobResult(
            number=event["order"],
            value=event["result"],
            seconds=event["seconds"],
            peak=event["peak"],
            network=tuple(event["network"]),
            writes=tuple(event["writes"]),
        )

    def _give(self, job: Job) -> None:
        self.ready()
        assert self._child is not None
        with self._child.undisturbed(job.doing):
            job.number, job.child = self._child.give(job.order), self._child
        job.given = time.monotonic()
        self._open[job.number] = job

    def _wait(self, job: Job, meanwhile: Callable[[], None]) -> Event:
        """Read answers, whosever they are, until this job's is there."""
        while job.answer is None:
            if not self.is_ready or job.child is not self._child:
                self._give(job)
            timeout = job.order["timeout"] + 10
            child = self._child
            assert child is not None
            try:
                meanwhile()
            except BaseException:  # as a wait that is interrupted
                child.stop()
                raise
            with child.undisturbed(job.doing):
                # At least a moment: what came in time may still be on its way through the pipe.
                event = child.answer(job.doing, max(1.0, job.given + timeout - time.monotonic()))
                if event is None:
                    raise _timed_out(job.doing, timeout)
            answered = self._open.pop(event["order"])
            answered.answer = event
        return job.answer

    def stop(self) -> None:
        """End the server and whatever it runs; it can be started again."""
        if self._child is not None:
            if self._greeting is not None and self._child.idle:
                self._child.end()  # it reads the end of its orders only between jobs
            self._child.stop()
        self._child, self._greeting, self._start_error = None, None, None
        self._open.clear()

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
