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

from prep.appending import append_lines

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
        if not self.ledger.is_file():
            return []
        lines: list[dict[str, Any]] = []
        for text in self.ledger.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):  # not JSON, not UTF-8
                line = json.loads(text)
                if isinstance(line, dict) and line.get("what") == "removed":
                    lines = [one for one in lines if not _went_with(one, line)]
                elif isinstance(line, dict):
                    lines.append(line)
        return lines


def _went_with(line: dict[str, Any], removed: dict[str, Any]) -> bool:
    """Whether a line is about what was removed, what lay in it, or the name of a removed commit."""
    path, gone = str(line.get("path")), str(removed.get("path"))
    pins = [(one.get("repo"), one.get("commit")) for one in (line, removed)]
    named = line.get("what") == "ref" and bool(removed.get("commit")) and pins[0] == pins[1]
    return path == gone or path.startswith(f"{gone}/") or named


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


def leads_astray(home: Home, path: Path) -> tuple[str, str] | None:
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
            return "outside", f"leads to {path.resolve()}, outside the home"
        if not (target := link_target(at)):
            continue
        links += 1
        if target.is_absolute():
            if not path.resolve().is_relative_to(top):
                return "outside", f"leads to {path.resolve()}, outside the home"
            return (
                "absolute",
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
