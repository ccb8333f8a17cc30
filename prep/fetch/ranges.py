"""One file's bytes by several ranged GETs side by side: one connection rarely fills the line.

The first range is asked for alone. Any answer that is not the range of the same file ends it; then
what is there without a gap is kept, and one request fetches the rest.
"""

import re
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import httpx

from prep.errors import ChecksumMismatch, HubRefused, NotAHub
from prep.fetch.part import Part, Transfer, other_size
from prep.fetch.retry import RetriesExhausted, Retry
from prep.fetch.session import Answer, Session, SignatureRefused, TruncatedBody, host_of
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


def receive_ranges(part: Part, requests: Requests) -> None:
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
        part.oid = oid_of(answer, transfer)
        if not part.accepted and part.find_blob():
            return
        _check_range(answer.response, part, span)
        part.accept()
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
    if response.status_code != 206 or is_encoded(response) or not (follows and same):
        raise RangesRefused
    if part.accepted and etag != part.etag:
        raise RangesRefused
    part.etag = etag


def oid_of(answer: Answer, transfer: Transfer) -> str | None:
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


def is_encoded(response: httpx.Response) -> bool:
    """Whether the body is packed, so that its bytes are not the file's."""
    return bool(response.headers.get("Content-Encoding", "identity") != "identity")
