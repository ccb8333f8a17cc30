"""A folder as a hub: ``ORG/NAME`` below it is a model, and its main is what lies there.

Its commit is derived from the content, so that a changed file is another commit. Files are copied
into the home: a hard link would change with the file that its owner edits.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from prep.catalogue.lock import LockedFile
from prep.catalogue.pin_change import is_compared
from prep.errors import ChecksumMismatch, HubRefused, PrepError, UnsafeFile, listing
from prep.files import unsafe
from prep.files.checksum import BLOCK, Digest, digest_files
from prep.files.fields import COMMIT
from prep.files.patterns import matches
from prep.home.layout import Home, make_folder, point_link

BRANCH = "main"
CARD_BYTES = 1 << 16  # of README.md, in which its license is looked for
LICENSE = re.compile(r"\A---\s*\n(?:.*\n)*?license:[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*\n", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model of a folder: what `prep.fetch.hub.RemoteModel` says, with digests by path."""

    commit: str
    license: str
    digests: Mapping[str, Digest]
    wanted: tuple[str, ...]
    unsafe: Mapping[str, str]
    texts: Mapping[str, str]


def describe(hub: Path, repo: str, revision: str, globs: tuple[str, ...]) -> Described:
    """Digest all of a model's files; raises `HubRefused` where they are no model of that revision.

    Hidden files and ``__pycache__`` do not count.
    """
    files = _files(hub, repo)
    digests = _digests(files)
    lines = sorted(f"{digest.sha256} {path}\n" for path, digest in digests.items())
    commit = hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()
    if revision not in (BRANCH, commit):
        kind = "commit" if COMMIT.fullmatch(revision) else "branch or tag"
        raise HubRefused(
            f"{hub} has no {kind} {revision!r} of {repo}: what lies there is {BRANCH}, now "
            f'{commit}. Write revision = "{BRANCH}" in its entry, and lock again.'
        )
    wanted = tuple(path for path in sorted(digests) if matches(path, globs))
    found = {path: unsafe.of_path(path, files[path], wanted) for path in wanted}
    return Described(
        commit=commit,
        license=_license(files.get("README.md")),
        digests=digests,
        wanted=wanted,
        unsafe={path: finding.detail for path, finding in found.items() if finding},
        texts={
            path: files[path].read_text(encoding="utf-8", errors="replace")
            for path in wanted
            if is_compared(path)
        },
    )


def refusal(hub: Path, repo: str) -> PrepError | None:
    """Why none of a model's files can be had from there."""
    try:
        _files(hub, repo)
    except HubRefused as error:
        return error
    return None


def fetch(
    hub: Path,
    home: Home,
    repo: str,
    commit: str,
    files: Sequence[LockedFile],
    locked: Collection[str],
    on_bytes: Callable[[int], None],
) -> int:
    """Copy files into the home, each digested as it lies there before it gets its name.

    `on_bytes` gets the size of each block. Gives the number of bytes.
    """
    there = _files(hub, repo)
    if absent := [file.path for file in files if file.path not in there]:
        raise HubRefused(
            f"{listing(f'{hub}/{repo} lacks files that the lock names', absent)}\n"
            "Put them back, or lock again."
        )
    for file in files:
        _copy(there[file.path], home, repo, commit, file, locked, on_bytes)
    return sum(file.size for file in files)


def _copy(
    source: Path,
    home: Home,
    repo: str,
    commit: str,
    file: LockedFile,
    locked: Collection[str],
    on_bytes: Callable[[int], None],
) -> None:
    blob = home.repo(repo) / "blobs" / file.sha256
    make_folder(blob.parent)
    with tempfile.TemporaryDirectory(dir=blob.parent, prefix=".adopt.") as folder:
        fresh = Path(folder) / blob.name
        hasher, size = hashlib.sha256(), 0
        with _opened(source) as reading, fresh.open("wb") as writing:
            for block in iter(partial(reading.read, BLOCK), b""):
                writing.write(block)
                hasher.update(block)
                size += len(block)
                on_bytes(len(block))
            writing.flush()
            os.fsync(writing.fileno())
        if (size, hasher.hexdigest()) != (file.size, file.sha256):
            raise ChecksumMismatch(
                f"{repo}: {source} has {size} bytes with sha256 {hasher.hexdigest()}, the lock "
                f"says {file.size} bytes with {file.sha256}: it was changed after it was locked. "
                "Put the locked file back, or lock again and review the diff."
            )
        if finding := unsafe.of_path(file.path, fresh, locked):
            raise UnsafeFile(
                f"{repo}: {file.path} matches the lock and was not placed: {finding.detail}. "
                "--relock would not lock it. Choose another model or revision."
            )
        fresh.chmod(0o644)
        fresh.replace(blob)
    link = home.snapshot(repo, commit) / file.path
    make_folder(link.parent)
    point_link(link, os.path.relpath(blob, link.parent))


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> HubRefused:
    return HubRefused(f"{error.filename} cannot be read: {error.strerror}. Open its mode.")


def _raise(error: OSError) -> None:
    raise _unreadable(error)


def _files(hub: Path, repo: str) -> dict[str, Path]:
    """A model's files by path; raises `HubRefused` where a link would lead elsewhere."""
    top = hub / repo
    if not top.is_dir():
        known = sorted(f"{path.parent.name}/{path.name}" for path in hub.glob("[!.]*/[!.]*/"))
        has = f"It has {', '.join(known[:20])}" if known else "It has no folder ORG/NAME at all"
        raise HubRefused(f"there is no folder {top}. {has}. Correct 'repo' or the folder's path.")
    inside, found = os.path.realpath(hub), dict[str, Path]()
    links = []
    for folder, folders, names in os.walk(top, onerror=_raise):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        links += [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in names if not _is_left_out(name)):
            if not os.path.realpath(path).startswith(f"{inside}{os.sep}"):
                links.append(path)
            elif path.is_file():
                found[path.relative_to(top).as_posix()] = path
    if not os.path.realpath(top).startswith(f"{inside}{os.sep}"):
        links.append(top)
    if odd := [path for path in found if not path.isprintable()]:
        shown = [ascii(path) for path in odd]
        raise HubRefused(
            f"{listing('file names that cannot be shown', shown)}\nRename or remove them."
        )
    if links:
        lines = [f"{path} → {os.path.realpath(path)}" for path in sorted(links)]
        raise HubRefused(
            f"{listing(f'links that leave {hub}, or lead to a folder', lines)}\n"
            "Put the files themselves there."
        )
    return found


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _digests(files: Mapping[str, Path]) -> dict[str, Digest]:
    found = digest_files(files.values())
    digests: dict[str, Digest] = {}
    for path, file in files.items():
        digest = found[file]
        if isinstance(digest, OSError):
            raise _unreadable(digest)
        digests[path] = digest
    return digests


def _license(card: Path | None) -> str:
    """That of the model card's first lines; nothing else of them is read."""
    if card is None:
        return "unknown"
    with card.open(encoding="utf-8", errors="replace") as file:
        found = LICENSE.match(file.read(CARD_BYTES).replace("\r\n", "\n"))
    return found[1] if found else "unknown"
