"""One file's bytes: by a ranged GET to a partial file, digested, then renamed to its blob.

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
from huggingface_hub import get_session, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

from prep.digest import BLOCK, digest_file
from prep.errors import PrepError, WrongBytes
from prep.fetch.failures import CutShort
from prep.fetch.pace import Pace, Persistence

ASK_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What to bring and where it goes; `size` in bytes. `what` names it in sentences.

    `refuse` raises where the bytes, though they are the lock's, must not be run.
    """

    url: str
    what: str
    size: int
    sha256: str
    partial: Path
    blob: Path
    refuse: Callable[[Path], None]


def download(transfer: Transfer, persist: Persistence, on_bytes: Callable[..., None]) -> None:
    """Bring the bytes to `transfer.blob`; what is there already, whole or in part, is not fetched.

    Raises `WrongBytes` when the whole file has another digest: never retried, never published.
    """
    while not _is_whole(transfer, on_bytes):
        with _claimed(transfer.partial) as file:
            if file is not None:
                part = Part(transfer, file, on_bytes)
                try:
                    if not _is_whole(transfer, on_bytes):  # another process was just done with it
                        _bring(part, persist)
                        return
                except OSError as error:  # a full disk does not say where
                    error.filename = error.filename or str(transfer.partial)
                    raise
                finally:
                    if part.have == 0:
                        part.discard()
        time.sleep(ASK_AGAIN_SECONDS)  # another process brings it; then look at the blob again
    transfer.refuse(transfer.blob)


def read_small(url: str, pace: Pace) -> bytes:
    """A small file, whole, in memory."""
    response = get_session().get(url, headers=_headers(0), timeout=pace.bounds())
    hf_raise_for_status(response)
    return response.content


def read_part(url: str, pace: Pace, start: int, count: int) -> bytes:
    """Bytes `start` to `start + count` of a file, and not the rest of it."""
    headers = _headers(0) | {"Range": f"bytes={start}-{start + count - 1}"}
    with get_session().stream("GET", url, headers=headers, timeout=pace.bounds()) as response:
        hf_raise_for_status(response)
        skip = 0 if response.status_code == 206 else start  # a server that ignores Range
        body = b""
        for block in response.iter_bytes():
            body += block
            if len(body) >= skip + count:
                break
    return body[skip : skip + count]


class Part:
    """A partial file that is open for us alone; `have` bytes of it are there and digested."""

    def __init__(self, transfer: Transfer, file: FileIO, on_bytes: Callable[..., None]) -> None:
        self.transfer = transfer
        self.have = self.reached = 0
        self.pieced = False  # of more than one answer, or of an earlier run's and this one's
        self._file, self._on_bytes = file, on_bytes
        self._hasher = hashlib.sha256()

    def take_up(self) -> None:
        """Digest what an earlier run left; more than the whole file is of no use."""
        if os.fstat(self._file.fileno()).st_size > self.transfer.size:
            self._file.truncate(0)
        while block := self._file.read(BLOCK):
            self._note(block)
            self._on_bytes(len(block), came=False)
        self.pieced = self.have > 0

    def restart(self) -> None:
        """Begin anew: what is there cannot be gone on from."""
        self._file.seek(0)
        self._file.truncate(0)
        self._on_bytes(-self.have, came=False)
        self.have, self.pieced, self._hasher = 0, False, hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Append; `WrongBytes` where the file would grow beyond its size."""
        if self.have + len(block) > self.transfer.size:
            raise WrongBytes(
                other_size(
                    self.transfer.what, f"more than {self.transfer.size}", self.transfer.size
                )
            )
        rest = memoryview(block)
        while rest:  # a disk that is filling up takes less than it is given, once
            rest = rest[self._file.write(rest) :]
        self._note(block)
        self._on_bytes(len(block))

    def digest(self) -> str:
        """The sha256 of all that is there."""
        return self._hasher.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        self.transfer.partial.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the whole file its name in the home."""
        os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o644)
        self.transfer.partial.replace(self.transfer.blob)

    def _note(self, block: bytes) -> None:
        self._hasher.update(block)
        self.have += len(block)
        self.reached = max(self.reached, self.have)


def _bring(part: Part, persist: Persistence) -> None:
    """Go on from what is there until the file is whole; digest it, publish it or throw it away."""
    transfer = part.transfer
    with persist.pace.paused():
        part.take_up()

    def whole() -> str:
        persist(transfer.what, lambda: _go_on(part, persist), lambda: part.reached)
        return part.digest()

    digest = whole()
    if digest != transfer.sha256 and part.pieced:
        # The part that an earlier run left was damaged, or the file changed between two answers.
        # That says nothing about what the hub serves now: take it from the beginning, once.
        part.restart()
        digest = whole()
    if digest != transfer.sha256:
        part.discard()
        raise WrongBytes(
            f"{transfer.what} came with sha256 {digest}, the lock names {transfer.sha256}. It "
            "was thrown away and is never retried into acceptance: the hub, a mirror or a "
            "proxy serves other bytes. Ask its keeper, or --relock and review the diff."
        )
    try:
        transfer.refuse(transfer.partial)
    except PrepError:
        part.discard()
        raise
    part.publish()


def _go_on(part: Part, persist: Persistence) -> None:
    """One answer's bytes, or two answers' where the first cannot be gone on with."""
    for _ in range(2):
        if part.have == part.transfer.size:
            return
        # The hub's URL, not the place it redirects to: httpx takes the token off at another host.
        with get_session().stream(
            "GET",
            part.transfer.url,
            headers=_headers(part.have),
            timeout=persist.pace.bounds(),
        ) as response:
            if _fits(response, part):
                _pour(response, part, persist)
                return
        part.restart()
    raise CutShort


def _fits(response: httpx.Response, part: Part) -> bool:
    """Whether the answer's bytes belong behind those that are there; a whole file always does."""
    size = part.transfer.size
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    if part.have and response.status_code == 416:  # the file there is shorter now
        return False
    hf_raise_for_status(response)
    if response.status_code == 206:
        begin = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        told = begin and int(begin[1]) == part.have and begin[2] in (str(size), "*")
        part.pieced = True
        return bool(part.have and told and not encoded)
    length = response.headers.get("Content-Length")
    if length is not None and not encoded and length != str(size):
        raise WrongBytes(other_size(part.transfer.what, length, size))
    if part.have:
        part.restart()  # the server ignores Range: the whole file comes
    return True


def _pour(response: httpx.Response, part: Part, persist: Persistence) -> None:
    try:
        # As it comes: a block size here would hold bytes back in memory, to be lost by a kill.
        for block in response.iter_bytes():
            part.write(block)
            persist.pace.came(len(block))
            persist.pace.check(part.transfer.what)
            if persist.given_up.is_set():
                break
    except WrongBytes:
        part.discard()
        raise
    if part.have < part.transfer.size:
        raise CutShort


def other_size(what: str, got: str, wanted: int) -> str:
    """The one sentence for a file of another size than the lock's."""
    return (
        f"{what} has {got} bytes on the hub, {wanted} in the lock. The hub does not serve the "
        "locked bytes; ask its keeper, or --relock and review."
    )


def _is_whole(transfer: Transfer, on_bytes: Callable[..., None]) -> bool:
    path = transfer.blob
    if not path.is_file() or path.stat().st_size != transfer.size:
        return False
    digest = digest_file(path, functools.partial(on_bytes, came=False))
    if digest.sha256 != transfer.sha256:
        on_bytes(-transfer.size, came=False)
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


def _headers(start: int) -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers()
    headers["Accept-Encoding"] = "identity"
    if start:
        headers["Range"] = f"bytes={start}-"
    return headers
