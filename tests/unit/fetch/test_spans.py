"""Which bytes are there: cut, taken, joined, and recorded so that a wrong record is none."""

import random
import struct
import zlib

from prep.fetch.spans import (
    HEAD,
    MAGIC,
    MOST,
    PAGE,
    Spans,
    read_record,
    record_of,
    record_place,
)


def there(spans: Spans) -> list[tuple[int, int, int]]:
    return [(span.start, span.reached, span.stop) for span in spans.all]


def record(*pairs: int, count: int | None = None, magic: bytes = MAGIC) -> bytes:
    body = HEAD.pack(magic, len(pairs) // 2 if count is None else count)
    body += struct.pack(f"<{len(pairs)}Q", *pairs)
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_file_is_cut_for_all_requests_and_its_end_again_in_smaller_parts() -> None:
    spans = Spans(6400)
    spans.cut(8, 100)
    lengths = [span.stop - span.start for span in spans.all]
    assert lengths == [600] * 8 + [200] * 8
    small = Spans(850)
    small.cut(8, 100)
    assert [span.start for span in small.all] == [0, 106, 212, 318, 425, 531, 637, 743]
    tiny = Spans(150)
    tiny.cut(8, 100)
    assert there(tiny) == [(0, 0, 150)]


def test_what_is_there_is_not_cut_and_many_gaps_are_enough() -> None:
    spans = Spans(1000, [(0, 600)])
    spans.cut(2, 100)
    assert there(spans) == [(0, 600, 800), (800, 800, 1000)]
    gaps = Spans(1000, [(0, 1), (100, 101), (200, 201)])
    before = there(gaps)
    gaps.cut(2, 10)
    assert there(gaps) == before


def test_spans_are_taken_from_the_beginning_and_then_halved() -> None:
    spans = Spans(1000, [(0, 0), (400, 500)])
    first, second = spans.take(100), spans.take(100)
    assert (first, second) == (spans.all[0], spans.all[1])
    half = spans.take(100)
    assert half is not None
    assert (half.start, half.stop, spans.all[1].stop) == (750, 1000, 750)
    spans.take(100)
    assert there(spans)[:2] == [(0, 0, 200), (200, 200, 400)]
    while spans.take(100) is not None:
        pass
    assert min(span.left for span in spans.all) >= 100


def test_full_span_joins_the_next_and_the_beginning_grows() -> None:
    spans = Spans(300, [(0, 0), (100, 150), (200, 300)])
    first, second = spans.all[:2]
    spans.add(second, 50)
    assert there(spans) == [(0, 0, 100), (100, 300, 300)]
    assert (spans.prefix, spans.there) == (0, 200)
    spans.add(first, 40)
    assert (spans.prefix, spans.there) == (40, 240)
    spans.add(first, 60)
    assert there(spans) == [(0, 300, 300)]


def test_bytes_on_their_way_to_an_end_that_was_taken_are_counted_once() -> None:
    spans = Spans(100)
    first = spans.take(10)
    assert first is not None
    second = spans.take(10)
    assert second is not None
    assert spans.add(first, 60) == 50
    assert (spans.prefix, spans.there) == (50, 50)
    assert spans.add(second, 50) == 50
    assert there(spans) == [(0, 100, 100)]


def test_whatever_order_bytes_come_in_every_byte_is_counted_once() -> None:
    draw = random.Random(4)
    for size in (1, 7, 1000, 12345):
        spans = Spans(size)
        spans.cut(8, 10)
        taken = []
        while spans.prefix < size:
            if (span := spans.take(10)) is not None:
                taken.append(span)
            span = draw.choice([span for span in taken if span.left])
            spans.add(span, draw.randrange(1, span.left + 1))
            again = read_record(record_of(spans), size)
            assert again is not None
            assert there(again) == there(spans)
        assert there(spans) == [(0, size, size)]


def test_record_lies_in_one_page_behind_the_file() -> None:
    assert [record_place(size) for size in (1, PAGE, PAGE + 1)] == [PAGE, PAGE, 2 * PAGE]
    most = Spans(10**12, [(n * 1000, n * 1000 + 1) for n in range(MOST)])
    assert len(record_of(most)) <= PAGE
    assert read_record(record_of(most).ljust(PAGE, b"x"), 10**12) is not None


def test_record_with_any_changed_byte_is_none() -> None:
    good = record_of(Spans(1000, [(0, 10), (500, 600)]))
    assert read_record(good, 1000) is not None
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1
        assert read_record(bytes(changed), 1000) is None, at
        assert read_record(good[:at], 1000) is None, at


def test_record_that_counts_what_cannot_be_there_is_none() -> None:
    assert read_record(record(0, 10, 20, 30), 30) is not None
    for wrong in (
        record(1, 10),
        record(0, 10, 5, 20),
        record(0, 10, 20, 15),
        record(0, 31),
        record(),
        record(0, 1, count=2),
        record(*range(2 * MOST + 2)),
        record(0, 10, magic=b"MPspans2"),
    ):
        assert read_record(wrong, 30) is None, wrong
