"""Where everything lies below a home (the `HF_HOME` of every consumer), and how it is written.

    <home>/hub/models--ORG--NAME/{blobs,refs,snapshots}    the hub's own layout
    <home>/openvino/ORG--NAME/<recipe digest>/             one converted model, with receipt.json
    <home>/openvino/ORG--NAME/int8 -> <recipe digest>      the stable path a consumer configures
    <home>/model-prep/…                                    ledger, locks, reports, partial files

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

READ_ALL = 0o444
ENTER_ALL = 0o555
MOST_LINKS = 40  # as the kernel follows them


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below `root`, which need not exist yet.

    `catalogue` is the path of this run's catalogue: each line of the ledger names it, since several
    catalogues may share a home.
    """

    root: Path
    catalogue: str | None = field(default=None, compare=False)

    @property
    def hub(self) -> Path:
        """The hub's cache, `HF_HUB_CACHE` of a consumer that sets only `HF_HOME`."""
        return self.root / "hub"

    @property
    def state(self) -> Path:
        """This suite's own files; no consumer needs them."""
        return self.root / "model-prep"

    @property
    def partial(self) -> Path:
        """Unfinished downloads, each named by the sha256 that it must have when whole."""
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

    def note_placed(self, what: str, path: Path, **more: Any) -> None:
        """Write a line into the ledger, before the thing is placed: it never names too little."""
        line = {"at": now(), "what": what, "path": self.shown(path), **more}
        if self.catalogue:
            line["catalogue"] = self.catalogue
        make_folder(self.ledger.parent)
        append_lines(self.ledger, [json.dumps(line, sort_keys=True)])
        open_to_all(self.ledger)


def now() -> str:
    """The time as files of record give it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def make_folder(path: Path) -> None:
    """Make the folder and its parents, readable by all; those that exist keep their modes."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            open_to_all(folder)


def open_to_all(path: Path) -> None:
    """Let everybody read `path`, and enter it where it is a folder: ``chmod a+rX``."""
    mode = path.stat().st_mode & 0o7777
    wanted = mode | (ENTER_ALL if path.is_dir() else READ_ALL)
    if mode != wanted:
        path.chmod(wanted)


def write_text(path: Path, text: str) -> None:
    """Write beside, flush, rename: a reader sees the old text or the new text, never a part."""
    make_folder(path.parent)
    with _beside(path) as fresh:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o644)
        fresh.replace(path)


def point_link(link: Path, target: str) -> None:
    """Make `link` a relative symlink to `target`, replacing an old link in one step."""
    with _beside(link) as fresh:
        fresh.unlink()
        fresh.symlink_to(target)
        fresh.replace(link)


def link_target(path: Path) -> Path | None:
    """The target of the symlink at `path`; None where there is none, or we may not see it."""
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
    """As `Path.exists`, which raises where the mode of a folder keeps us from looking."""
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
