"""Child processes: an environment made for them, numbered JSON orders in, numbered JSON lines out.

Everything heavy or unsafe runs in a child, so that its memory is freed, its deadline can be
enforced and its environment is ours: libraries read theirs when they are imported. A child is
killed with its parent.

An answer belongs to its order. Every order has a number that no other order of this process has,
and every line that answers it repeats the number, so that several orders may be open at once. An
exchange that is interrupted, by whatever (an error of ours, pytest-timeout's alarm, Ctrl-C), kills
the child: its later answers are never read.
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
from prep.process.cancelled import check_cancelled

log = logging.getLogger(__name__)
Event = dict[str, Any]
Emit = Callable[[Event], None]

# What a child may see of our environment. Not tokens, HF_* and TRANSFORMERS_*: those that it needs
# are given by name.
PASSED_ENV = (
    *("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "TMPDIR"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY"),
    *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"),
)
PASSED_ENV_NETWORK = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
END_SECONDS = 2
MINIMUM_RATE = 1024  # bytes per second; slower is no progress
PR_SET_PDEATHSIG = 1
PARENT = "MODEL_PREP_PARENT"  # who started a child, in its environment
LINE_MAX = 1 << 26  # bytes; the answers of a whole model have some hundred thousand
REPORT = "Run again, and report this."
GREETING = 0  # the number of what a child writes before it was given an order
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
    names = PASSED_ENV + PASSED_ENV_NETWORK if network else PASSED_ENV
    passed = {key: value for key, value in os.environ.items() if key in names or key[:3] == "LC_"}
    return {
        # Where there are more threads than cores, those that wait for work must not spin: that made
        # a load three times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        **passed,
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
    """Raises when a child has made no progress for too long, or has run for too long altogether.

    `timeout` and `deadline` are seconds, None for no limit. Fewer than `MINIMUM_RATE` bytes a
    second over the whole of `timeout` is no progress.
    """

    def __init__(self, timeout: float | None, deadline: float | None = None) -> None:
        self.timeout = timeout
        self.deadline = deadline
        self._start = self._mark = time.monotonic()
        self._marked_bytes = 0

    def saw(self, total: int) -> None:
        """The child has moved `total` bytes so far, a count that only grows."""
        moved = total - self._marked_bytes
        if moved >= MINIMUM_RATE * max(1.0, time.monotonic() - self._mark):
            self._mark, self._marked_bytes = time.monotonic(), total

    def step(self) -> None:
        """The child has finished something, however few bytes it was."""
        self._mark = time.monotonic()

    def check(self, doing: str) -> None:
        """Raise `TimedOut` where a limit is exceeded."""
        now = time.monotonic()
        if self.timeout is not None and now - self._mark > self.timeout:
            raise TimedOut(no_progress(doing, self.timeout))
        if self.deadline is not None and now - self._start > self.deadline:
            raise TimedOut(past_deadline(doing, self.deadline))


def no_progress(doing: str, timeout: float) -> str:
    """The message for a network that gives nothing, or next to nothing."""
    return (
        f"{doing}: no progress for {timeout:g} s (less than {MINIMUM_RATE} bytes a second counts "
        "as none). Received bytes are kept; run again, or give a longer --download-timeout."
    )


def past_deadline(doing: str, deadline: float) -> str:
    """The message for what took too long altogether."""
    return (
        f"{doing}: not done within the {deadline:g} s of --download-deadline. Received bytes are "
        "kept; run again to resume."
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
    """Run ``python -m module`` on one order; gives its result, or raises the child's error."""
    child = Child([sys.executable, "-m", module], env, Path(env["HOME"]) / f"{module}.log")
    try:
        with child.exchange(doing, order) as answer:
            while True:
                line = answer(0.5)
                check_cancelled(doing)
                if line is None or "event" in line:
                    watch.check(doing)  # always: many events do not extend the deadline
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
        raise ChildCrashed(f"invalid result: {shown(result)}. {REPORT}")
    return result


_ERROR = {"class": is_text, "message": is_text}
_OF_THE_DISK = {"errno": maybe(is_count), "strerror": maybe(is_text), "path": maybe(is_text)}
_HOST = {"host": is_text, "role": is_text}
_EVENTS: Mapping[str, Mapping[str, Shape]] = {
    "bytes": {"total_done": is_count, "done": is_count, "of": is_count},
    "line": {"text": is_text},
    "step": {},
    "described": {"name": is_text, "model": lambda value: isinstance(value, dict)},
    "waiting": {"left": is_number, "of": is_number, "host": is_text, "status": is_count},
    **dict.fromkeys(("asking", "connected", "answered"), _HOST),
}


def is_answer(message: object) -> bool:
    """Whether it has a form that children answer in; the result itself is its reader's to check."""
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
    """The child closed its pipes. Not `EOFError`, which an interruption may raise too."""


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
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)  # see _send
        self.idle = True  # no exchange is under way, and none was broken off
        self._open: set[int] = set()  # numbers of orders that are not answered yet
        self._buffer = bytearray()

    @contextlib.contextmanager
    def exchange(
        self, doing: str, order: Mapping[str, Any] | None = None
    ) -> Iterator[Callable[[float], Event | None]]:
        """Give one order, or none to read the greeting; gives a function that reads the answers.

        That function waits so many seconds for the next line, and gives None where none came. A
        child that crashed, or answered another order, raises here an error of ours that names what
        it was `doing`. Any exception that leaves the block kills the child.
        """
        with self.undisturbed(doing):
            number = GREETING
            if order is None:
                self._open.add(number)
            else:
                number = self.give(order)

            def answer(timeout: float) -> Event | None:
                event = self.answer(doing, timeout)
                if event is not None and event["order"] != number:
                    raise self._of_another_order(doing, event["order"], f"order {number}")
                return event

            yield answer
            self._open.discard(number)

    @contextlib.contextmanager
    def undisturbed(self, doing: str) -> Iterator[None]:
        """Orders are given and answers read inside; an exception that leaves it kills the child."""
        self.idle = False  # first of all: an alarm may come before this block is entered
        try:
            try:
                yield
            except _OutputEnded:
                code = self.process.wait()
                tail = self.stderr.read_text(encoding="utf-8", errors="replace").strip()
                raise crash_error(doing, code, self.kills, tail) from None
        except BaseException:  # of any class: the child may be in the middle of a line
            self.stop()
            raise
        self.idle = True

    def give(self, order: Mapping[str, Any]) -> int:
        """Give an order; gives its number, which its answers repeat."""
        number = next(_NUMBERS)
        self._open.add(number)
        self._send({**order, "order": number})
        return number

    def answer(self, doing: str, timeout: float) -> Event | None:
        """The next line, which must answer an open order; None where none came in time.

        An order is open until its result, error or end comes: events leave it open.
        """
        if (line := self._line(doing, timeout)) is None:
            return None
        try:
            message = json.loads(line)  # not strictly: a broken model's vectors hold NaN
        except (ValueError, RecursionError):
            message = None
        number = message.get("order") if isinstance(message, dict) else None
        if type(number) is int and number not in self._open:
            wanted = " or ".join(f"order {known}" for known in sorted(self._open))
            raise self._of_another_order(doing, number, wanted or "nothing")
        if type(number) is not int or not is_answer(message):
            raise ChildCrashed(
                f"{doing}: the process wrote an invalid answer: {shown(bytes(line[:200]))}. "
                f"It was stopped. {REPORT}"
            )
        if number != GREETING and "event" not in message:
            self._open.discard(number)
        answer: Event = message
        return answer

    @staticmethod
    def _of_another_order(doing: str, number: int, wanted: str) -> ChildCrashed:
        return ChildCrashed(
            f"{doing}: the process answered order {shown(number)}, expected {wanted}. "
            f"It was stopped and its answer was not used. {REPORT}"
        )

    def _send(self, message: Mapping[str, Any]) -> None:
        """Write one line, and read what comes meanwhile.

        A child that writes a long answer reads no order before that is read: both would wait.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        to, source = self.process.stdin.fileno(), self.process.stdout.fileno()
        left = memoryview(json.dumps(message).encode() + b"\n")
        while left:
            readable, writable, _ = select.select([source], [to], [])
            if readable:
                self._read(source)
            if writable:
                try:
                    left = left[os.write(to, left) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    raise _OutputEnded from None

    def _read(self, handle: int) -> None:
        data = os.read(handle, 1 << 16)
        if not data:
            raise _OutputEnded
        self._buffer += data

    def _line(self, doing: str, timeout: float) -> bytes | None:
        """The next line, None when none came within `timeout` seconds."""
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        until = time.monotonic() + timeout
        seen = 0  # so many bytes hold no end of a line
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > LINE_MAX:
                raise ChildCrashed(
                    f"{doing}: the process wrote a line of more than {LINE_MAX} bytes. It was "
                    f"stopped. {REPORT}"
                )
            if not select.select([handle], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            self._read(handle)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def end(self) -> None:
        """Let it end by itself, as it does when its input ends."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=END_SECONDS)

    def stop(self) -> None:
        """Kill it and its process group."""
        self.idle = False
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
    last = f" Last output:\n{tail[-1500:]}" if tail else ""
    if code == -signal.SIGKILL:
        return ChildKilled(f"{doing}: {killed(memory(), before)}{last}")
    try:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:  # not every number has a name
        how = f"signal {-code}"
    return ChildCrashed(f"{doing}: the process ended with {how}.{last}")


def killed(now: Memory, before: int) -> str:
    """Why a process was killed (SIGKILL), as far as the kernel says, and what to raise.

    `before` is how many it had killed for want of memory when the process was started.
    """
    peak = f"; at most {now.peak} were used" if now.peak is not None else ""
    cause = "out of memory" if now.kills > before else "by SIGKILL, most often out of memory"
    return (
        f"{cause}: {now.bound} allows {now.limit} bytes{peak}, and {now.free} are free. What is "
        "finished is kept. Raise the memory limit, or prepare fewer models at once, and run again."
    )


def serve_one(work: Callable[[Event, Emit], Event]) -> NoReturn:
    """A child's whole main: read one order, do it, send the result or the error, end.

    stdout is the protocol's alone; whatever libraries print goes to stderr.
    """
    die_with_parent()
    os.umask(0o022)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    number, lock = order.pop("order"), threading.Lock()

    def emit(message: Event) -> None:
        with lock:  # threads send events, and lines must not mix
            out.write(json.dumps({"order": number, **message}).encode() + b"\n")
            out.flush()

    try:
        message = {"result": work(order, emit)}
    except Exception as error:  # whatever a library raises: the parent reports it
        message = {"error": outcome_of(error)}
    emit(message)
    raise SystemExit(0)


def outcome_of(error: Exception) -> Event:
    """An error as a message, which `as_error` reads; the log has the traceback."""
    if not isinstance(error, PrepError):
        log.error("unexpected in a child", exc_info=error)
    message: Event = {"class": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else None
        message |= {"errno": error.errno, "strerror": error.strerror, "path": path}
    return message


def as_error(message: Mapping[str, Any]) -> PrepError:
    """The error of such a message, as ours: of its own class where it is in our tree."""
    try:
        return by_name(message["class"])(message["message"])
    except LookupError:
        pass
    if message.get("errno") is not None:
        known = storage_error(OSError(message["errno"], message["strerror"], message["path"]))
        if known is not None:
            return known
    return ChildCrashed(f"{message['class']}: {message['message']}")


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent is gone.

    The kernel sends nothing for a parent that ended before the call, while this process imported.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)
