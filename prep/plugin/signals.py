"""SIGTERM and SIGINT end the run alike: children first, reports written, exit 143 or 2."""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from prep.errors import Exit


def install(config: pytest.Config) -> None:
    """Handle SIGTERM and SIGINT; a worker dies with its controller.

    PID 1 ignores SIGTERM without a handler: in a container this one is what ends the run.
    """
    if hasattr(config, "workerinput") or threading.current_thread() is not threading.main_thread():
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: a second would break the ending
        kill_children()
        _hurry(config)
        pytest.exit("SIGTERM: stopped; what is finished is kept", returncode=Exit.TERMINATED)

    def interrupt(number: int, frame: FrameType | None) -> None:
        kill_children()
        _hurry(config)
        raise KeyboardInterrupt

    for number, handler in ((signal.SIGTERM, terminate), (signal.SIGINT, interrupt)):
        previous = signal.signal(number, handler)
        config.add_cleanup(functools.partial(_restore, number, previous))
    if not config.getoption("fulltrace"):
        config.pluginmanager.register(Brief(), "model-prep-brief")


class Brief:
    """Keeps the end of an interrupt's traceback: pytest works all out, and shows the last step."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Before pytest looks at it."""
        excinfo.traceback = excinfo.traceback[-2:]  # the last of pytest.exit is a hidden one


def _hurry(config: pytest.Config) -> None:
    """Let xdist wait half a second for its workers, not ten: they are dead.

    An exception out of a signal's handler can leave a lock of its queue taken; then they never end.
    """
    manager = getattr(config.pluginmanager.get_plugin("dsession"), "nodemanager", None)
    if manager is not None:
        manager.EXIT_TIMEOUT = 0.5


def _restore(number: signal.Signals, handler: Any) -> None:
    signal.signal(number, handler)


def kill_children() -> None:
    """Kill all that this process started, and what that started.

    All of it by name: a child that is still importing has not yet asked to die with its parent.
    """
    for pid in list(_below("self")):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _below(process: int | str) -> Iterator[int]:
    """The descendants of a process, each before what it started: none tells of a child's death."""
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in map(int, task.read_text(encoding="ascii").split()):
                yield pid
                yield from _below(pid)
