"""sha256 over files, on all cores; hashing lets go of the interpreter lock."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20  # bytes; from here on a larger one is not faster


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file turned out to be: its size in bytes and its sha256 in hex."""

    size: int
    sha256: str


def digest_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> Digest:
    """Digest one file, whole; `on_bytes` hears of every block. Raises `OSError`."""
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
    """Digest files side by side, the largest first; a file that cannot be read gives its error.

    Interrupted (Ctrl-C), it ends with the block at hand: the pool waits for its threads, and a
    large file on a slow disk takes minutes.
    """
    stopped = False

    def saw(count: int) -> None:
        if stopped:
            raise OSError("stopped")
        if on_bytes:
            on_bytes(count)

    def one(path: Path) -> Digest | OSError:
        try:
            return digest_file(path, saw)
        except OSError as error:
            return error

    ordered = sorted(paths, key=_size)[::-1]
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        try:
            return dict(zip(ordered, pool.map(one, ordered), strict=True))
        finally:
            stopped = True


def _size(path: Path) -> int:
    """The size in bytes to go by; whether the file can be read is told by reading it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
