"""sha256 of files, on all cores; hashing releases the interpreter lock."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20  # bytes; larger blocks are not faster


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's size in bytes and its sha256 in hex."""

    size: int
    sha256: str


def digest_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> Digest:
    """Digest a whole file; `on_bytes` gets the size of each block. Raises `OSError`."""
    hasher = hashlib.sha256()
    block = memoryview(bytearray(BLOCK))
    size = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(block[:count])
            size += count
            if on_bytes:
                on_bytes(count)
    return Digest(size, hasher.hexdigest())


def digest_files(
    paths: Iterable[Path], on_bytes: Callable[[int], None] | None = None
) -> dict[Path, Digest | OSError]:
    """Digest files in parallel, the largest first; a file that cannot be read gives its error.

    Interrupted (Ctrl-C), it ends after the current block: the pool waits for its threads, and a
    large file on a slow disk takes minutes.
    """
    stopped = False

    def count_block(count: int) -> None:
        if stopped:
            raise OSError("stopped")
        if on_bytes:
            on_bytes(count)

    def digest(path: Path) -> Digest | OSError:
        try:
            return digest_file(path, count_block)
        except OSError as error:
            return error

    ordered = sorted(paths, key=_size)[::-1]
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        try:
            return dict(zip(ordered, pool.map(digest, ordered), strict=True))
        finally:
            stopped = True


def _size(path: Path) -> int:
    """The size in bytes, for the order; whether the file can be read is seen when it is."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
