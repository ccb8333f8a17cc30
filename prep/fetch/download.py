"""One file's bytes: by ranged GETs to a partial file, digested, then renamed to its blob.

One request is enough: the hub's answer on the way says commit, ETag and size, and the answer
behind its redirects is the bytes. Sizes are hints, the checksum decides.

A large file comes in several ranges side by side, where the storage host serves them: one
connection is often a small part of the line. The first range is asked for alone. Any answer that
is not that range of the same file ends it: what is there without a gap is kept, and one request
fetches the rest. huggingface_hub 1.21 would start a killed download from zero.
"""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx

from prep.errors import ChecksumMismatch, HubRefused, NotAHub, PrepError
from prep.fetch.part import Part, Transfer, locked, other_size
from prep.fetch.retry import RetriesExhausted, Retry
from prep.fetch.session import (
    Answer,
    Session,
    SignatureRefused,
    TruncatedBody,
    count_of,
    host_of,
)
from prep.fetch.spans import Span
from prep.files.reader import printable

POLL_SECONDS = 0.2
FIRST_SECONDS = 0.01  # between two looks whether the first range is there
# Requests of one child at a time, over all its files: as many as the hub's own client makes
# (`snapshot_download`), so that no hub or gateway that serves it refuses us.
STREAMS = 8
LEAST_SHARE = 8  # of `ranged_above`: no range is smaller, or its request would take the most time
IDENTITY = {"Accept-Encoding": "identity"}
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,40})-[0-9]+/([0-9]{1,40}|\*)")


class RangesRefused(Exception):
    """An answer that is not the range of the same file: one request has to fetch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What the downloads of a child share; `streams` bounds their requests at a time."""

    session: Session
    retry: Retry
    streams: threading.Semaphore


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
        part.in_ranges = False
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
            _receive_ranges(part, requests)
            return
        except RangesRefused:
            part.leave_ranges()
    with requests.streams:
        requests.retry(part.transfer.what, lambda: _receive(part, requests), lambda: part.reached)


def _receive_ranges(part: Part, requests: Requests) -> None:
    """Several requests side by side; meanwhile this thread digests what is there without a gap."""
    least = max(1, part.transfer.ranged_above // LEAST_SHARE)
    part.spans.cut(STREAMS, least)
    running: set[Future[None]] = set()

    def fetch(span: Span) -> None:
        try:
            requests.retry(
                part.transfer.what,
                lambda: _receive_span(part, span, requests),
                lambda: span.reached,
            )
        except RetriesExhausted as error:
            if isinstance(error.cause, SignatureRefused):  # of hosts that refuse every range
                part.without_range = True
                raise RangesRefused from error
            raise
        finally:
            span.taken = False
            requests.streams.release()

    def begin(pool: ThreadPoolExecutor) -> bool:
        """Start one more request, where there is work for it."""
        if part.is_placed or not requests.streams.acquire(blocking=not running):
            return False
        if (span := part.take(least)) is None:
            requests.streams.release()
            return False
        running.add(pool.submit(fetch, span))
        return True

    with ThreadPoolExecutor(STREAMS) as pool:
        try:
            while True:
                while len(running) < (STREAMS if part.accepted else 1) and begin(pool):
                    pass
                if not running:
                    return
                pause = POLL_SECONDS if part.accepted else FIRST_SECONDS
                if part.digest_more():
                    pause = 0
                else:
                    part.flush_some()
                done, _ = wait(running, pause, FIRST_COMPLETED)
                running -= done
                for job in done:
                    job.result()
        except RangesRefused:
            part.stopped.set()
            raise
        except BaseException:  # as for several files: the others keep their bytes and end
            requests.retry.cancelled.set()
            raise


def _receive_span(part: Part, span: Span, requests: Requests) -> None:
    """The bytes of one answer; raises `RangesRefused` where it is not the range of this file."""
    transfer, retry = part.transfer, requests.retry
    if part.stopped.is_set() or not span.left:
        return
    headers = IDENTITY | {"Range": f"bytes={span.reached}-{span.stop - 1}"}
    with requests.session.open("GET", transfer.url, headers, accept=(416,)) as answer:
        part.oid = _oid(answer, transfer)
        if not part.accepted and part.find_blob():
            return
        _check_range(answer.response, part, span)
        part.accepted = part.is_joined = True
        for block in answer.response.iter_bytes():
            part.fill(span, block)
            retry.timer.received(len(block))
            retry.timer.check(transfer.what)
            if part.stopped.is_set() or not span.left:
                return
            if retry.cancelled.is_set():
                break
    raise TruncatedBody(answer.response)


def _check_range(response: httpx.Response, part: Part, span: Span) -> None:
    begin = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    follows = begin and int(begin[1]) == span.reached
    same = begin and begin[2] in (str(part.transfer.size), "*")
    etag = response.headers.get("ETag")
    if response.status_code != 206 or _is_encoded(response) or not (follows and same):
        raise RangesRefused
    if part.accepted and etag != part.etag:
        raise RangesRefused
    part.etag = etag


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
                part.oid = _oid(answer, part.transfer)
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
        where = "on the hub"
        if response.request.extensions["role"] == "bytes":
            where = f"at the storage host {host_of(response.request.url)}"
        raise ChecksumMismatch(other_size(part.transfer, str(length), where))
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
