"""One process at a time: a file lock around each stage of each repository, with a visible wait.

The kernel frees a lock when its holder dies, so no dead process blocks anybody. Beside it lies the
holder's note, renewed while it works: a waiting process can name the holder, and gives up where
the note is not renewed (a process that is stopped, a host that is gone without a word). Where a
file system has no locks, work goes on without: fresh names and a rename keep the home whole, and
two processes merely do the same twice.
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
from prep.files.append import NO_LOCKS
from prep.files.reader import LONGEST_LINE, parse_json, printable, read_bytes
from prep.files.tree import megabytes
from prep.home.layout import make_folder, now, write_text
from prep.process.cancelled import check_cancelled

REPORT_SECONDS = 10
RENEW_SECONDS = 15
STALE_SECONDS = 120

log = logging.getLogger(__name__)


class HolderNote:
    """The note in which the holder of a lock describes itself.

    `locked` is False where locks do nothing, and another process may do the same work.
    """

    def __init__(self, path: Path, *, locked: bool) -> None:
        self.locked = locked
        self._path = path
        self._content: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": now(),
            "bytes": 0,
        }
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="holder", daemon=True)

    def record_bytes(self, count: int) -> None:
        """So many bytes are done by now."""
        self._content["bytes"] = count

    def __enter__(self) -> "HolderNote":
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            self._write()

    def _write(self) -> None:
        """A full disk stops no work.

        Under a name that nobody else has: a process of another container may have our number.
        """
        try:
            write_text(self._path, json.dumps(self._content | {"renewed": now()}))
        except OSError as error:
            log.info("the holder's note was not written: %s", error)


@contextlib.contextmanager
def lock_stage(path: Path, report: Callable[[str], None]) -> Iterator[HolderNote]:
    """Hold the lock `path`; while another process has it, `report` who that is now and then.

    Raises `LockTimeout` where its note has not changed for `STALE_SECONDS`.
    """
    make_folder(path.parent)
    note = path.with_name(f"{path.name}.holder")
    with (
        lock_file(path, _Wait(path, note, report).check) as locked,
        HolderNote(note, locked=locked) as holder,
    ):
        yield holder


@contextlib.contextmanager
def lock_file(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold the lock `path`, without a note; gives whether locks do anything here.

    `on_wait` is called when another process has it, and every second from then on.
    """
    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    timeout = 0
    while True:
        try:
            lock.acquire(timeout=timeout)
            break
        except Timeout:
            on_wait()
            timeout = 1
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
    """Another process has the lock. Only our own clock counts: clocks of hosts need not agree."""

    def __init__(self, path: Path, note: Path, report: Callable[[str], None]) -> None:
        self._path, self._note, self._report = path, note, report
        self._began: float | None = None
        self._changed, self._reported, self._text = 0.0, float("-inf"), ""

    def check(self) -> None:
        """Report who has it; raise `LockTimeout` where its note is not renewed for too long."""
        check_cancelled(f"waiting for {self._path.name}")
        now, text = time.monotonic(), self._read()
        if self._began is None:
            self._began = self._changed = now
        if text != self._text:
            self._text, self._changed = text, now
        holder = describe_holder(text)
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            self._report(f"waiting for {holder}")
        if now - self._changed > STALE_SECONDS:
            raise LockTimeout(
                f"{self._path.name} is held by {holder}. It has not renewed its note for "
                f"{now - self._changed:.0f} s, and we waited {now - self._began:.0f} s. See what "
                f"it does, or end it, and run again; the lock file is {self._path}."
            )

    def _read(self) -> str:
        try:
            return read_bytes(self._note, LONGEST_LINE).decode(errors="replace")
        except OSError:
            return ""


def describe_holder(text: str) -> str:
    """The holder of a lock by its note, for people."""
    try:
        note = parse_json(text)
        done = megabytes(int(note["bytes"]))
        pid, host, since = (printable(str(note[key])) for key in ("pid", "host", "since"))
        return f"another process: process {pid} on {host}, since {since}, {done} so far"
    except (ValueError, KeyError, TypeError, OverflowError):
        return "another process that left no note"
