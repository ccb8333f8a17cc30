"""SIGTERM ends the run as Ctrl-C does: children first, reports written, exit 143."""

import contextlib
import functools
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from prep.errors import Exit


def install(config: pytest.Config) -> None:
    """Handle SIGTERM, and SIGINT under xdist; a worker dies with its controller.

    PID 1 ignores SIGTERM without a handler: in a container this one is what ends the run.
    """
    if hasattr(config, "workerinput") or threading.current_thread() is not threading.main_thread():
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: a second would break the ending
        kill_children()
        pytest.exit("SIGTERM: stopped; what is finished is kept", returncode=Exit.TERMINATED)

    previous = signal.signal(signal.SIGTERM, terminate)
    config.add_cleanup(functools.partial(_restore, signal.SIGTERM, previous))
    if config.getoption("numprocesses", None):
        default = signal.getsignal(signal.SIGINT)

        def interrupt(number: int, frame: FrameType | None) -> None:
            kill_children()
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, interrupt)
        config.add_cleanup(functools.partial(_restore, signal.SIGINT, default))


def _restore(number: signal.Signals, handler: Any) -> None:
    signal.signal(number, handler)


def kill_children() -> None:
    """Kill this process's children; theirs die with them (PR_SET_PDEATHSIG)."""
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in task.read_text(encoding="ascii").split():
                os.kill(int(pid), signal.SIGKILL)
