"""One file's bytes: by a ranged GET to a partial file, digested, then renamed to its blob.

One exchange brings all of it: the hub's answer on the way says commit, ETag and size, and the
answer behind its redirects is the bytes. Sizes are hints, the digest decides.

A partial file is named by the sha256 that it must have, so it is the same file for every run and
every repository, and going on with it needs no other note. huggingface_hub 1.21 would start a
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
from prep.fetch.hub_errors import TruncatedBody
from prep.fetch.retry import Retry
from prep.fetch.session import Answer, Session, SignatureRefused, count_of, host_of, whole
from prep.files.checksum import BLOCK, digest_file
from prep.files.reader import printable

ASK_AGAIN_SECONDS = 0.2
GIT_AT_MOST = 64 << 20  # bytes of a file that git keeps itself; a hub has larger ones in LFS
IDENTITY = {"Accept-Encoding": "identity"}
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,40})-[0-9]+/([0-9]{1,40}|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What to bring and where it goes; `size` in bytes. `what` names it in sentences.

    `blobs` is the folder where it gets a name. `refuse` raises where the bytes, though they are
    the lock's, must not be run.
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
        """Repository and file, as sentences name them."""
        return f"{self.repo}: {self.path}"


def download(
    transfer: Transfer, session: Session, persist: Retry, on_bytes: Callable[..., None]
) -> Path:
    """Bring the bytes into `transfer.blobs`, and give their place; a part that is there is used.

    Raises `ChecksumMismatch` where the whole file has another: never retried, never published.
    """
    while True:
        with _claimed(transfer.partial) as file:
            if file is not None:
                part = Part(transfer, file, on_bytes)
                try:
                    _bring(part, session, persist)
                    return part.blob
                except OSError as error:  # a full disk does not say where
                    error.filename = error.filename or str(transfer.partial)
                    raise
                finally:
                    if part.have == 0 or part.there:
                        part.discard()
        time.sleep(ASK_AGAIN_SECONDS)  # another process brings it


def read_small(url: str, session: Session) -> bytes:
    """A small file, whole, in memory."""
    with session.open("GET", url, IDENTITY) as answer:
        return whole(answer.response)


def read_part(url: str, session: Session, start: int, count: int, size: int) -> bytes:
    """Bytes `start` to `start + count` of a file of `size`, and not the rest of it."""
    headers = IDENTITY | {"Range": f"bytes={start}-{start + count - 1}"}
    with session.open("GET", url, headers) as answer:
        response = answer.response
        told = _length(response)
        if told not in (None, size):
            where = host_of(response.request.url)
            raise ChecksumMismatch(
                f"{httpx.URL(url).path} has {told} bytes at {where}, {size} in the hub's own list. "
                "Nothing was locked; run again, or ask the hub's keeper."
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
    """A partial file that is open for us alone; `have` bytes of it are there and digested."""

    def __init__(self, transfer: Transfer, file: FileIO, on_bytes: Callable[..., None]) -> None:
        self.transfer = transfer
        self.have = self.reached = 0
        self.pieced = False  # of more than one answer, or of an earlier run's and this one's
        self.blob = transfer.blobs / transfer.sha256  # unless it is git's, by git's name
        self.oid: str | None = None  # git's name for it, as the hub says
        self.there = False  # the blob was there, whole
        self.plain = False  # ask without Range: the host of the bytes refused one
        self._file, self.on_bytes = file, on_bytes
        self._hasher = hashlib.sha256()

    def take_up(self) -> None:
        """Digest what an earlier run left; more than the whole file is of no use."""
        if os.fstat(self._file.fileno()).st_size > self.transfer.size:
            self._file.truncate(0)
        while block := self._file.read(BLOCK):
            self._note(block)
            self.on_bytes(len(block), came=False)
        self.pieced = self.have > 0

    def restart(self) -> None:
        """Begin anew: what is there cannot be gone on from."""
        self._file.seek(0)
        self._file.truncate(0)
        self.on_bytes(-self.have, came=False)
        self.have, self.pieced, self._hasher = 0, False, hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Append; `ChecksumMismatch` where the file would grow beyond its size."""
        if self.have + len(block) > self.transfer.size:
            raise ChecksumMismatch(other_size(self.transfer, f"more than {self.transfer.size}"))
        rest = memoryview(block)
        while rest:  # a disk that is filling up takes less than it is given, once
            rest = rest[self._file.write(rest) :]
        self._note(block)
        self.on_bytes(len(block))

    def digest(self) -> str:
        """The sha256 of all that is there."""
        return self._hasher.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        self.transfer.partial.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the whole file its name in the home: git's only where these bytes have it.

        What a hub says unproven could be the name of another file, whose blob this would replace.
        """
        if self.oid is not None and self.oid == self._git_oid():
            self.blob = self.transfer.blobs / self.oid
        os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o644)
        self.transfer.partial.replace(self.blob)

    def find(self) -> bool:
        """Whether the file is in the home already, whole, by one of its names."""
        for name in filter(None, (self.oid, self.transfer.sha256)):
            if _is_whole(blob := self.transfer.blobs / name, self):
                self.blob, self.there = blob, True
                return True
        return False

    def _git_oid(self) -> str | None:
        if self.have > GIT_AT_MOST:
            return None
        hasher = hashlib.sha1(b"blob %d\0" % self.have, usedforsecurity=False)
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            hasher.update(block)
        return hasher.hexdigest()

    def _note(self, block: bytes) -> None:
        self._hasher.update(block)
        self.have += len(block)
        self.reached = max(self.reached, self.have)


def _bring(part: Part, session: Session, persist: Retry) -> None:
    """Go on from what is there until the file is whole; digest it, publish it or throw it away."""
    transfer = part.transfer
    with persist.pace.paused():
        part.take_up()

    def completed() -> str:
        persist(transfer.what, lambda: _go_on(part, session, persist), lambda: part.reached)
        return transfer.sha256 if part.there else part.digest()

    digest = completed()
    if digest != transfer.sha256 and part.pieced:
        # The part that an earlier run left was damaged, or the file changed between two answers.
        # That says nothing about what the hub serves now: take it from the beginning, once.
        part.restart()
        digest = completed()
    if digest != transfer.sha256:
        part.discard()
        raise ChecksumMismatch(
            f"{transfer.what} came with sha256 {digest}, the lock names {transfer.sha256}. It "
            "was thrown away and is never retried into acceptance: the hub, a mirror or a "
            "proxy serves other bytes. Ask its keeper, or --relock and review the diff."
        )
    try:
        transfer.refuse(part.blob if part.there else transfer.partial)
    except PrepError:
        part.discard()
        raise
    if not part.there:
        part.publish()


def _go_on(part: Part, session: Session, persist: Retry) -> None:
    """One answer's bytes, or two answers' where the first cannot be gone on with."""
    for _ in range(2):
        if part.have == part.transfer.size:
            return
        ranged = part.have > 0 and not part.plain
        headers = IDENTITY | ({"Range": f"bytes={part.have}-"} if ranged else {})
        try:
            # The hub's URL, not the place it redirects to: each try has a signature of its own.
            with session.open("GET", part.transfer.url, headers, accept=(416,)) as answer:
                part.oid = _oid(answer, part.transfer)
                if part.find():
                    return
                if _fits(answer.response, part):
                    _pour(answer.response, part, persist)
                    return
        except SignatureRefused:
            part.plain = ranged  # some hosts refuse the part, and would give the whole
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
            f"{host} answers for {repo}, but not as a hub does: it names no commit. Check --hub "
            "(HF_ENDPOINT), the proxy, or whether this network wants a login first."
        )
    if answer.commit != commit:
        raise HubRefused(
            f"{repo}: the hub answers for commit {printable(answer.commit, 60)}, the lock names "
            f"{commit}. A mirror that does not keep commits cannot be used; see --hub."
        )
    if answer.size not in (None, transfer.size):
        raise ChecksumMismatch(other_size(transfer, str(answer.size)))
    git = answer.etag is not None and re.fullmatch("[0-9a-f]{40}", answer.etag)
    return git[0] if git else None


def _fits(response: httpx.Response, part: Part) -> bool:
    """Whether the answer's bytes belong behind those that are there; a whole file always does."""
    size = part.transfer.size
    if response.status_code == 416:  # the file there is shorter now
        return False
    encoded = _is_encoded(response)
    if response.status_code == 206:
        begin = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        told = begin and int(begin[1]) == part.have and begin[2] in (str(size), "*")
        part.pieced = True
        return bool(part.have and told and not encoded)
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
    """The size of the whole file that the answer is of, where it can be said before it came."""
    if response.status_code == 206:
        told = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return int(told[2]) if told and told[2] != "*" else None
    return None if _is_encoded(response) else count_of(response.headers.get("Content-Length", ""))


def _pour(response: httpx.Response, part: Part, persist: Retry) -> None:
    try:
        # As it comes: a block size here would hold bytes back in memory, to be lost by a kill.
        for block in response.iter_bytes():
            part.write(block)
            persist.pace.came(len(block))
            persist.pace.check(part.transfer.what)
            if persist.given_up.is_set():
                break
    except ChecksumMismatch:
        part.discard()
        raise
    if part.have < part.transfer.size:
        raise TruncatedBody(response)


def other_size(transfer: Transfer, got: str, response: httpx.Response | None = None) -> str:
    """The one sentence for a file of another size than the lock's."""
    where = "on the hub"
    if response is not None and response.request.extensions["role"] == "bytes":
        where = f"at {host_of(response.request.url)}, where the hub sends for them"
    return (
        f"{transfer.what} has {got} bytes {where}, {transfer.size} in the lock. The hub does not "
        "serve the locked bytes; ask its keeper, or --relock and review."
    )


def _is_whole(path: Path, part: Part) -> bool:
    size = part.transfer.size
    # Never by a link: right bytes behind one that leads out of the home would be taken for ours.
    if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
        return False
    digest = digest_file(path, functools.partial(part.on_bytes, came=False))
    if digest.sha256 != part.transfer.sha256:
        part.on_bytes(-size, came=False)
        return False
    return True


@contextlib.contextmanager
def _claimed(partial: Path) -> Iterator[FileIO | None]:
    """The partial file, locked for us; None where another process has it, or had it.

    The file is its own lock, so that none is left behind. Where the file system knows no locks the
    digest before publishing, and the look at the home after it, must be enough.
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
