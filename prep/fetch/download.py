"""One file's bytes: by ranged GETs to a partial file, digested, then renamed to its blob.

One request is enough: the hub's answer on the way says commit, ETag and size, and the answer
behind its redirects is the bytes. Sizes are hints, the checksum decides.

A large file comes in several ranges side by side (`ranges.py`), where its host serves them.
huggingface_hub 1.21 would start a killed download from zero.
"""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from prep.errors import ChecksumMismatch, PrepError
from prep.fetch.part import Part, Transfer, locked, other_size
from prep.fetch.ranges import (
    CONTENT_RANGE,
    IDENTITY,
    RangesRefused,
    Requests,
    is_encoded,
    oid_of,
    receive_ranges,
)
from prep.fetch.retry import Retry
from prep.fetch.session import (
    Session,
    SignatureRefused,
    TruncatedBody,
    count_of,
    host_of,
)

POLL_SECONDS = 0.2


def download(transfer: Transfer, requests: Requests, on_bytes: Callable[..., None]) -> Path:
    """Fetch the file into `transfer.blobs`, and give its path; a partial file is resumed.

    Raises `ChecksumMismatch` where the whole file has another: never retried, never published.
    """
    while True:
        with locked(transfer.partial) as file:
            if file is not None:
                part = Part(transfer, file, on_bytes)
                try:
                    _complete(part, requests)
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
        return session.whole(answer.response)


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
        for block in session.blocks(response):
            body += block
            if len(body) >= skip + count:
                break
    if len(body) < skip + count:
        raise TruncatedBody(response)
    return body[skip : skip + count]


def _complete(part: Part, requests: Requests) -> None:
    """Resume until the file is whole; compare its checksum, then publish or discard it."""
    transfer, timer = part.transfer, requests.retry.timer
    part.load()

    def completed() -> str:
        _receive_all(part, requests)
        if part.is_placed:
            return transfer.sha256
        with timer.paused():
            while part.digest_more():
                timer.alive()
        return part.sha256

    digest = completed()
    if digest != transfer.sha256 and part.is_joined:
        # The part that an earlier run left was corrupt, or the file changed between two answers.
        # That says nothing about what the hub serves now: fetch it from the beginning, once.
        part.leave_ranges()
        part.restart()
        digest = completed()
    if digest != transfer.sha256:
        part.discard()
        raise ChecksumMismatch(
            f"{transfer.what} has sha256 {digest}, expected {transfer.sha256} (lock). The file was "
            "discarded and is never retried: the hub, a mirror or a proxy serves other bytes. Ask "
            "its operator, or --relock and review the diff."
        )
    if not part.is_placed:
        part.drop_record()
    try:
        transfer.refuse(part.blob if part.is_placed else transfer.partial)
    except PrepError:
        part.discard()
        raise
    if not part.is_placed:
        part.publish()


def _receive_all(part: Part, requests: Requests) -> None:
    """All bytes that are not there, in several ranges or by one request after the other."""
    if part.in_ranges:
        try:
            receive_ranges(part, requests)
            return
        except RangesRefused:
            part.leave_ranges()
    with requests.streams:
        requests.retry(part.transfer.what, lambda: _receive(part, requests), lambda: part.reached)


def _receive(part: Part, requests: Requests) -> None:
    """The bytes of one answer, or of a second one where the first cannot be appended."""
    for _ in range(2):
        if part.have == part.transfer.size:
            return
        ranged = part.have > 0 and not part.without_range
        headers = IDENTITY | ({"Range": f"bytes={part.have}-"} if ranged else {})
        try:
            # The hub's URL, not the one it redirects to: each try has a signature of its own.
            with requests.session.open("GET", part.transfer.url, headers, accept=(416,)) as answer:
                part.oid = oid_of(answer, part.transfer)
                if part.find_blob():
                    return
                if _can_append(answer.response, part):
                    _write_body(answer.response, part, requests.retry)
                    return
        except SignatureRefused:
            part.without_range = ranged  # some hosts refuse the part, and would give the whole
            raise
        part.restart()
    raise TruncatedBody(answer.response)


def _can_append(response: httpx.Response, part: Part) -> bool:
    """Whether the answer's bytes follow those that are there; a whole file restarts them."""
    size = part.transfer.size
    if response.status_code == 416:  # the file there is shorter now
        return False
    encoded = is_encoded(response)
    if response.status_code == 206:
        begin = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        follows = begin and int(begin[1]) == part.have and begin[2] in (str(size), "*")
        part.is_joined = True
        return bool(part.have and follows and not encoded)
    if (length := _length(response)) == 0 and size:  # as CDNs answer in a bad hour
        raise TruncatedBody(response)
    if length not in (None, size):
        where = "on the hub"
        if response.request.extensions["role"] == "bytes":
            where = f"at the storage host {host_of(response.request.url)}"
        raise ChecksumMismatch(other_size(part.transfer, str(length), where))
    if part.have:
        part.restart()  # the server ignores Range: the whole file comes
    return True


def _length(response: httpx.Response) -> int | None:
    """The size of the whole file that the answer is of, where its headers say it."""
    if response.status_code == 206:
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return int(found[2]) if found and found[2] != "*" else None
    return None if is_encoded(response) else count_of(response.headers.get("Content-Length", ""))


def _write_body(response: httpx.Response, part: Part, retry: Retry) -> None:
    try:
        # As it comes: a block size here would hold bytes back in memory, to be lost by a kill.
        for block in response.iter_bytes():
            part.append(block)
            retry.timer.received(len(block))
            retry.timer.check(part.transfer.what)
            if retry.cancelled.is_set():
                break
    except ChecksumMismatch:
        part.discard()
        raise
    if part.have < part.transfer.size:
        raise TruncatedBody(response)
