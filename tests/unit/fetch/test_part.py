"""A partial file counts the bytes that were written, whatever happens to it."""

import errno
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prep.errors import PrepError
from prep.fetch.part import Part, Transfer, bytes_there, locked
from tests.support.paths import ROOT
from tests.support.runs import in_namespace, process
from tests.support.small_homes import sha256

BODY = random.Random(1).randbytes(100_000)


@contextmanager
def part_of(folder: Path, body: bytes = BODY, ranged_above: int = 1000) -> Iterator[Part]:
    transfer = Transfer(
        url="http://hub/org/x",
        repo="org/x",
        commit="0" * 40,
        path="x",
        size=len(body),
        sha256=sha256(body),
        partial=folder / "part",
        blobs=folder,
        refuse=lambda path: None,
        ranged_above=ranged_above,
    )
    with locked(transfer.partial) as file:
        assert file is not None
        part = Part(transfer, file, lambda count, received=True: None)
        part.load()
        yield part


def fill(part: Part, start: int, stop: int) -> None:
    """As a request for these bytes does."""
    if not part.accepted:
        part.accept()
    span = next(span for span in part.spans.all if span.reached == start)
    part.fill(span, BODY[start:stop])


def digest(part: Part) -> str:
    while part.digest_more():
        pass
    return part.sha256


def test_bytes_behind_a_gap_are_resumed_and_the_gap_is_not_counted(tmp_path: Path) -> None:
    with part_of(tmp_path) as part:
        part.spans.cut(4, 1000)
        starts = [span.start for span in part.spans.all]
        fill(part, starts[2], starts[2] + 500)
        fill(part, 0, 700)
    assert bytes_there(tmp_path / "part", len(BODY)) == 1200
    with part_of(tmp_path) as part:
        assert (part.have, part.spans.prefix, part.is_joined) == (1200, 700, True)
        fill(part, 700, starts[1])
        fill(part, starts[1], starts[2])
        assert part.spans.prefix == starts[2] + 500
        while part.have < len(BODY):
            span = next(span for span in part.spans.all if span.left)
            fill(part, span.reached, span.stop)
        assert digest(part) == sha256(BODY)
        part.drop_record()
        part.publish()
    assert [path.name for path in tmp_path.iterdir()] == [sha256(BODY)]
    assert (tmp_path / sha256(BODY)).read_bytes() == BODY


def test_beginning_that_one_request_left_is_resumed_in_ranges(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(BODY[:40_000])
    assert bytes_there(tmp_path / "part", len(BODY)) == 40_000
    with part_of(tmp_path) as part:
        assert part.spans.prefix == 40_000
        fill(part, 40_000, len(BODY))
        assert digest(part) == sha256(BODY)


def test_without_ranges_only_what_has_no_gap_before_it_is_kept(tmp_path: Path) -> None:
    with part_of(tmp_path) as part:
        part.spans.cut(4, 1000)
        fill(part, part.spans.all[1].start, part.spans.all[1].start + 500)
        fill(part, 0, 700)
    with part_of(tmp_path, ranged_above=1 << 30) as part:
        assert part.have == 700
        part.append(BODY[700:])
        assert digest(part) == sha256(BODY)
    assert (tmp_path / "part").read_bytes() == BODY


@pytest.mark.parametrize("behind", [b"", b"x" * 4096, b"\0" * 9000])
def test_file_that_is_too_long_and_has_no_record_is_begun_anew(
    tmp_path: Path, behind: bytes
) -> None:
    (tmp_path / "part").write_bytes(BODY.ljust(102_400, b"\0") + behind)
    assert bytes_there(tmp_path / "part", len(BODY)) == 0
    with part_of(tmp_path) as part:
        assert part.have == 0
    assert (tmp_path / "part").stat().st_size == 0


def test_nothing_is_there_where_no_file_is_or_it_cannot_be_read(tmp_path: Path) -> None:
    assert bytes_there(tmp_path / "none", 10) == 0
    assert bytes_there(tmp_path, 10) == 0


def test_large_part_is_digested_in_several_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prep.fetch.part.DIGEST_AT_ONCE", 30_000)
    with part_of(tmp_path) as part:
        fill(part, 0, len(BODY))
        assert [part.digest_more() for _ in range(4)] == [True, True, True, False]
        assert part.sha256 == sha256(BODY)


def test_part_that_another_cut_is_an_error_and_no_checksum(tmp_path: Path) -> None:
    with part_of(tmp_path) as part:
        fill(part, 0, 50_000)
        os.truncate(tmp_path / "part", 10)
        with pytest.raises(OSError, match="cut by another process") as caught:
            digest(part)
    assert caught.value.errno == errno.EIO
    assert not isinstance(caught.value, PrepError)


FULL = """
import sys
from pathlib import Path
from tests.unit.fetch.test_part import BODY, bytes_there, fill, part_of
folder = Path(sys.argv[1])
written = 0
with part_of(folder) as part:
    part.spans.cut(4, 1000)
    try:
        while span := part.take(1000):
            while span.left:
                fill(part, span.reached, min(span.stop, span.reached + 3000))
        raise SystemExit("the disk was not full")
    except OSError as error:
        print(error.strerror)
    record = [(span.start, span.reached) for span in part.spans.all]
assert bytes_there(folder / "part", len(BODY)) == sum(stop - start for start, stop in record) > 0
content = (folder / "part").read_bytes()
assert all(content[start:stop] == BODY[start:stop] for start, stop in record)
"""


def test_full_disk_counts_what_it_took_and_no_more(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec "$@"'
    prefix = (*in_namespace("--mount"), "sh", "-c", mount, "sh")
    done = process(*prefix, sys.executable, "-c", FULL, tmp_path, cwd=ROOT)
    assert (done.code, done.out) == (0, "No space left on device\n")
