"""A partial file: what of it is there, its checksum, and its name in the home once it is whole.

It is named by the sha256 that it must have, so it is the same file for every run and every
repository. Filled by one request, it is the beginning of the whole file, and its length says what
is there; filled by several, it ends in a record (`spans.py`).
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from prep.errors import ChecksumMismatch
from prep.fetch.spans import PAGE, Span, Spans, read_record, record_of, record_place
from prep.files.checksum import BLOCK, digest_file
from prep.files.reader import open_file

GIT_FILE_MAX = 64 << 20  # bytes of a file that git keeps itself; a hub has larger ones in LFS
DIGEST_AT_ONCE = 16 << 20  # bytes, between two looks at the requests
FLUSH_AT_ONCE = 64 << 20  # bytes: flushed as they come, or all of them would be at the end
RANGED_ABOVE = 64 << 20  # bytes of a file that comes in several ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What to fetch and where it goes; `size` in bytes, `blobs` the folder of the finished file.

    `refuse` raises where a file that matches the lock is unsafe. A file of more than `ranged_above`
    bytes comes in several ranges.
    """

    url: str
    repo: str
    commit: str
    path: str
    size: int
    sha256: str
    partial: Path
    blobs: Path
    refuse: Callable[[Path], None]
    ranged_above: int = RANGED_ABOVE

    @property
    def what(self) -> str:
        """Repository and file, for messages."""
        return f"{self.repo}: {self.path}"


class Part:
    """A partial file, locked by us; `have` bytes of it are there.

    `reached` is the most that there ever was. `is_joined`: from more than one answer, or from an
    earlier run and this one. `oid` is git's name for the file, as the hub says. `is_placed`: the
    blob was there, whole. `without_range`: the storage host refused a Range. `in_ranges`: several
    requests may fill it side by side, and do once an answer was `accepted`, whose `etag` it is;
    `stopped` ends them.
    """

    def __init__(self, transfer: Transfer, file: FileIO, on_bytes: Callable[..., None]) -> None:
        self.transfer = transfer
        self.reached = 0
        self.is_joined = self.is_placed = self.without_range = self.accepted = False
        self.in_ranges = transfer.size > transfer.ranged_above
        self.etag: str | None = None
        self.stopped = threading.Event()
        self.blob = transfer.blobs / transfer.sha256  # or by git's name, see `publish`
        self.oid: str | None = None
        self.spans = Spans(transfer.size)
        self._file, self._fd, self.on_bytes = file, file.fileno(), on_bytes
        self._lock = threading.Lock()
        self._hasher, self._digested = hashlib.sha256(), 0
        self._flushed = 0

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return self.spans.there

    def load(self) -> None:
        """Take what an earlier run left; more than the whole file, and no record, is of no use."""
        found = spans_of(self._fd, self.transfer.size)
        if found is None:
            self._file.truncate(0)
        self.spans = found or self.spans
        self.reached = self.have
        self.is_joined = self.have > 0
        self.on_bytes(self.have, received=False)
        if not self.in_ranges:
            self.leave_ranges()

    def restart(self) -> None:
        """Begin anew: what is there cannot be resumed."""
        self._keep(0)
        self.is_joined, self._hasher, self._digested = False, hashlib.sha256(), 0

    def leave_ranges(self) -> None:
        """Go on by one request, behind what is there without a gap."""
        self.in_ranges = self.accepted = False
        self.stopped.clear()
        self._keep(self.spans.prefix)

    def _keep(self, count: int) -> None:
        self._file.truncate(count)
        self.on_bytes(count - self.have, received=False)
        self.spans = Spans(self.transfer.size, [(0, count)])

    def append(self, block: bytes) -> None:
        """The next bytes; `ChecksumMismatch` where the file would grow beyond its size."""
        (span,) = self.spans.all
        if len(block) > span.left:
            raise ChecksumMismatch(other_size(self.transfer, f"more than {self.transfer.size}"))
        is_next = self._digested == span.reached
        self._write(span, block)
        if is_next:
            self._hasher.update(block)
            self._digested += len(block)

    def accept(self) -> None:
        """The host serves ranges. The record is there before any byte that lies behind a gap."""
        with self._lock:
            self._write_record()
        self.accepted = self.is_joined = True

    def fill(self, span: Span, block: bytes) -> None:
        """The next bytes of a span, and the record behind the file; what is too much is left."""
        self._write(span, block[: span.left])

    def take(self, least: int) -> Span | None:
        """A span to fetch, as `Spans.take`."""
        with self._lock:
            return self.spans.take(least)

    def _write(self, span: Span, block: bytes) -> None:
        _write_all(self._fd, block, span.reached)
        with self._lock:
            count = self.spans.add(span, len(block))
            if self.accepted:
                self._write_record()
            self.reached = max(self.reached, self.have)
        self.on_bytes(count)

    def _write_record(self) -> None:
        _write_all(self._fd, record_of(self.spans), record_place(self.transfer.size))

    def digest_more(self) -> bool:
        """Digest some of what is there without a gap; gives whether there is more."""
        rest = min(self.spans.prefix - self._digested, DIGEST_AT_ONCE)
        while rest > 0:
            block = os.pread(self._fd, min(rest, BLOCK), self._digested)
            if not block:
                raise OSError(errno.EIO, "a partial file was cut by another process")
            self._hasher.update(block)
            self._digested += len(block)
            rest -= len(block)
        return self._digested < self.spans.prefix

    def flush_some(self) -> None:
        """Have what came written to the disk, where it is much."""
        if abs((have := self.have) - self._flushed) >= FLUSH_AT_ONCE:
            os.fdatasync(self._fd)
            self._flushed = have

    @property
    def sha256(self) -> str:
        """The checksum of what was digested."""
        return self._hasher.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        self.transfer.partial.unlink(missing_ok=True)

    def drop_record(self) -> None:
        """Make it the file alone, once it is whole."""
        self._file.truncate(self.transfer.size)

    def publish(self) -> None:
        """Give the whole file its name in the home: git's only where it is that of these bytes.

        The hub could name another file, whose blob this would replace.
        """
        if self.oid is not None and self.oid == self._git_oid():
            self.blob = self.transfer.blobs / self.oid
        os.fsync(self._fd)
        os.fchmod(self._fd, 0o644)
        self.transfer.partial.replace(self.blob)

    def find_blob(self) -> bool:
        """Whether the file is in the home already, whole, by one of its names."""
        for name in filter(None, (self.oid, self.transfer.sha256)):
            if _is_whole(blob := self.transfer.blobs / name, self):
                self.blob, self.is_placed = blob, True
                return True
        return False

    def _git_oid(self) -> str | None:
        if self.have > GIT_FILE_MAX:
            return None
        hasher = hashlib.sha1(b"blob %d\0" % self.have, usedforsecurity=False)
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            hasher.update(block)
        return hasher.hexdigest()


def bytes_there(partial: Path, size: int) -> int:
    """How many bytes of a file of that size an earlier run fetched."""
    try:
        with open_file(partial) as file:
            found = spans_of(file.fileno(), size)
    except OSError:
        return 0
    return found.there if found else 0


def spans_of(handle: int, size: int) -> Spans | None:
    """What is there of a file of that size; None where that cannot be known."""
    length = os.fstat(handle).st_size
    if length <= size:
        return Spans(size, [(0, length)])
    return read_record(os.pread(handle, PAGE, record_place(size)), size)


def other_size(transfer: Transfer, got: str, where: str = "on the hub") -> str:
    """The message for a file of another size than the lock's."""
    return (
        f"{transfer.what} has {got} bytes {where}, expected {transfer.size} (lock). The hub does "
        "not serve the locked file; ask its operator, or --relock and review the diff."
    )


def _write_all(handle: int, block: bytes, place: int) -> None:
    rest = memoryview(block)
    while rest:  # a disk that is filling up takes only a part, once
        count = os.pwrite(handle, rest, place)
        rest, place = rest[count:], place + count


def _is_whole(path: Path, part: Part) -> bool:
    size = part.transfer.size
    # Never by a link: right bytes behind one that leads out of the home would be taken for ours.
    if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
        return False
    digest = digest_file(path, functools.partial(part.on_bytes, received=False))
    if digest.sha256 != part.transfer.sha256:
        part.on_bytes(-size, received=False)
        return False
    return True


@contextlib.contextmanager
def locked(partial: Path) -> Iterator[FileIO | None]:
    """The partial file, locked; None where another process holds it, or has replaced it.

    The file is its own lock, so that none is left behind. Where the file system has no locks the
    checksum before publishing, and the check of the home after it, must be enough.
    """
    with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP
            pass
        try:
            same = os.path.samestat(os.fstat(file.fileno()), partial.stat())
        except FileNotFoundError:
            same = False
        yield file if same else None
