"""One file's bytes: by a ranged GET to a partial file, digested, then renamed to its blob.

One request is enough: the hub's answer on the way says commit, ETag and size, and the answer
behind its redirects is the bytes. Sizes are hints, the checksum decides.

A partial file is named by the sha256 that it must have, so it is the same file for every run and
every repository, and can be resumed without any other record. huggingface_hub 1.21 would start a
killed download from zero.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import httpx

from prep.errors import ChecksumMismatch, HubRefused, NotAHub, PrepError
from prep.fetch.retry import Retry
from prep.fetch.session import (
    Answer,
    Session,
    SignatureRefused,
    TruncatedBody,
    count_of,
    host_of,
    whole,
)
from prep.files.checksum import BLOCK, digest_file
from prep.files.reader import printable

POLL_SECONDS = 0.2
GIT_FILE_MAX = 64 << 20  # bytes of a file that git keeps itself; a hub has larger ones in LFS
IDENTITY = {"Accept-Encoding": "identity"}
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,40})-[0-9]+/([0-9]{1,40}|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What to fetch and where it goes; `size` in bytes, `blobs` the folder of the finished file.

    `refuse` raises where a file that matches the lock is unsafe.
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

    @property
    def what(self) -> str:
        """Repository and file, for messages."""
        return f"{self.repo}: {self.path}"


def download(
    transfer: Transfer, session: Session, retry: Retry, on_bytes: Callable[..., None]
) -> Path:
    """Fetch the file into `transfer.blobs`, and give its path; a partial file is resumed.

    Raises `ChecksumMismatch` where the whole file has another: never retried, never published.
    """
    while True:
        with _locked(transfer.partial) as file:
            if file is not None:
                part = Part(transfer, file, on_bytes)
                try:
                    _complete(part, session, retry)
                    return part.blob
                except OSError as error:  # a full disk does not say where
                    error.filename = error.filename or str(transfer.partial)
                    raise
                finally:
                    if part.have == 0 or part.is_placed:
                        part.discard()
        time.sleep(POLL_SECONDS)  # another process fetches it


def read_small(url: str, session: Session) -> bytes:
    """A small file, whole, in memory."""
    with session.open("GET", url, IDENTITY) as answer:
        return whole(answer.response)


def read_part(url: str, session: Session, start: int, count: int, size: int) -> bytes:
    """Bytes `start` to `start + count` of a file of `size`, and not the rest of it."""
    headers = IDENTITY | {"Range": f"bytes={start}-{start + count - 1}"}
    with session.open("GET", url, headers) as answer:
        response = answer.response
        length = _length(response)
        if length not in (None, size):
            raise ChecksumMismatch(
                f"{httpx.URL(url).path} has {length} bytes at {host_of(response.request.url)}, "
                f"expected {size} (the hub's own list). Nothing was locked; run again, or ask the "
                "hub's operator."
            )
        skip = 0 if response.status_code == 206 else start  # a server that ignores Range
        body = b""
        for block in response.iter_bytes():
            body += block
            if len(body) >= skip + count:
                break
    if len(body) < skip + count:
        raise TruncatedBody(response)
    return body[skip : skip + count]


class Part:
    """A partial file, locked by us; `have` bytes of it are there and digested.

    `reached` is the most that there ever was. `is_joined`: from more than one answer, or from an
    earlier run and this one. `oid` is git's name for the file, as the hub says. `is_placed`: the
    blob was there, whole. `without_range`: the storage host refused a Range.
    """

    def __init__(self, transfer: Transfer, file: FileIO, on_bytes: Callable[..., None]) -> None:
        self.transfer = transfer
        self.have = self.reached = 0
        self.is_joined = self.is_placed = self.without_range = False
        self.blob = transfer.blobs / transfer.sha256  # or by git's name, see `publish`
        self.oid: str | None = None
        self._file, self.on_bytes = file, on_bytes
        self.hasher = hashlib.sha256()

    def resume(self) -> None:
        """Digest what an earlier run left; more than the whole file is of no use."""
        if os.fstat(self._file.fileno()).st_size > self.transfer.size:
            self._file.truncate(0)
        while block := self._file.read(BLOCK):
            self._note(block)
            self.on_bytes(len(block), received=False)
        self.is_joined = self.have > 0

    def restart(self) -> None:
        """Begin anew: what is there cannot be resumed."""
        self._file.seek(0)
        self._file.truncate(0)
        self.on_bytes(-self.have, received=False)
        self.have, self.is_joined, self.hasher = 0, False, hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Append; `ChecksumMismatch` where the file would grow beyond its size."""
        if self.have + len(block) > self.transfer.size:
            raise ChecksumMismatch(other_size(self.transfer, f"more than {self.transfer.size}"))
        rest = memoryview(block)
        while rest:  # a disk that is filling up takes only a part, once
            rest = rest[self._file.write(rest) :]
        self._note(block)
        self.on_bytes(len(block))

    def discard(self) -> None:
        """Remove the file."""
        self.transfer.partial.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the whole file its name in the home: git's only where it is that of these bytes.

        The hub could name another file, whose blob this would replace.
        """
        if self.oid is not None and self.oid == self._git_oid():
            self.blob = self.transfer.blobs / self.oid
        os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o644)
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

    def _note(self, block: bytes) -> None:
        self.hasher.update(block)
        self.have += len(block)
        self.reached = max(self.reached, self.have)


def _complete(part: Part, session: Session, retry: Retry) -> None:
    """Resume until the file is whole; compare its checksum, then publish or discard it."""
    transfer = part.transfer
    with retry.timer.paused():
        part.resume()

    def completed() -> str:
        retry(transfer.what, lambda: _receive(part, session, retry), lambda: part.reached)
        return transfer.sha256 if part.is_placed else part.hasher.hexdigest()

    digest = completed()
    if digest != transfer.sha256 and part.is_joined:
        # The part that an earlier run left was corrupt, or the file changed between two answers.
        # That says nothing about what the hub serves now: fetch it from the beginning, once.
        part.restart()
        digest = completed()
    if digest != transfer.sha256:
        part.discard()
        raise ChecksumMismatch(
            f"{transfer.what} has sha256 {digest}, expected {transfer.sha256} (lock). The file was "
            "discarded and is never retried: the hub, a mirror or a proxy serves other bytes. Ask "
            "its operator, or --relock and review the diff."
        )
    try:
        transfer.refuse(part.blob if part.is_placed else transfer.partial)
    except PrepError:
        part.discard()
        raise
    if not part.is_placed:
        part.publish()


def _receive(part: Part, session: Session, retry: Retry) -> None:
    """The bytes of one answer, or of a second one where the first cannot be appended."""
    for _ in range(2):
        if part.have == part.transfer.size:
            return
        ranged = part.have > 0 and not part.without_range
        headers = IDENTITY | ({"Range": f"bytes={part.have}-"} if ranged else {})
        try:
            # The hub's URL, not the one it redirects to: each try has a signature of its own.
            with session.open("GET", part.transfer.url, headers, accept=(416,)) as answer:
                part.oid = _oid(answer, part.transfer)
                if part.find_blob():
                    return
                if _can_append(answer.response, part):
                    _write_body(answer.response, part, retry)
                    return
        except SignatureRefused:
            part.without_range = ranged  # some hosts refuse the part, and would give the whole
            raise
        part.restart()
    raise TruncatedBody(answer.response)


def _oid(answer: Answer, transfer: Transfer) -> str | None:
    """Git's name for the file, where the hub says that it serves the locked one.

    The hub's client names a blob by the ETag: git's name, or the sha256 of a file in LFS.
    """
    repo, commit, host = transfer.repo, transfer.commit, host_of(httpx.URL(transfer.url))
    if answer.commit is None:
        raise NotAHub(
            f"{host} answers for {repo} without naming a commit. Check --hub (HF_ENDPOINT), the "
            "proxy, or whether this network wants a login first."
        )
    if answer.commit != commit:
        raise HubRefused(
            f"{repo}: the hub answers for commit {printable(answer.commit, 60)}, expected {commit} "
            "(lock). A mirror that does not keep commits cannot be used; see --hub."
        )
    if answer.size not in (None, transfer.size):
        raise ChecksumMismatch(other_size(transfer, str(answer.size)))
    git = answer.etag is not None and re.fullmatch("[0-9a-f]{40}", answer.etag)
    return git[0] if git else None


def _can_append(response: httpx.Response, part: Part) -> bool:
    """Whether the answer's bytes follow those that are there; a whole file restarts them."""
    size = part.transfer.size
    if response.status_code == 416:  # the file there is shorter now
        return False
    encoded = _is_encoded(response)
    if response.status_code == 206:
        begin = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        follows = begin and int(begin[1]) == part.have and begin[2] in (str(size), "*")
        part.is_joined = True
        return bool(part.have and follows and not encoded)
    if (length := _length(response)) == 0 and size:  # as CDNs answer in a bad hour
        raise TruncatedBody(response)
    if length not in (None, size):
        raise ChecksumMismatch(other_size(part.transfer, str(length), response))
    if part.have:
        part.restart()  # the server ignores Range: the whole file comes
    return True


def _is_encoded(response: httpx.Response) -> bool:
    return bool(response.headers.get("Content-Encoding", "identity") != "identity")


def _length(response: httpx.Response) -> int | None:
    """The size of the whole file that the answer is of, where its headers say it."""
    if response.status_code == 206:
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return int(found[2]) if found and found[2] != "*" else None
    return None if _is_encoded(response) else count_of(response.headers.get("Content-Length", ""))


def _write_body(response: httpx.Response, part: Part, retry: Retry) -> None:
    try:
        # As it comes: a block size here would hold bytes back in memory, to be lost by a kill.
        for block in response.iter_bytes():
            part.write(block)
            retry.timer.received(len(block))
            retry.timer.check(part.transfer.what)
            if retry.cancelled.is_set():
                break
    except ChecksumMismatch:
        part.discard()
        raise
    if part.have < part.transfer.size:
        raise TruncatedBody(response)


def other_size(transfer: Transfer, got: str, response: httpx.Response | None = None) -> str:
    """The message for a file of another size than the lock's."""
    where = "on the hub"
    if response is not None and response.request.extensions["role"] == "bytes":
        where = f"at the storage host {host_of(response.request.url)}"
    return (
        f"{transfer.what} has {got} bytes {where}, expected {transfer.size} (lock). The hub does "
        "not serve the locked file; ask its operator, or --relock and review the diff."
    )


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
def _locked(partial: Path) -> Iterator[FileIO | None]:
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
