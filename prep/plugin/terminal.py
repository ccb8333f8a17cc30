"""Lines on the terminal while pytest holds back what tests print."""

import os
import sys
from collections.abc import Callable

import pytest

from prep.progress import Progress

TERMINAL_SECONDS, LOG_SECONDS = 2, 10  # how often a long stage says where it is


def progress_for(config: pytest.Config) -> Progress:
    """The progress of this process: silent with ``-q`` or ``--no-progress``."""
    if config.getoption("no_progress") or config.getoption("verbose") < 0:
        return Progress(None, LOG_SECONDS)
    seconds = TERMINAL_SECONDS if sys.__stderr__ and sys.__stderr__.isatty() else LOG_SECONDS
    if hasattr(config, "workerinput"):
        return Progress(_to_stderr(config), seconds)
    return Progress(_to_reporter(config), seconds)


def _to_reporter(config: pytest.Config) -> Callable[[str], None]:
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        if reporter is None:
            return
        if capture is None:
            reporter.ensure_newline()
            reporter.write_line(line)
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)

    return write


def _to_stderr(config: pytest.Config) -> Callable[[str], None]:
    """A worker has no terminal of its own: its real stderr is the controller's."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            os.write(2, f"{line}\n".encode())

    return write
