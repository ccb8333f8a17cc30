"""Files that were in the home before: found by their checksum, used where they are, never moved.

`hf download` leaves them in ``hub/``, perhaps under another commit, as plain files where links
were resolved, or under another blob's name. Older versions used the home itself
(``<home>/models--ORG--NAME``): from there a file is hard-linked into ``hub/``, or copied where that
is impossible. The owner's files keep name, bytes and mode, whatever becomes of ours.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prep.catalogue.lock import LockedFile, LockedModel
from prep.files.checksum import digest_files
from prep.home.layout import READ_ALL, Home, make_folder, point_link

How = Literal["in place", "linked", "copied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """One file that need not be fetched: where it was, and how it got into the snapshot."""

    file: LockedFile
    path: Path
    how: How


class Candidates:
    """Whole files of one repository anywhere in the home, by size; hard links count once."""

    def __init__(self, home: Home, repo: str) -> None:
        self.blobs = home.repo(repo) / "blobs"
        self._by_size: dict[int, list[Path]] = {}
        seen: set[tuple[int, int]] = set()
        for folder in (home.repo(repo), home.root / home.repo(repo).name):
            for path in _files(folder):
                stat = path.stat()
                if (inode := (stat.st_dev, stat.st_ino)) not in seen:
                    seen.add(inode)
                    self._by_size.setdefault(stat.st_size, []).append(path)

    def of(self, file: LockedFile) -> list[Path]:
        """Files of the right size; only their checksum says whether they are the right ones."""
        return self._by_size.get(file.size, [])


def adopt(
    home: Home,
    locked: LockedModel,
    files: Sequence[LockedFile],
    before_use: Callable[[Adopted], None],
    on_bytes: Callable[[int], None] | None = None,
) -> tuple[Adopted, ...]:
    """Use those of `files` that are in the home; `before_use` is called with each."""
    candidates = Candidates(home, locked.repo)
    chosen = {path for file in files for path in candidates.of(file)}
    digests = digest_files(chosen, on_bytes)
    found = []
    for file in files:
        wanted = (file.size, file.sha256)
        for path in candidates.of(file):
            got = digests[path]
            if isinstance(got, OSError) or (got.size, got.sha256) != wanted:
                continue
            adopted = Adopted(file=file, path=path, how=_how(candidates.blobs, path))
            before_use(adopted)
            _place(home, locked, adopted, candidates.blobs)
            found.append(adopted)
            break
    return tuple(found)


def _files(folder: Path) -> Iterator[Path]:
    """Plain files of a hub's folder for a repository: blobs, and copies in its snapshots."""
    for name in ("blobs", "snapshots"):
        for top, _, names in os.walk(folder / name):  # Don't follow links: they may lead anywhere
            for entry in sorted(names):
                path = Path(top) / entry
                if not path.is_symlink() and path.is_file() and not entry.endswith(".incomplete"):
                    yield path


def _how(blobs: Path, path: Path) -> How:
    """A hard link shares the file's mode, so it must be readable for all; else it is copied."""
    if path.parent == blobs:
        return "in place"
    return "linked" if path.stat().st_mode & READ_ALL == READ_ALL else "copied"


def _place(home: Home, locked: LockedModel, adopted: Adopted, blobs: Path) -> None:
    """A blob, unless it is one already, and the snapshot's link to it."""
    blob = adopted.path
    if adopted.how != "in place":
        blob = blobs / adopted.file.sha256
        make_folder(blobs)
        _link_or_copy(adopted, blob)
    link = home.snapshot(locked.repo, locked.commit) / adopted.file.path
    make_folder(link.parent)
    point_link(link, os.path.relpath(blob, link.parent))


def _link_or_copy(adopted: Adopted, blob: Path) -> None:
    """In a temporary folder beside it, then renamed."""
    with tempfile.TemporaryDirectory(dir=blob.parent, prefix=".adopt.") as folder:
        fresh = Path(folder) / blob.name
        if adopted.how == "linked":
            with contextlib.suppress(OSError):  # another disk, or a kernel that protects others'
                os.link(adopted.path, fresh)
        if not fresh.exists():
            shutil.copyfile(adopted.path, fresh)
            fresh.chmod(0o644)
        fresh.replace(blob)
