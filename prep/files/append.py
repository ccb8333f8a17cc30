"""Lines appended to a file by several processes: each whole, none lost.

A line is one write to the end that the file has then (O_APPEND), so lines never mix. What remains
is a line that was truncated, by a kill or by a full disk: the next must not continue it. Looking
for that and writing needs a lock around both, or a second writer comes in between. The file is its
own lock, so that none is left behind. Without a lock (a file system that has none; another process
that keeps it), every line has a newline before it: then an empty line is the worst, and readers
skip those.
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
POLL_SECONDS = 0.001


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to a file, made where missing. Raises `OSError`; `PathOccupied` for a folder."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o644)
    except IsADirectoryError:
        raise _occupied(path) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):  # a pipe, which nobody may ever read
            raise _occupied(path)
        append_to(handle, lines)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where
        raise
    finally:
        os.close(handle)


def append_to(handle: int, lines: Iterable[str]) -> None:
    """The same for an open file: for reading and writing, with O_APPEND."""
    text = "".join(f"{line}\n" for line in lines).encode()
    if not text:
        return
    with _locked(handle) as locked:
        size = os.fstat(handle).st_size
        torn = size > 0 and not (locked and os.pread(handle, 1, size - 1) == b"\n")
        rest = memoryview(b"\n" * torn + text)
        try:
            while rest:  # once, except on a disk that is filling up: that takes a part first
                rest = rest[os.write(handle, rest) :]
        except OSError:
            if locked:  # leave no part of a line behind
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, size)
            raise


@contextlib.contextmanager
def _locked(handle: int) -> Iterator[bool]:
    """Lock the file; gives whether that worked."""
    end = time.monotonic() + LOCK_SECONDS
    locked = False
    while not locked:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            if time.monotonic() > end:
                break
            time.sleep(POLL_SECONDS)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            break
    try:
        yield locked
    finally:
        if locked:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _occupied(path: Path) -> PathOccupied:
    return PathOccupied(
        f"{path} is no regular file, and lines must be appended to it. Nothing was removed: move "
        "it away, and run again."
    )
