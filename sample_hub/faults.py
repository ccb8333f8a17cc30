"""What can go wrong on the way: the tests choose a `Fault` for one request of one file."""

import gzip
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from threading import Event, Lock
from typing import BinaryIO

CHUNK = 256 * 1024
PER_SECOND = 20  # writes per second of a body with a rate: even, without one write for each byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to one answer; fields combine, and a Fault without arguments does nothing.

    To add one: a field here whose default does nothing, and the line that heeds it, here, in
    `connection.py` or in `server.py`. `flows.py` names those that were seen in the world.
    """

    status: int | None = None  # this status and a short error, in place of what was asked for
    headers: Mapping[str, str] = field(default_factory=dict)  # added to the answer's, or replacing
    code: str | None = None  # X-Error-Code, with `status`
    message: str | None = None  # X-Error-Message, with `status`
    refuse: float = 0.0  # hang up, and listen to nobody for so many seconds
    reset: bool = (
        False  # end with a TCP reset: before the answer, or with `cut` after so many bytes
    )
    cut: int | None = None  # close the connection after so many bytes of this body
    corrupt: int = 0  # so many bytes at a file's end are wrong; size, ETag and name stay right
    content: bytes | None = None  # the file is another one now, with its own size and ETag
    stall: float = 0.0  # seconds of silence before the body; without one (HEAD), before the headers
    stall_at: int = 0  # with `stall`: so many bytes of the body come before the silence
    drip: int | None = None  # bytes per second of this body, whatever the hub's rate
    ignore_range: bool = False  # 200 and the whole file, whatever part was asked for
    chunked: bool = False  # a body without its length: a file's, or that of `page`
    gzip: bool = False  # a file compressed, though nobody asked; HEAD gives the compressed length
    elsewhere: str | None = None  # the origin to which a large file's redirect leads
    wait: float = 0.0  # seconds from the request to the first byte of the answer
    page: bool = False  # a web page of somebody on the way, with `status` or 200; 302: to a login
    moved: str | None = None  # a permanent redirect to the hub at this URL, and no metadata
    without: frozenset[str] = frozenset()  # headers that are left out, in lower case
    with_range: bool = False  # all of this is done to a request with a Range header only
    empty: bool = False  # the right status, and no byte of a file
    direct: bool = False  # a file's bytes by its first address, as from a server that keeps copies
    etag: Callable[[str], str] | None = None  # the ETag headers, made of the hub's own digest
    ignore_query: bool = False  # model info as if no blobs had been asked for; listings as ever
    drop_query: bool = False  # the redirect of a renamed repository forgets the query


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The bytes `span` of `stream`; `size` is that of a whole file, which a fault may change."""

    stream: BinaryIO
    span: range
    size: int | None = None

    def of(self, fault: Fault) -> "Body":
        """What is sent in its place."""
        if self.size is None or not (fault.corrupt or fault.gzip):
            return self
        self.stream.seek(self.span.start)
        data = self.stream.read(len(self.span))
        good = max(0, self.size - fault.corrupt - self.span.start)
        data = data[:good] + bytes(byte ^ 0xFF for byte in data[good:])
        if fault.gzip:
            data = gzip.compress(data, 1)
        return Body(stream=BytesIO(data), span=range(len(data)), size=self.size)


class Line:
    """What all connections share: so many bytes per second together."""

    def __init__(self, rate: int) -> None:
        self._rate, self._free, self._lock = rate, 0.0, Lock()

    def seconds(self, count: int) -> float:
        """How long so many bytes have to wait for their turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free)
            self._free = turn + count / self._rate
            return turn - now


def pour(
    body: Body,
    fault: Fault,
    write: Callable[[bytes], object],
    *,
    rate: int | None,
    line: Line | None,
    closing: Event,
    last: Callable[[int], None],
) -> bool:
    """Write a body as the fault says; gives whether it came to its end.

    `last` is called with their number just before the last bytes leave: a client that has them
    may count its requests at once.
    """
    span = body.span
    stop = span.stop if fault.cut is None else min(span.stop, span.start + fault.cut)
    rate = fault.drip or (rate if body.size is not None else None)
    step = min(CHUNK, max(1, rate // PER_SECOND)) if rate else CHUNK
    silent = min(stop, span.start + fault.stall_at) if fault.stall else None
    began, at = time.monotonic(), span.start
    body.stream.seek(at)
    while at < stop or silent is not None:
        if at == silent:
            closing.wait(fault.stall)
            silent = None
            continue
        chunk = body.stream.read(min(step, (stop if silent is None else silent) - at))
        if not chunk:
            break
        if rate:
            closing.wait(max(0, began + (at - span.start) / rate - time.monotonic()))
        if line is not None and body.size is not None:
            closing.wait(line.seconds(len(chunk)))
        at += len(chunk)
        if at == stop:
            last(len(chunk))
        write(chunk)
    return at == span.stop
