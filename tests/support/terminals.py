"""A run on a terminal of a test's: what is on its screen, moment by moment."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyte

from tests.support.paths import ROOT
from tests.support.runs import environment


@dataclass(slots=True, kw_only=True)
class Watched:
    """A run that was watched. `frames` are the screens that differed, each with its time."""

    code: int
    raw: str
    frames: list[tuple[float, list[str]]] = field(default_factory=list)
    final: list[str]
    gap: float
    """The longest time in seconds in which nothing changed on the screen."""

    def lines_with(self, words: str) -> list[str]:
        """Every line that ever stood on the screen and held these words, each once."""
        return [
            *dict.fromkeys(line for _, screen in self.frames for line in screen if words in line)
        ]


def watch(
    command: Sequence[str],
    *,
    columns: int = 100,
    rows: int = 30,
    answer: Callable[[str], bytes] | None = None,
    resize: tuple[str, int] | None = None,
    timeout: float = 300,
    **env: str,
) -> Watched:
    """Run the command on a terminal until it ends.

    `answer` gives what is typed, from all that is on the screen; `resize` is at which words on
    the screen the terminal gets how many columns.
    """
    screen = pyte.HistoryScreen(columns, rows, history=10_000)
    stream = pyte.Stream(screen)
    ours, theirs = pty.openpty()
    _size(ours, columns, rows)
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(TERM="xterm-256color") | env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    raw = b""
    frames: list[tuple[float, list[str]]] = []
    changed, gap = began, 0.0
    try:
        while True:
            now = time.monotonic()
            assert now - began < timeout, "\n".join(screen.display)
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(ours, 1 << 16)
            except OSError:
                break
            raw += data
            stream.feed(data.decode(errors="replace"))
            shown = [line.rstrip() for line in screen.display]
            if not frames or shown != frames[-1][1]:
                now = time.monotonic()
                gap = max(gap, now - changed) if frames else gap  # the start is python's own
                changed = now
                frames.append((now - began, shown))
            if resize and any(resize[0] in line for line in shown):
                screen.resize(columns=resize[1])
                _size(ours, resize[1], rows)
                process.send_signal(signal.SIGWINCH)
                resize = None
            if answer and (typed := answer("\n".join(shown))):
                os.write(ours, typed)
    finally:
        if time.monotonic() - began >= timeout:
            process.kill()
        code = process.wait(timeout=60)
        os.close(ours)
    past = ["".join(row[column].data for column in range(len(row))) for row in screen.history.top]
    return Watched(
        code=code,
        raw=raw.decode(errors="replace"),
        frames=frames,
        final=[line.rstrip() for line in (*past, *screen.display)],
        gap=gap,
    )


def _size(handle: int, columns: int, rows: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
