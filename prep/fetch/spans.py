"""Which bytes of a partial file are there, where several requests fill it side by side.

Such a file is as long as the whole one, with holes, and ends in a record of its spans. The record
is written after the bytes that it counts, by one write within one page: a kill leaves the old one
or the new one. A power cut may keep it and lose bytes; then the checksum of the whole file tells.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAGIC = b"MPspans1"
PAGE = 4096  # bytes; a record lies in one
MOST = 100  # spans in a record
HEAD = struct.Struct("<8sI")
TAIL_SHARE = 4  # of what is left: its end is fetched while what lies before it is digested


@dataclass(eq=False, slots=True)
class Span:
    """The bytes from `start` to `stop`, those up to `reached` are there; `taken` by a request."""

    start: int
    reached: int
    stop: int
    taken: bool = False

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self.stop - self.reached


class Spans:
    """All bytes of a file of `size`, in order and without a gap between two spans."""

    def __init__(self, size: int, there: Iterable[tuple[int, int]] = ((0, 0),)) -> None:
        """`there` are begin and end of what is there; the first begins at 0."""
        begun = list(there)
        stops = [start for start, _ in begun[1:]] + [size]
        self.all = [Span(*pair, stop) for pair, stop in zip(begun, stops, strict=True)]

    @property
    def there(self) -> int:
        """Bytes that are there."""
        return sum(span.reached - span.start for span in self.all)

    @property
    def prefix(self) -> int:
        """Bytes that are there without a gap from the beginning."""
        return self.all[0].reached

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return sum(span.left for span in self.all)

    def add(self, span: Span, count: int) -> int:
        """So many bytes of the span were written; a span that is full joins the next one.

        Gives how many of them are the span's: another request may have taken its end meanwhile.
        """
        count = min(count, span.left)
        span.reached += count
        at = self.all.index(span)
        if not span.left and at + 1 < len(self.all):
            self.all[at + 1].start = span.start
            del self.all[at]
        return count

    def cut(self, streams: int, least: int) -> None:
        """Cut the largest gap for so many requests, none of fewer bytes than `least`.

        The end is cut for itself, and again: while it comes, what lies before it can be digested.
        """
        if len(self.all) > streams:
            return
        span = max(self.all, key=lambda span: span.left)
        begin, points = span.reached, list[int]()
        while begin < span.stop:
            tail = (span.stop - begin) // TAIL_SHARE
            end = span.stop - (tail if tail >= streams * least else 0)
            parts = min(streams, max(1, (end - begin) // least))
            points += [begin + (end - begin) * part // parts for part in range(parts)]
            begin = end
        for point in points[1:]:
            span = self._split(span, point)

    def take(self, least: int) -> Span | None:
        """The first span that no request has taken, or half of the largest one; None: no work."""
        span = next((span for span in self.all if span.left and not span.taken), None)
        if span is None:
            largest = max(self.all, key=lambda span: span.left)
            if largest.left < 2 * least or len(self.all) >= MOST:
                return None
            span = self._split(largest, largest.reached + largest.left // 2)
        span.taken = True
        return span

    def _split(self, span: Span, at: int) -> Span:
        rest = Span(at, at, span.stop)
        span.stop = at
        self.all.insert(self.all.index(span) + 1, rest)
        return rest


def record_place(size: int) -> int:
    """Where the record of a file of that size begins: at a page behind it."""
    return -(-size // PAGE) * PAGE


def record_of(spans: Spans) -> bytes:
    """The record, one page at most."""
    pairs = [place for span in spans.all for place in (span.start, span.reached)]
    body = HEAD.pack(MAGIC, len(spans.all)) + struct.pack(f"<{len(pairs)}Q", *pairs)
    return body + zlib.crc32(body).to_bytes(4, "little")


def read_record(data: bytes, size: int) -> Spans | None:
    """The spans of a file of that size; None where this is no record of one."""
    if len(data) < HEAD.size:
        return None
    magic, count = HEAD.unpack_from(data)
    end = HEAD.size + 16 * count
    if magic != MAGIC or not 0 < count <= MOST or len(data) < end + 4:
        return None
    ends: Sequence[int] = struct.unpack_from(f"<{2 * count}Q", data, HEAD.size)
    sealed = zlib.crc32(data[:end]).to_bytes(4, "little") == data[end : end + 4]
    if not sealed or ends[0] != 0 or list(ends) != sorted(ends) or ends[-1] > size:
        return None
    return Spans(size, zip(ends[::2], ends[1::2], strict=True))
