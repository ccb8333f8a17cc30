"""One file's bytes: by a ranged GET to a partial file, digested, then renamed to its blob.

A partial file is named by the sha256 that it must have, so it is the same file for every run and
every repository, and going on with it needs no other note. huggingface_hub 1.21 would start a
killed download from zero.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock
from huggingface_hub import get_session, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

from prep.digest import BLOCK, digest_file
from prep.errors import HubBusy, PrepError, WrongBytes

ANSWER_SECONDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What to bring and where it goes; `size` in bytes, `timeout` in seconds without a byte.

    `refuse` raises where the bytes, though they are the lock's, must not be run.
    """

    url: str
    what: str
    size: int
    sha256: str
    partial: Path
    blob: Path
    timeout: float
    refuse: Callable[[Path], None]


def download(transfer: Transfer, on_bytes: Callable[..., None]) -> None:
    """Bring the bytes to `transfer.blob`; what is there already, whole or in part, is not fetched.

    Raises `WrongBytes` when the whole file has another digest: never retried, never published.
    """
    if transfer.blob.is_file() and _is_whole(transfer.blob, transfer, on_bytes):
        transfer.refuse(transfer.blob)
        return
    with FileLock(f"{transfer.partial}.lock"):
        start = _usable(transfer.partial, transfer.size)
        digest = _stream(transfer, start, on_bytes)
        if digest != transfer.sha256 and start:
            # The part that an earlier run left was damaged, or the hub did not go on from there.
            # That says nothing about the hub's bytes: take them from the beginning, once.
            transfer.partial.unlink()
            on_bytes(-transfer.size, came=False)
            digest = _stream(transfer, 0, on_bytes)
        if digest != transfer.sha256:
            transfer.partial.unlink()
            raise WrongBytes(
                f"{transfer.what} came with sha256 {digest}, the lock names {transfer.sha256}. It "
                "was thrown away and is never retried into acceptance: the hub, a mirror or a "
                "proxy serves other bytes. Ask its keeper, or --relock and review the diff."
            )
        try:
            transfer.refuse(transfer.partial)
        except PrepError:
            transfer.partial.unlink()
            raise
        transfer.partial.chmod(0o644)
        transfer.partial.replace(transfer.blob)
        Path(f"{transfer.partial}.lock").unlink(missing_ok=True)


def read_small(url: str, timeout: float) -> bytes:
    """A small file, whole, in memory."""
    response = get_session().get(
        url, headers=_headers(0), timeout=httpx.Timeout(timeout, connect=ANSWER_SECONDS)
    )
    hf_raise_for_status(response)
    return response.content


def read_part(url: str, timeout: float, start: int, count: int) -> bytes:
    """Bytes `start` to `start + count` of a file, and not the rest of it."""
    ends = {"Range": f"bytes={start}-{start + count - 1}"}
    limits = httpx.Timeout(timeout, connect=ANSWER_SECONDS)
    with get_session().stream("GET", url, headers=_headers(0) | ends, timeout=limits) as response:
        hf_raise_for_status(response)
        skip = 0 if response.status_code == 206 else start  # a server that ignores Range
        body = b""
        for block in response.iter_bytes():
            body += block
            if len(body) >= skip + count:
                break
    return body[skip : skip + count]


def _is_whole(path: Path, transfer: Transfer, on_bytes: Callable[..., None]) -> bool:
    if path.stat().st_size != transfer.size:
        return False
    digest = digest_file(path, functools.partial(on_bytes, came=False))
    if digest.sha256 != transfer.sha256:
        on_bytes(-transfer.size, came=False)
        return False
    return True


def _usable(partial: Path, size: int) -> int:
    """How many bytes of an earlier run can be gone on from."""
    have = partial.stat().st_size if partial.is_file() else 0
    if have > size:
        partial.unlink()
        return 0
    return have


def _stream(transfer: Transfer, start: int, on_bytes: Callable[..., None]) -> str:
    """Append from byte `start` on; gives the sha256 of the whole partial file."""
    hasher = hashlib.sha256()
    if start:
        with transfer.partial.open("rb") as file:
            while block := file.read(BLOCK):
                hasher.update(block)
                on_bytes(len(block), came=False)
    if start == transfer.size and transfer.partial.is_file():
        return hasher.hexdigest()
    timeout = httpx.Timeout(transfer.timeout, connect=ANSWER_SECONDS)
    # The hub's URL, not the place it redirects to: httpx takes the token off at another host.
    with get_session().stream(
        "GET", transfer.url, headers=_headers(start), timeout=timeout
    ) as response:
        hf_raise_for_status(response)
        if start and response.status_code != 206:
            on_bytes(-start, came=False)  # the server ignores Range: the whole file comes
            start, hasher = 0, hashlib.sha256()
        with transfer.partial.open("ab") as file:
            file.truncate(start)
            # As it comes: a block size here would hold bytes back in memory, to be lost by a kill.
            for block in response.iter_bytes():
                file.write(block)
                hasher.update(block)
                on_bytes(len(block))
            file.flush()
            os.fsync(file.fileno())
            have = file.tell()
    if have < transfer.size:
        raise HubBusy(
            f"{transfer.what}: the hub sent {have} of {transfer.size} bytes and stopped. They are "
            "kept; run again to go on from there."
        )
    return hasher.hexdigest()


def _headers(start: int) -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers()
    headers["Accept-Encoding"] = "identity"
    if start:
        headers["Range"] = f"bytes={start}-"
    return headers
