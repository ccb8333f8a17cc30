"""Child processes: an environment made for them, numbered JSON orders in, numbered JSON lines out.

Everything heavy or hazardous runs in a child, so that its memory is given back, its deadline can
be enforced and its environment is ours: libraries read theirs when they are imported. A child
dies with its parent.

An answer belongs to its order. Every order has a number that no other order of this process has,
and every line that answers it repeats the number. An exchange that does not come to its end,
whatever interrupts it (an error of ours, pytest-timeout's alarm, Ctrl-C), ends the child: what it
would still have said is never read. `Child.exchange` is the only way to ask.
"""

import contextlib
import ctypes
import itertools
import json
import logging
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from prep.errors import ChildCrashed, ChildKilled, PrepError, TimedOut, by_name
from prep.files.fields import Shape, either, is_count, is_number, is_text, maybe, record, shown
from prep.machine.disk import storage_error
from prep.machine.memory import Memory, memory

log = logging.getLogger(__name__)
Event = dict[str, Any]
Emit = Callable[[Event], None]

# What a child may see of our environment. Tokens, HF_* and TRANSFORMERS_* are not among it: what a
# child needs of those it is given by name.
KEPT = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV"),
        *("TMPDIR", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        "OMP_WAIT_POLICY",
        *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"),
    }
)
KEPT_FOR_NETWORK = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    }
)
END_SECONDS = 2
MINIMUM_RATE = 1024  # bytes per second; slower is no progress
PR_SET_PDEATHSIG = 1
PARENT = "MODEL_PREP_PARENT"  # who started a child, in its environment
LONGEST_ANSWER = 1 << 26  # bytes of a line; the answers of a whole model have some hundred thousand
REPORT = "Run again, and report this."
GREETING = 0  # the number of what a child says before it was given an order
_NUMBERS = itertools.count(GREETING + 1)

# How children find this package. Installed, they find it without: and all of site-packages would
# come before the standard library.
_FOLDER = Path(__file__).resolve().parents[2]
_INSTALLED = Path(sysconfig.get_path("purelib")).resolve() == _FOLDER
SOURCE = {} if _INSTALLED else {"PYTHONPATH": str(_FOLDER)}


def environment(private_home: Path, *, network: bool, **more: str) -> dict[str, str]:
    """A child's whole environment: a HOME of its own, no secrets, and `more`.

    openvino's telemetry asks a host on the internet at every import unless this file says no.
    """
    telemetry = private_home / "intel" / "openvino_telemetry"
    telemetry.parent.mkdir(parents=True, exist_ok=True)
    telemetry.write_text("0", encoding="ascii")
    kept = KEPT | KEPT_FOR_NETWORK if network else KEPT
    ours = {key: value for key, value in os.environ.items() if key in kept or key[:3] == "LC_"}
    return {
        # Threads that wait for work take turns with those that have some, where there are more of
        # them than cores: spinning made a load three times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        **ours,
        "HOME": str(private_home),
        **SOURCE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CI": "true",
        "NNCF_CI": "1",
        **more,
    }


class Watch:
    """Says when a child has made no progress for too long, or has run for too long altogether.

    `patience` and `deadline` are seconds, None for no bound. `total` is a count of bytes that only
    grows; fewer than `MINIMUM_RATE` a second over the whole of `patience` is no progress.
    """

    def __init__(self, patience: float | None, deadline: float | None = None) -> None:
        self.patience = patience
        self.deadline = deadline
        self._start = self._mark = time.monotonic()
        self._marked_bytes = 0

    def saw(self, total: int) -> None:
        """The child has moved `total` bytes so far."""
        moved = total - self._marked_bytes
        if moved >= MINIMUM_RATE * max(1.0, time.monotonic() - self._mark):
            self._mark, self._marked_bytes = time.monotonic(), total

    def step(self) -> None:
        """The child has finished something, however few bytes it was."""
        self._mark = time.monotonic()

    def check(self, doing: str) -> None:
        """Raise `TimedOut` where one of the bounds is passed."""
        now = time.monotonic()
        if self.patience is not None and now - self._mark > self.patience:
            raise TimedOut(no_progress(doing, self.patience))
        if self.deadline is not None and now - self._start > self.deadline:
            raise TimedOut(late(doing, self.deadline))


def no_progress(doing: str, patience: float) -> str:
    """The one sentence for a network that brings nothing, or next to nothing."""
    return (
        f"{doing}: no progress for {patience:g} s (a drip below {MINIMUM_RATE} bytes a second is "
        "none). What came so far is kept; run again, or give a longer --download-timeout."
    )


def late(doing: str, deadline: float) -> str:
    """The one sentence for what took too long altogether."""
    return (
        f"{doing}: not done within the {deadline:g} s of --download-deadline. What came so far is "
        "kept; run again to go on from there."
    )


def run(
    module: str,
    order: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    doing: str,
    on_event: Emit,
    watch: Watch,
) -> Event:
    """Run ``python -m module`` on one order and give its result; raises what rose in the child."""
    child = Child([sys.executable, "-m", module], env, Path(env["HOME"]) / f"{module}.log")
    try:
        with child.exchange(doing, order) as answer:
            while True:
                line = answer(0.5)
                if line is None or "event" in line:
                    watch.check(doing)  # always: who tells a lot is not done in time for that
                if line is not None and "event" in line:
                    watch.saw(line.get("total_done", 0))
                    on_event(line)
                elif line is not None:
                    break
        child.end()
        return unwrap(line)
    finally:
        child.stop()


def unwrap(line: Event) -> Event:
    """The result a child sent, or the error that it sent instead."""
    if "error" in line:
        raise as_error(line["error"])
    result = line.get("result")
    if not isinstance(result, dict):
        raise ChildCrashed(f"The process gave what is no result: {shown(result)}. {REPORT}")
    return result


_ERROR = {"class": is_text, "message": is_text}
_OF_THE_DISK = {"errno": maybe(is_count), "strerror": maybe(is_text), "path": maybe(is_text)}
_HOST = {"host": is_text, "role": is_text}
_EVENTS: Mapping[str, Mapping[str, Shape]] = {
    "bytes": {"total_done": is_count, "done": is_count, "of": is_count},
    "said": {"text": is_text},
    "step": {},
    "waiting": {"left": is_number, "of": is_number, "host": is_text, "status": is_count},
    **dict.fromkeys(("asking", "connected", "answered"), _HOST),
}


def is_answer(message: object) -> bool:
    """Whether it is of a form that children answer in; what a result is, its reader knows."""
    if not isinstance(message, dict):
        return False
    if "event" in message:
        kind = message["event"]
        known = _EVENTS.get(kind) if isinstance(kind, str) else None
        return known is not None and record({"order": is_count, "event": is_text, **known})(message)
    if "error" in message:
        return either(record(_ERROR), record(_ERROR | _OF_THE_DISK))(message["error"])
    forms = {"late": is_number, "died": lambda value: type(value) is int, "not-tried": is_text}
    return "result" in message or any(
        name in message and shape(message[name]) for name, shape in forms.items()
    )


class _OutputEnded(Exception):
    """The child reads or writes no more. Not `EOFError`, which an interruption may raise too."""


class Child:
    """One process with JSON lines on its stdin and stdout, in a process group of its own."""

    def __init__(self, command: list[str], env: Mapping[str, str], stderr: Path) -> None:
        self.stderr = stderr
        self.kills = memory().kills
        with stderr.open("ab") as log_file:
            self.process = subprocess.Popen(
                command,
                env={**env, PARENT: str(os.getpid())},
                cwd=env["HOME"],  # a folder here that is named ORG/NAME would be loaded by name
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,
            )
        self.idle = True  # no exchange is under way, and none was broken off
        self._buffer = bytearray()

    @contextlib.contextmanager
    def exchange(
        self, doing: str, order: Mapping[str, Any] | None = None
    ) -> Iterator[Callable[[float], Event | None]]:
        """Give one order, or none to hear the greeting; gives a function that reads answers to it.

        That function waits so many seconds for the next line, and gives None where none came. A
        child that died, or answered another order, raises here as an error of ours that names what
        it was `doing`. Whatever leaves the block before its end, of any class, ends the child.
        """
        number = GREETING if order is None else next(_NUMBERS)
        self.idle = False  # first of all: an alarm may come before this block is entered
        try:
            try:
                if order is not None:
                    self._send({**order, "order": number})
                yield lambda timeout: self._answer(number, doing, timeout)
            except _OutputEnded:
                raise self._ended(doing) from None
        except BaseException:  # of any class: the child may be in the middle of a line
            self.stop()
            raise
        self.idle = True

    def _send(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise _OutputEnded from None

    def _answer(self, number: int, doing: str, timeout: float) -> Event | None:
        """The next line, which must answer the order `number`; None where none came in time."""
        if (line := self._line(doing, timeout)) is None:
            return None
        try:
            message = json.loads(line)  # not strictly: a broken model's vectors hold NaN
        except (ValueError, RecursionError):
            message = None
        told = message.get("order") if isinstance(message, dict) else None
        if type(told) is int and told != number:
            raise ChildCrashed(
                f"{doing}: the process answered order {shown(told)}, asked was order {number}. "
                f"It was ended and its answer was not used. {REPORT}"
            )
        if type(told) is not int or not is_answer(message):
            raise ChildCrashed(
                f"{doing}: the process wrote what is no answer: {shown(bytes(line[:200]))}. "
                f"It was ended. {REPORT}"
            )
        answer: Event = message
        return answer

    def _line(self, doing: str, timeout: float) -> bytes | None:
        """The next line, None when none came within `timeout` seconds."""
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        ends = time.monotonic() + timeout
        seen = 0  # so much has no end of a line in it
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > LONGEST_ANSWER:
                raise ChildCrashed(
                    f"{doing}: the process wrote a line of more than {LONGEST_ANSWER} bytes. It "
                    f"was ended. {REPORT}"
                )
            if not select.select([handle], [], [], max(0.0, ends - time.monotonic()))[0]:
                return None
            data = os.read(handle, 1 << 16)
            if not data:
                raise _OutputEnded
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _ended(self, doing: str) -> PrepError:
        """How it ended, as an error; called after its output ended."""
        code = self.process.wait()
        tail = self.stderr.read_text(encoding="utf-8", errors="replace").strip()
        return crash_error(doing, code, self.kills, tail)

    def end(self) -> None:
        """Let it end by itself for a moment, as it does when nothing more is asked of it."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=END_SECONDS)

    def stop(self) -> None:
        """End it and all that it started, now."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # an order that was half written
                    stream.close()


def crash_error(doing: str, code: int, before: int, tail: str = "") -> PrepError:
    """The error for a child that ended with `code` (negative: a signal) without a result.

    `before` is as in `killed`.
    """
    last = f" It said last:\n{tail[-1500:]}" if tail else ""
    if code == -signal.SIGKILL:
        return ChildKilled(f"{doing}: {killed(memory(), before)}{last}")
    try:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:  # not every number has a name
        how = f"signal {-code}"
    return ChildCrashed(f"{doing}: the process ended early with {how}.{last}")


def killed(now: Memory, before: int) -> str:
    """Why a process was killed (SIGKILL), as far as the kernel tells, and what to raise.

    `before` is how many it had killed for want of memory when the process was started.
    """
    peak = f"; at most {now.peak} were used" if now.peak is not None else ""
    told = f"{now.bound} allows {now.limit} bytes{peak}, and {now.free} are free"
    if now.kills > before:
        return (
            f"the kernel killed the process (SIGKILL), because memory ran out: {told}. What is "
            "finished is kept. Raise that limit, or prepare fewer models at once, and run again."
        )
    return (
        f"the process was killed (SIGKILL), most often because memory ran out: {told}. What is "
        "finished is kept. Raise the memory limit, or prepare fewer models at once, and run again."
    )


def serve_one(work: Callable[[Event, Emit], Event]) -> NoReturn:
    """A child's whole main: read one order, do it, send the result or the error, end.

    The protocol keeps stdout for itself; whatever libraries print goes to stderr.
    """
    die_with_parent()
    os.umask(0o022)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    number, whole = order.pop("order"), threading.Lock()

    def emit(message: Event) -> None:
        with whole:  # threads tell what they do, and no line may stand in another
            out.write(json.dumps({"order": number, **message}).encode() + b"\n")
            out.flush()

    emit(outcome(lambda: work(order, emit)))
    raise SystemExit(0)


def outcome(work: Callable[[], Event]) -> Event:
    """The result of `work` as a message, or the error that rose in it."""
    try:
        return {"result": work()}
    except Exception as error:
        # Whatever a library raises ends here, once: the parent reports it, the log keeps the rest.
        return {"error": outcome_of(error)}


def outcome_of(error: Exception) -> Event:
    """An error as a message, which `as_error` reads."""
    if not isinstance(error, PrepError):
        log.error("unexpected in a child", exc_info=error)
    told: Event = {"class": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else None
        told |= {"errno": error.errno, "strerror": error.strerror, "path": path}
    return told


def as_error(told: Mapping[str, Any]) -> PrepError:
    """The error that a child told of, as one of ours: its own class where it is of our tree."""
    try:
        return by_name(told["class"])(told["message"])
    except LookupError:
        pass
    if told.get("errno") is not None:
        known = storage_error(OSError(told["errno"], told["strerror"], told["path"]))
        if known is not None:
            return known
    return ChildCrashed(f"{told['class']}: {told['message']}")


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone.

    The kernel tells nothing of a parent that died before it was asked, while this one imported.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)
