"""Checksums are hashlib's, whatever the size; a file that cannot be read gives its error."""

import errno
import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from prep.files.checksum import BLOCK, Digest, digest_file, digest_files

SIZES = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK)


def content(size: int) -> bytes:
    """Bytes of which no block is like the next, so that a block left over is seen."""
    return hashlib.shake_128(str(size).encode()).digest(size)


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, Digest]:
    """Files of all sizes, and what each must come to."""
    wanted = {}
    for size in SIZES:
        path = tmp_path / f"{size}.bin"
        path.write_bytes(content(size))
        wanted[path] = Digest(size, hashlib.sha256(content(size)).hexdigest())
    return wanted


def test_a_digest_is_hashlibs(files: dict[Path, Digest]) -> None:
    assert {path: digest_file(path) for path in files} == files


def test_many_are_digested_like_one(files: dict[Path, Digest]) -> None:
    assert digest_files(files) == files
    assert digest_files([]) == {}


def test_the_largest_is_begun_first(files: dict[Path, Digest]) -> None:
    assert [path.stem for path in digest_files(files)] == [str(size) for size in SIZES[::-1]]


def test_every_byte_is_counted(files: dict[Path, Digest]) -> None:
    counts: list[int] = []
    digest_files(files, counts.append)
    assert sum(counts) == sum(SIZES)
    assert max(counts) == BLOCK


def test_what_cannot_be_read_gives_its_error_and_spares_the_rest(tmp_path: Path) -> None:
    good, folder, absent = tmp_path / "good", tmp_path / "folder", tmp_path / "absent"
    too_long = tmp_path / ("x" * 300)  # even to ask whether it exists is an error
    loop = tmp_path / "loop"
    good.write_bytes(b"good")
    folder.mkdir()
    loop.symlink_to(loop)
    got = digest_files([folder, absent, good, too_long, loop])
    assert got.pop(good) == Digest(4, hashlib.sha256(b"good").hexdigest())
    errors = {path: error.errno for path, error in got.items() if isinstance(error, OSError)}
    assert errors == {
        folder: errno.EISDIR,
        absent: errno.ENOENT,
        too_long: errno.ENAMETOOLONG,
        loop: errno.ELOOP,
    }


def test_an_interrupt_does_not_wait_for_a_large_file(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 20 << 30)  # without blocks on the disk, and half a minute of work
    ctrl_c = threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    ctrl_c.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        digest_files([large])
    assert time.monotonic() - began < 5
