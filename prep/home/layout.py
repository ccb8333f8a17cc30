"""Where everything lies below one home (the `HF_HOME` of every consumer), and how it is written.

    <home>/hub/models--ORG--NAME/{blobs,refs,snapshots}    the hub's own layout
    <home>/openvino/ORG--NAME/<recipe digest>/             one converted model, with receipt.json
    <home>/openvino/ORG--NAME/int8 -> <recipe digest>      the stable path a consumer configures
    <home>/model-prep/…                                    what this suite notes for itself

Everything we write can be read by everybody, whatever the umask: the consumers are other users.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prep.files.append import append_lines
from prep.files.fields import COMMIT, REPO, SHA256
from prep.files.reader import Unreadable, is_path, parse_json, read_lines

READ_ALL = 0o444
ENTER_ALL = 0o555
MOST_LINKS = 40  # as the kernel follows them


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below `root`, which need not exist yet.

    `catalogue` is the path of the catalogue that this case is about: the ledger names it in each
    line, since several may share a home.
    """

    root: Path
    catalogue: str | None = field(default=None, compare=False)

    @property
    def hub(self) -> Path:
        """The hub's cache, `HF_HUB_CACHE` of a consumer that sets only `HF_HOME`."""
        return self.root / "hub"

    @property
    def state(self) -> Path:
        """What this suite notes for itself; no consumer needs it."""
        return self.root / "model-prep"

    @property
    def partial(self) -> Path:
        """Files on their way, each named by the sha256 it must have when whole."""
        return self.state / "partial"

    @property
    def ledger(self) -> Path:
        """One JSON line for each thing that this suite placed in the home."""
        return self.state / "placed.jsonl"

    def repo(self, repo: str) -> Path:
        """The hub's folder of one repository (huggingface_hub's `repo_folder_name`)."""
        return self.hub / f"models--{repo.replace('/', '--')}"

    def snapshot(self, repo: str, commit: str) -> Path:
        """The folder that consumers read."""
        return self.repo(repo) / "snapshots" / commit

    def ref(self, repo: str) -> Path:
        """The file that turns the name alone into a commit."""
        return self.repo(repo) / "refs" / "main"

    def conversions(self, repo: str) -> Path:
        """All converted models of one repository."""
        return self.root / "openvino" / repo.replace("/", "--")

    def stable(self, repo: str, precision: str) -> Path:
        """The path that consumers of the converted model configure."""
        return self.conversions(repo) / precision

    def lock(self, repo: str, stage: str) -> Path:
        """The file lock of one stage of one repository."""
        return self.state / "locks" / f"{repo.replace('/', '--')}.{stage}"

    def shown(self, path: Path) -> str:
        """The path as messages give it: below the home where it lies there."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def note_placed(self, what: str, path: Path, **facts: Any) -> None:
        """Write one line into the ledger, before the thing is placed: never less than there is."""
        line = {"at": now(), "what": what, "path": self.shown(path), **facts}
        if self.catalogue:
            line["catalogue"] = self.catalogue
        make_folder(self.ledger.parent)
        append_lines(self.ledger, [json.dumps(line, sort_keys=True)])
        open_to_all(self.ledger)

    def placed(self) -> list[dict[str, Any]]:
        """The ledger's lines in force; a torn line (a kill while it was written) is passed over.

        What ``--cleanup`` removed takes the lines of what lay there with it.
        """
        try:
            written = [line for text in read_lines(self.ledger) if (line := _placed(text))]
        except OSError:  # not there, or not for us: nothing is known to be ours
            return []
        lines: list[dict[str, Any]] = []
        gone: set[str] = set()  # what later lines say was removed
        pins: set[tuple[str, str]] = set()
        for line in reversed(written):
            pin = (line.get("repo"), line.get("commit"))
            path: str = line["path"]
            if line["what"] == "removed":
                gone.add(path)
                if line.get("commit"):
                    pins.add(pin)
            elif not (gone.intersection(_upwards(path)) or (line["what"] == "ref" and pin in pins)):
                lines.append(line)
        return lines[::-1]


def _placed(text: bytes) -> dict[str, Any] | None:
    """A line of the ledger, None where it is none of ours: its paths and names are gone by."""
    try:
        line = parse_json(text)
    except Unreadable:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("what"), str)
    if not whole or not is_path(line.get("path")):
        return None
    for key, pattern in (("repo", REPO), ("commit", COMMIT), ("sha256", SHA256)):
        value = line.get(key)
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            return None
    if not isinstance(line.get("catalogue", ""), str):
        return None
    if line["what"] == "wanted" and not _are_pins(line.get("pins")):
        return None
    found: dict[str, Any] = line
    return found


def _are_pins(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pin, list) and len(pin) == 2 and all(isinstance(one, str) for one in pin)
        for pin in value
    )


def _upwards(path: str) -> Iterator[str]:
    """The path, and every folder that it lies in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def now() -> str:
    """The time as files of record give it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def make_folder(path: Path) -> None:
    """Make the folder and its parents; those we make are open to all, others stay as they are."""
    missing = [path, *path.parents]
    for folder in reversed([folder for folder in missing if not folder.is_dir()]):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            open_to_all(folder)


def open_to_all(path: Path) -> None:
    """Let everybody read `path` (and enter it, if it is a folder); a+rX."""
    mode = path.stat().st_mode & 0o7777
    wanted = mode | (ENTER_ALL if path.is_dir() else READ_ALL)
    if mode != wanted:
        path.chmod(wanted)


def write_text(path: Path, text: str) -> None:
    """Write beside, flush, rename: a reader sees the old text or the new one, never a part."""
    make_folder(path.parent)
    with _beside(path) as fresh:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o644)
        fresh.replace(path)


def point_link(link: Path, target: str) -> None:
    """Make `link` a relative symlink to `target`, replacing an old one in one step."""
    with _beside(link) as fresh:
        fresh.unlink()
        fresh.symlink_to(target)
        fresh.replace(link)


def link_target(path: Path) -> Path | None:
    """What the symlink at `path` says; None where there is none, or none that we may see."""
    try:
        return path.readlink()
    except OSError:
        return None


def escapes_home(home: Home, path: Path) -> tuple[str, str] | None:
    """Kind and detail where `path` leads out of the home, or would once that is moved or mounted.

    Every link on the way from the home's root is looked at, those of folders too.
    """
    top = home.root.resolve()
    at = top
    todo = list(path.relative_to(top if path.is_relative_to(top) else home.root).parts)
    links = 0
    while todo and links < MOST_LINKS:
        part = todo.pop(0)
        at = at.parent if part == ".." else at / part
        if not at.is_relative_to(top):
            return "outside-home", f"leads to {path.resolve()}, outside the home"
        if not (target := link_target(at)):
            continue
        links += 1
        if target.is_absolute():
            if not path.resolve().is_relative_to(top):
                return "outside-home", f"leads to {path.resolve()}, outside the home"
            return (
                "absolute-link",
                f"goes by a link to {target}: not there where the home is mounted elsewhere",
            )
        at = at.parent
        todo = [*target.parts, *todo]
    return None


def can_be_seen(path: Path) -> bool:
    """`Path.exists`, which raises where a closed folder keeps us from looking."""
    try:
        path.stat()
    except (OSError, RuntimeError):
        return False
    return True


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A fresh name in the folder of `path`; gone afterwards, unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
