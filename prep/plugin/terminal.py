"""Progress on the terminal while pytest holds back what tests print: one painter, whoever works.

On a terminal, live lines stand below pytest's output; elsewhere (CI, docker logs), and where tests
print as well (``-s``), a plain line now and then. Under xdist the workers have no terminal: they
append their events to a file that the controlling process follows.
"""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest

from prep.files.append import append_to
from prep.files.reader import Unreadable, parse_json
from prep.plugin.parameters import load_of, model_of
from prep.process.progress import Doing, Event, Progress, is_event

TERMINAL_SECONDS, LOG_SECONDS = 2.0, 10.0  # how often a long stage is named in plain lines
PAINT_SECONDS = 0.2
REST_SECONDS = 3.0  # a model for which nothing goes on is shown that long

PAINTER = "model-prep-painter"


def progress_for(session: pytest.Session) -> Progress:
    """The progress of this process: silent with ``-q`` or ``--no-progress``."""
    config = session.config
    if path := getattr(config, "workerinput", {}).get("prep_progress"):
        return Progress(_append_to(path, config), _loads(session))
    painter: Painter | None = config.pluginmanager.getplugin(PAINTER)
    return Progress(painter.take if painter else None, _loads(session))


def get_ready(session: pytest.Session) -> None:
    """In the process that has the terminal, if anybody wants to see it: paint at the first event.

    Not before: a repository that borrows the fixtures may have nothing to do with models.
    """
    config = session.config
    reporter = config.pluginmanager.getplugin("terminalreporter")
    quiet = config.getoption("no_progress") or config.getoption("verbose") < 0
    silent = reporter is None or quiet or config.option.collectonly
    if not (silent or hasattr(config, "workerinput")):
        config.pluginmanager.register(Painter(config, reporter), PAINTER)


class Painter:
    """Writes to the terminal: what pytest writes there, lines, and what goes on below them.

    It is a plugin of the process that has the terminal: hooks tell it when that is another's.
    pytest's writer gets a file of ours, so that each of its writes finds the live lines gone and
    is followed by them; `_file` is the one private name that is needed, and used here alone.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._writer = config.get_terminal_writer()
        self._file: TextIO = self._writer._file
        # Tests' capture takes descriptor 1 away for a while: ours is a copy. Not with -s, where
        # tests and pytest write into one buffer, in their order.
        captured = config.getoption("capture", "no") != "no"
        self._handle: int | None = None
        if captured:
            with contextlib.suppress(OSError, ValueError):  # the file has no descriptor
                self._handle = os.dup(self._file.fileno())
        terminal = self._file.isatty()
        self.live = (
            terminal
            and self._handle is not None
            and os.environ.get("TERM", "dumb") != "dumb"
            and not config.getoption("usepdb", False)
        )
        self._seconds = TERMINAL_SECONDS if terminal else LOG_SECONDS
        self._doing: dict[str, Doing] = {}
        self._lines: Sequence[str] = ()
        self._painted = 0
        self._paused = False
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._stopped = False
        self._events: Path | None = None
        self._read = 0
        self._thread: threading.Thread | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Take everything back: what follows is pytest's; the second time there is nothing left."""
        if self._over.is_set():
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._clear()
            self.live = False
            self._follow()  # the last events
            self._stopped = True
            self._writer._file = self._file
            if self._handle is not None:
                os.close(self._handle)
            if self._events is not None:
                self._events.unlink(missing_ok=True)

    pytest_unconfigure = pytest_sessionfinish  # however the run ended

    def pytest_enter_pdb(self) -> None:
        """A debugger takes the terminal: show nothing below for a while."""
        with self._lock:
            self._clear()
            self._paused = True

    def pytest_leave_pdb(self) -> None:
        """The debugger gives it back."""
        self._paused = False

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give an xdist worker the file for its events; until there are some, it starts."""
        with contextlib.suppress(OSError):  # nowhere to write: silent, but no reason not to run
            if self._events is None:
                handle, name = tempfile.mkstemp(prefix="model-prep-", suffix=".jsonl")
                os.close(handle)
                self._events = Path(name)
            node.workerinput["prep_progress"] = str(self._events)
        if self.live:
            self.take({"model": "model-prep", "doing": "starting the workers"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """The workers have collected; from now on they report events."""
        self.take({"model": "model-prep", "doing": None})

    def take(self, event: Event) -> None:
        """Show an event, from any thread; ``who`` is its worker, which has one line."""
        now, who, model = time.monotonic(), event.get("who", ""), event["model"]
        # pytest finds out by its own writes that a terminal is gone; it is no fault of a stage.
        with contextlib.suppress(OSError), self._lock:
            if self._stopped:
                return
            if self._thread is None:  # stand between pytest and its file; paint by the clock
                self._file.flush()
                self._writer._file = _Between(self._file, self)
                self._thread = threading.Thread(
                    target=self._run, name="model-prep-painter", daemon=True
                )
                self._thread.start()
            if who and "" in self._doing and self._doing[""].model == "model-prep":
                del self._doing[""]  # the workers are there
            doing = self._doing.get(who)
            if doing is None or doing.model != model:
                doing = self._doing[who] = Doing(model=model, text=None, since=now, said=now)
            if "say" in event:
                self._line(f"[{model}] {event['say']}")
                doing.said = now
            else:
                doing.take(event, now)

    def write(self, text: str) -> None:
        """What pytest writes."""
        with self._lock:
            self._clear()
            self._put(text)
            self._paint()

    def flush(self) -> None:
        """Only with ``-s`` is there anything to flush."""
        if self._handle is None:
            self._file.flush()

    def _run(self) -> None:
        while not self._over.wait(PAINT_SECONDS):
            with contextlib.suppress(OSError), self._lock:
                self._follow()
                self._tick(time.monotonic())

    def _follow(self) -> None:
        """Take the events of the workers since; a line that is not whole yet waits."""
        if self._events is None:
            return
        with self._events.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            with contextlib.suppress(Unreadable):  # torn by a full disk
                if is_event(event := parse_json(line)):
                    self.take(event)

    def _tick(self, now: float) -> None:
        for who, doing in list(self._doing.items()):
            if doing.text is None and now - doing.since > REST_SECONDS:
                del self._doing[who]
        if not self.live:
            for doing in self._doing.values():
                if doing.text is not None and now - doing.said >= self._seconds:
                    self._line(f"[{doing.model}] {doing.line(now)}")
                    doing.said = now
            return
        from prep.plugin import live_lines

        columns, rows = self._size()
        work, color = list(self._doing.values()), self._writer.hasmarkup
        width = max(10, columns - 1)
        self._lines = live_lines.render(work, now, width=width, rows=rows, color=color)
        self._paint()

    def _line(self, text: str) -> None:
        """A line that stays, on a line of its own."""
        self._reporter.ensure_newline()
        if self._writer.width_of_current_line:
            self._writer.line()
        self._writer.line(text)
        self._writer.flush()

    def _paint(self) -> None:
        """Draw the lines below, and leave the cursor where pytest's next character goes.

        Not behind a full line: the cursor stands on its last character then, and erasing from
        there would take it away.
        """
        if not self.live or self._paused or not (self._lines or self._painted):
            return
        written = self._writer.width_of_current_line
        if written and written % self._size()[0] == 0:
            return
        if len(self._lines) != self._painted:
            self._clear()
        count = self._painted = len(self._lines)
        if count:
            # Down with room made for it, up again: the column stays, wherever the screen ends.
            room = "\x1bD" * count + f"\x1b[{count}A"
            drawn = "".join(f"\x1b[B\r{line}\x1b[K" for line in self._lines)
            self._put(f"{room}\x1b7{drawn}\x1b8")

    def _clear(self) -> None:
        if self._painted:
            self._put("\x1b[J")
            self._painted = 0

    def _size(self) -> tuple[int, int]:
        """Columns and rows: the terminal's own, whatever COLUMNS says; some give 0."""
        assert self._handle is not None
        columns, rows = os.get_terminal_size(self._handle)
        return columns or 80, rows or 24

    def _put(self, text: str) -> None:
        if self._handle is None:
            self._file.write(text)
            return
        data = memoryview(text.encode(self._file.encoding, "replace"))
        while data:
            data = data[os.write(self._handle, data) :]


class _Between:
    """In place of the file of pytest's writer."""

    def __init__(self, file: TextIO, painter: Painter) -> None:
        self._file = file
        self._painter = painter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        self._painter.write(text)
        return len(text)

    def flush(self) -> None:
        self._painter.flush()


def _append_to(path: str, config: pytest.Config) -> Callable[[Event], None]:
    """Each event is one line: workers never tear each other's."""
    who = config.workerinput["workerid"]  # type: ignore[attr-defined]  # xdist sets it
    handle = os.open(path, os.O_RDWR | os.O_APPEND)
    config.add_cleanup(lambda: os.close(handle))

    def emit(event: Event) -> None:
        with contextlib.suppress(OSError):  # a full disk may hide what goes on, never end it
            append_to(handle, [json.dumps({"who": who, **event})])

    return emit


def _loads(session: pytest.Session) -> dict[str, int]:
    """How many loads the chosen tests ask for, by model."""
    chosen: dict[str, set[str]] = {}
    for item in session.items:
        if (spec := model_of(item)) and (load := load_of(item)):
            chosen.setdefault(spec.name, set()).add(load.id)
    return {name: len(loads) for name, loads in chosen.items()}
