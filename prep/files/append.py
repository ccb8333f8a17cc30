"""Lines at the end of a file that several processes write: whole, in one piece each, none lost.

A line is one write to the end that the file has then (O_APPEND), so lines never mix. What is left
is a line that was cut off, by a kill or by a full disk: the next must not run into it. Who looks
and then writes needs a lock from the one to the other, or a second writer comes in between and what
was seen is no longer so. The file is its own lock, so that none lies about. Where there is no lock
(a file system that knows none; somebody who does not let go), every line brings a newline before
it: then an empty line is the worst, and readers pass those over.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prep.errors import PathOccupied

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
LOCK_SECONDS = 10.0  # a line takes microseconds; whoever may read a file may lock it as well
ASK_SECONDS = 0.001


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to a file, made where missing. Raises `OSError`; `PathOccupied` for a folder."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o644)
    except IsADirectoryError:
        raise PathOccupied(_in_the_way(path)) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):  # a pipe, which nobody may ever read
            raise PathOccupied(_in_the_way(path))
        append_to(handle, lines)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where
        raise
    finally:
        os.close(handle)


def append_to(handle: int, lines: Iterable[str]) -> None:
    """The same for an open file, for reading as well and with O_APPEND."""
    text = "".join(f"{line}\n" for line in lines).encode()
    if not text:
        return
    with _locked(handle) as locked:
        size = os.fstat(handle).st_size
        torn = size > 0 and not (locked and os.pread(handle, 1, size - 1) == b"\n")
        rest = memoryview(b"\n" * torn + text)
        try:
            while rest:  # once, but for a disk that is filling up: that takes a part first
                rest = rest[os.write(handle, rest) :]
        except OSError:
            if locked:  # leave no part of a line behind
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, size)
            raise


@contextlib.contextmanager
def _locked(handle: int) -> Iterator[bool]:
    """Hold the file; gives whether we really do."""
    ends = time.monotonic() + LOCK_SECONDS
    locked = False
    while not locked:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            if time.monotonic() > ends:
                break
            time.sleep(ASK_SECONDS)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            break
    try:
        yield locked
    finally:
        if locked:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _in_the_way(path: Path) -> str:
    return (
        f"{path} is not a file, and lines must be added to a file of that name. Nothing was "
        "removed: take it away by hand, and run again."
    )
