"""Whose things lie in a home: what this suite placed there, and which catalogues want what.

A home is shared, by other tools and by several catalogues. So ``--cleanup`` removes only what a
line of `model-prep/placed.jsonl` names, and only what no catalogue wants: each leaves a line with
all that its lock holds, and the last one counts. Lines from before catalogues were noted name
nobody, and what they name is never removed.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.entries import Catalogue
from prep.catalogue.lock import Lock, LockedFile
from prep.home.layout import Home

Pin = tuple[str, str]  # repo and commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The lines in force, and for each catalogue (by its path) the pins that it wanted last."""

    lines: tuple[dict[str, Any], ...]
    wants: dict[str, frozenset[Pin]]

    def of(self, repo: str, what: str) -> list[dict[str, Any]]:
        """What was placed of one kind for a repository; only lines that name a catalogue."""
        return [
            line
            for line in self.lines
            if line.get("what") == what and line.get("repo") == repo and line.get("catalogue")
        ]

    @property
    def repos(self) -> list[str]:
        """Every repository that something was placed for."""
        return sorted({line["repo"] for line in self.lines if isinstance(line.get("repo"), str)})


def read_ledger(home: Home) -> Ledger:
    """The ledger as it is now; what was removed counts no more."""
    lines = home.placed()
    wants = {
        line["catalogue"]: frozenset((repo, commit) for repo, commit in line["pins"])
        for line in lines
        if line.get("what") == "wanted" and line.get("catalogue")
    }
    return Ledger(lines=tuple(lines), wants=wants)


def note_wanted(home: Home, catalogue: Catalogue, lock: Lock) -> None:
    """Note what this catalogue wants by its lock, unless that is what was noted last."""
    found = (lock.get(spec.name) for spec in catalogue.models)
    pins = sorted({(model.repo, model.commit) for model in found if model is not None})
    if home.catalogue and read_ledger(home).wants.get(home.catalogue) != frozenset(pins):
        home.note_placed("wanted", home.ledger, pins=pins)


@contextlib.contextmanager
def placing_blobs(home: Home, repo: str, files: Iterable[LockedFile]) -> Iterator[None]:
    """Note the blobs that appear while files are brought; the lock of that stage is held.

    Large files' blobs are named by their sha256 and are noted before; others' names are the hub's.
    A blob that was there before is somebody else's, or was noted when it came.
    """
    there = _blobs(home, repo)
    for file in files:
        if file.sha256 not in there:
            _note_blob(home, repo, file.sha256)
            there.add(file.sha256)
    try:
        yield
    finally:
        for name in sorted(_blobs(home, repo) - there):
            _note_blob(home, repo, name)


def _note_blob(home: Home, repo: str, name: str) -> None:
    home.note_placed("blob", home.repo(repo) / "blobs" / name, repo=repo)


def _blobs(home: Home, repo: str) -> set[str]:
    folder = home.repo(repo) / "blobs"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def below(home: Home, line: dict[str, Any], folder: Path) -> Path | None:
    """The path that a line names where it lies below `folder`; None where it does not.

    The ledger is a file in a shared place: nobody is led out of a folder by what it says.
    """
    path = home.root / str(line.get("path", ""))
    inside = path.is_relative_to(folder) and path != folder and ".." not in path.parts
    return path if inside else None
