"""The files below a folder, and sizes as people read them."""

import os
from collections.abc import Iterator
from pathlib import Path


def walk_files(folder: Path) -> Iterator[Path]:
    """Everything below that is not a folder, links to folders too; no link is followed."""
    for top, folders, names in os.walk(folder):
        here = Path(top)
        yield from (here / name for name in names)
        yield from (here / name for name in folders if (here / name).is_symlink())


def freed_bytes(path: Path) -> int:
    """The bytes that removing it frees: a file with another name elsewhere frees none."""
    if path.is_dir() and not path.is_symlink():
        return sum(map(freed_bytes, walk_files(path)))
    stat = path.lstat()
    return stat.st_size if not path.is_symlink() and stat.st_nlink == 1 else 0


def megabytes(count: int) -> str:
    """Bytes for people: decimal megabytes."""
    return f"{count / 1e6:.1f} MB"
