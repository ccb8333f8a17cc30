"""SIGTERM and SIGINT end the run alike: children first, reports written, exit 143 or 2.

An exception out of a signal's handler rises between any two instructions of the main thread. That
is wanted while fixtures and tests run, since it leaves whatever they wait for. It is wrong in
pytest's own steps around them: out of `pytest_sessionfinish` it would end Python with a traceback,
no exit code, no junit and no clean-up. So it is raised only in the hooks that are open to it; what
comes earlier is raised when the first of them begins, and what comes later finds all tests done.

Even there it can be lost (in a destructor, where Python prints and ignores it), or leave a lock
taken for which an ending thread then waits. So a thread raises it again while it had no effect, and
ends a run that hangs with the promised exit code, after writing where all threads stand.
"""

import _thread
import atexit
import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import pytest

from prep.errors import Exit

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN_SECONDS = 2.0  # after which an exception that had no effect is raised again
END_SECONDS = 8.0  # after which a run that has not ended is ended by force
EXIT_SECONDS = 5.0  # that Python may take from the end of the run to that of the process


def install(config: pytest.Config) -> None:
    """Handle SIGTERM and SIGINT; a worker leaves them to its controller, and dies with it.

    PID 1 ignores SIGTERM without a handler: in a container this one is what ends the run.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if hasattr(config, "workerinput"):
        # timeout(1) signals the whole group: a worker that ended first would be reported as one
        # that crashed. Not SIG_IGN, which the programs that it starts would inherit. And not
        # SIGINT, by which execnet ends a worker's test when the controller asks it to.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        return
    ending = Ending(config)
    config.pluginmanager.register(ending, "model-prep-ending")
    config.add_cleanup(ending.close)


class Ending:
    """What a signal does, by how far the run is; the first signal decides the exit code."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._first: int | None = None
        self._open = False  # whether an exception may rise here
        self._debugging = False
        self._closed: float | None = None
        self._code: int | None = None  # the run's own, as soon as its reports are written
        self._stderr = os.dup(2)  # the real one: pytest's capture takes descriptor 2 away for tests
        self._previous = {number: signal.signal(number, self.handle) for number in SIGNALS}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals, for the first and for each that follows."""
        if self._closed is not None:
            # The exit code is decided, and Python is on its way out: a signal would replace it.
            if time.monotonic() - self._closed > EXIT_SECONDS:  # not so: a program called pytest
                signal.signal(number, self._previous[signal.Signals(number)] or signal.SIG_DFL)
                signal.raise_signal(number)
            return
        if self._debugging and number == signal.SIGINT:
            raise KeyboardInterrupt  # at a debugger's prompt it means that line, not the run
        if self._first is None:
            self._first = number
            # Not threading.Thread: its start takes a lock that the interrupted code may hold.
            with contextlib.suppress(RuntimeError):  # no thread to be had
                _thread.start_new_thread(self._see_to_it, ())
        kill_children()
        # Let xdist wait half a second for its workers, not ten: they are dead. An exception out of
        # a signal's handler can leave a lock of its queue taken; then they never end.
        manager = getattr(self._config.pluginmanager.get_plugin("dsession"), "nodemanager", None)
        if manager is not None:
            manager.EXIT_TIMEOUT = 0.5
        if self._open:
            self._raise()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self) -> Generator[None, object, object]:
        """Open: workers start and the hub is asked, tests are collected, fixtures and tests run."""
        try:
            self._open = True
            if self._first is not None:
                self._raise()
            return (yield)
        finally:
            self._open = False

    pytest_collection = pytest_runtestloop = pytest_sessionstart

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Know the exit code that is decided, when all others are done."""
        self._open = False  # a second signal may have come just before it was closed
        result = yield
        self._code = int(session.exitstatus)
        return result

    def pytest_enter_pdb(self) -> None:
        """A debugger has the terminal."""
        self._debugging = True

    def pytest_leave_pdb(self) -> None:
        """The debugger has given it back."""
        self._debugging = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep the end of the traceback: pytest works all out, and shows the last step."""
        self._open = False  # as above
        if not self._config.getoption("fulltrace"):
            excinfo.traceback = excinfo.traceback[-2:]  # the last of pytest.exit is a hidden one

    def close(self) -> None:
        """The run is over; the handler stays, for what Python has still to do.

        Its last steps take the handlers away, and a signal would then replace the exit code.
        Ignored and not blocked: that holds for all threads, also execnet's, which outlive the run.
        """
        self._closed = time.monotonic()
        os.close(self._stderr)
        for number in SIGNALS:
            atexit.register(signal.signal, number, signal.SIG_IGN)

    def _raise(self) -> None:
        if self._first == signal.SIGINT:
            raise KeyboardInterrupt
        pytest.exit("SIGTERM: stopped; what is finished is kept", returncode=Exit.TERMINATED)

    def _see_to_it(self) -> None:
        """From the first signal on, in a thread of its own."""
        began, main = time.monotonic(), threading.main_thread().ident
        assert self._first is not None and main is not None
        while time.monotonic() - began < END_SECONDS:
            time.sleep(AGAIN_SECONDS)
            if self._closed is not None:
                return
            if self._open:
                signal.pthread_kill(main, self._first)
        self._end_by_force()

    def _end_by_force(self) -> None:
        name = signal.Signals(self._first or 0).name
        said = (
            f"\n{name}: the run did not end within {END_SECONDS:g} s and was ended by force; what "
            "is finished is kept, reports may be missing. Please report where it stood:\n"
        )
        with contextlib.suppress(OSError):
            os.write(self._stderr, said.encode())
            faulthandler.dump_traceback(self._stderr, all_threads=True)
        kill_children()
        interrupted = self._first == signal.SIGINT
        code = int(pytest.ExitCode.INTERRUPTED if interrupted else Exit.TERMINATED)
        os._exit(code if self._code is None else self._code)


def kill_children() -> None:
    """Kill all that this process started, and what that started.

    All of it by name: a child that is still importing has not yet asked to die with its parent.
    """
    for pid in list(_below("self")):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _below(process: int | str) -> Iterator[int]:
    """The descendants of a process, each before what it started: none reports a child's end."""
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in map(int, task.read_text(encoding="ascii").split()):
                yield pid
                yield from _below(pid)
