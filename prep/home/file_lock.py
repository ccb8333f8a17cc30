"""One at a time: a file lock around each stage of each repository, with a wait that is seen.

The kernel frees a lock when its holder dies, so no dead process holds anybody up. Beside it lies
the holder's note, renewed while it works: who waits can name the holder, and gives up where the
note stands still (a process that is stopped, a host that is gone without a word). Where a file
system has no locks, work goes on without: fresh names and a rename keep the home whole, and two
processes merely do the same twice.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prep.errors import LockTimeout
from prep.files import append
from prep.files.reader import LONGEST_LINE, parse_json, printable, read_bytes
from prep.home.layout import make_folder, now, write_text

SAY_SECONDS = 10
RENEW_SECONDS = 15
STALE_SECONDS = 120
NO_LOCKS = append.NO_LOCKS

log = logging.getLogger(__name__)


class HolderNote:
    """What the holder of a lock tells of itself; `saw` counts the bytes that it got so far.

    `locked` is False where locks do nothing, and somebody else may be at the same.
    """

    def __init__(self, note: Path, *, locked: bool) -> None:
        self.locked = locked
        self._note = note
        self._told: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": now(),
            "bytes": 0,
        }
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="holder", daemon=True)

    def saw(self, count: int) -> None:
        """So many bytes are there by now."""
        self._told["bytes"] = count

    def __enter__(self) -> "HolderNote":
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._note.unlink()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            self._write()

    def _write(self) -> None:
        """A disk that is full keeps nobody from working.

        Under a name that nobody else has: a process of another container may have our number.
        """
        try:
            write_text(self._note, json.dumps(self._told | {"renewed": now()}))
        except OSError as error:
            log.info("the holder's note was not written: %s", error)


@contextlib.contextmanager
def lock_stage(path: Path, say: Callable[[str], None]) -> Iterator[HolderNote]:
    """Hold the lock `path`; while another process has it, name that now and then.

    Raises `LockTimeout` where its note has not changed for `STALE_SECONDS`.
    """
    make_folder(path.parent)
    note = path.with_name(f"{path.name}.holder")
    with (
        lock_file(path, lambda: _Wait(path, note, say).look) as locked,
        HolderNote(note, locked=locked) as holding,
    ):
        yield holding


@contextlib.contextmanager
def lock_file(
    path: Path, waiting: Callable[[], Callable[[], None]] = lambda: lambda: None
) -> Iterator[bool]:
    """Hold the lock `path`, with nothing beside it; gives whether locks do anything here.

    `waiting` is called when somebody else has it; what it gives, every second from then on.
    """
    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    look = None
    while True:
        try:
            lock.acquire(timeout=1 if look else 0)
            break
        except Timeout:
            look = look or waiting()
            look()
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.info("no locks at %s (%s): going on without", path, error.strerror)
            yield False
            return
    try:
        yield True
    finally:
        lock.release()


class _Wait:
    """Somebody else has the lock. What counts is our own clock: hosts need not agree on theirs."""

    def __init__(self, path: Path, note: Path, say: Callable[[str], None]) -> None:
        self._path, self._note, self._say = path, note, say
        self._began = self._changed = time.monotonic()
        self._said = float("-inf")
        self._text = ""

    def look(self) -> None:
        """Say who has it; raise `LockTimeout` where that is silent for too long."""
        now, text = time.monotonic(), self._read()
        if text != self._text:
            self._text, self._changed = text, now
        holder = describe_holder(text)
        if now - self._said > SAY_SECONDS:
            self._said = now
            self._say(f"waiting for {holder}")
        if now - self._changed > STALE_SECONDS:
            raise LockTimeout(
                f"{self._path.name}: {holder} has held this without a sign for "
                f"{now - self._changed:.0f} s, and we waited {now - self._began:.0f} s. See what "
                f"it does, or end it, and run again; the lock file is {self._path}."
            )

    def _read(self) -> str:
        try:
            return read_bytes(self._note, LONGEST_LINE).decode(errors="replace")
        except OSError:
            return ""


def describe_holder(text: str) -> str:
    """The holder as its note tells, for people."""
    try:
        told = parse_json(text)
        megabytes = f"{int(told['bytes']) / 1e6:.1f} MB so far"
        pid, host, since = (printable(str(told[key])) for key in ("pid", "host", "since"))
        return (
            f"another process that works on it: process {pid} on {host}, since {since}, {megabytes}"
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return "another process that works on it and left no note"
