"""The ledger: what this suite placed in a home, and which catalogues want what.

A home is shared, by other tools and by several catalogues. So ``--cleanup`` removes only what a
line of `model-prep/placed.jsonl` names, and only what no catalogue wants: each leaves a line with
all that its lock names, and the last one counts. Lines from before catalogues were noted name
none, and what they name is never removed.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.entries import Catalogue
from prep.catalogue.lock import Lock, LockedFile
from prep.files.fields import COMMIT, REPO, SHA256, is_text, like, listed, maybe
from prep.files.reader import Unreadable, is_path, parse_json, read_lines
from prep.home.layout import Home

Line = dict[str, Any]
Pin = tuple[str, str]  # repo and commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The lines in force, and for each catalogue (by its path) the pins that it wanted last."""

    lines: tuple[Line, ...]
    wants: dict[str, frozenset[Pin]]

    def of(self, repo: str, what: str) -> list[Line]:
        """What was placed of one kind for a repository; only lines that name a catalogue."""
        return [
            line
            for line in self.lines
            if line["what"] == what and line.get("repo") == repo and line.get("catalogue")
        ]

    def latest(self, repo: str, what: str) -> list[Line]:
        """As `of`, the last line of each path."""
        return list({line["path"]: line for line in self.of(repo, what)}.values())

    @property
    def repos(self) -> list[str]:
        """Every repository that something was placed for."""
        return sorted({line["repo"] for line in self.lines if line.get("repo")})


def read_ledger(home: Home) -> Ledger:
    """The lines in force. What ``--cleanup`` removed takes the lines of what lay there with it.

    A torn line (a kill while it was written) is passed over.
    """
    try:
        written = [line for text in read_lines(home.ledger) if (line := _parsed(text))]
    except OSError:  # not there, or not readable: nothing is known to be ours
        written = []
    lines: list[Line] = []
    removed: set[str] = set()
    removed_pins: set[Pin] = set()
    for line in reversed(written):
        pin = (line.get("repo", ""), line.get("commit", ""))
        if line["what"] == "removed":
            removed.add(line["path"])
            if line.get("commit"):
                removed_pins.add(pin)
        elif removed.isdisjoint(_upwards(line["path"])) and not (
            line["what"] == "ref" and pin in removed_pins
        ):
            lines.append(line)
    lines.reverse()
    wants = {
        line["catalogue"]: frozenset((repo, commit) for repo, commit in line["pins"])
        for line in lines
        if line["what"] == "wanted" and line.get("catalogue")
    }
    return Ledger(lines=tuple(lines), wants=wants)


def _parsed(text: bytes) -> Line | None:
    """A line of the ledger; None where it is not ours: its paths and names are acted upon."""
    try:
        line: Line = parse_json(text)
    except Unreadable:
        return None
    if not (isinstance(line, dict) and isinstance(line.get("what"), str)):
        return None
    patterns = (("repo", REPO), ("commit", COMMIT), ("sha256", SHA256))
    are_pins = listed(listed(is_text, 2))
    well_formed = (
        is_path(line.get("path"))
        and is_text(line.get("catalogue", ""))
        and all(maybe(like(pattern))(line.get(key)) for key, pattern in patterns)
        and (line["what"] != "wanted" or are_pins(line.get("pins")))
    )
    return line if well_formed else None


def _upwards(path: str) -> Iterator[str]:
    """The path, and every folder that it lies in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def note_wanted(home: Home, catalogue: Catalogue, lock: Lock) -> None:
    """Note what this catalogue wants by its lock, unless that is what was noted last."""
    found = (lock.get(spec.name) for spec in catalogue.models)
    pins = sorted({(model.repo, model.commit) for model in found if model is not None})
    if home.catalogue and read_ledger(home).wants.get(home.catalogue) != frozenset(pins):
        home.note_placed("wanted", home.ledger, pins=pins)


@contextlib.contextmanager
def placing_blobs(home: Home, repo: str, files: Iterable[LockedFile]) -> Iterator[None]:
    """Note the blobs that appear while files are fetched; the caller holds the stage's lock.

    Large files' blobs are named by their sha256 and are noted before; others' names are the hub's.
    A blob that was there before is somebody else's, or was noted when it came.
    """
    folder = home.repo(repo) / "blobs"

    def note(names: Iterable[str]) -> None:
        for name in names:
            home.note_placed("blob", folder / name, repo=repo)

    def there() -> set[str]:
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    before = there()
    large = [name for name in dict.fromkeys(file.sha256 for file in files) if name not in before]
    note(large)
    try:
        yield
    finally:
        note(sorted(there() - before - set(large)))


def below(home: Home, line: Line, folder: Path) -> Path | None:
    """The path that a line names where it lies below `folder`; None where it does not.

    The ledger is a file in a shared place: what it says must not lead out of a folder.
    """
    path = home.root / line["path"]
    inside = path.is_relative_to(folder) and path != folder and ".." not in path.parts
    return path if inside else None
