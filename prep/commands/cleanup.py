"""`--cleanup`: removes what this suite placed and no catalogue's lock wants any more; nothing else.

What may be removed is named by the ledger; what is wanted, by this catalogue's lock and by the last
line of every other catalogue. A name in use is never cut off: what refs/main or a stable path leads
to stays until what the lock wants is there in its place. Everything else is listed with its size.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from prep.catalogue.lock import check_lock
from prep.convert import conversion
from prep.errors import LockTimeout
from prep.files.checksum import Digest, digest_file
from prep.files.fields import COMMIT
from prep.files.reader import Unreadable, read_bytes
from prep.files.tree import freed_bytes, walk_files
from prep.home.file_lock import lock_file
from prep.home.layout import Home, escapes_home, link_target, make_folder
from prep.home.ledger import Ledger, Line, below, read_ledger
from prep.home.receipt import NAME, read_receipt
from prep.settings import Settings
from prep.tasks.precisions import PRECISIONS

HUBS_OWN = ("CACHEDIR.TAG", ".locks")  # what its client puts into every cache
IN_USE = "refs/main still names it, and what is wanted is not there yet: run pytest first"
STAGES = ("fetch", *(f"convert.{precision}" for precision in PRECISIONS))


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Remove, or with ``--dry-run`` list, what nobody wants; print the bytes; 0."""
    # All of the lock must be right, not only what --models names: what it forgets is removed.
    check_lock(settings.catalogue, settings.lock, settings.catalogue.models)
    home, dry = settings.home, settings.dry_run
    chosen = {spec.repo for spec in settings.models}
    every = settings.models == settings.catalogue.models
    ledger = read_ledger(home)
    write(f"cleanup of {home.root} by {settings.catalogue.lock_path.name}\n")
    freed = 0
    for repo in ledger.repos if every else sorted(chosen):
        with _all_stages_locked(home, repo, dry) as locked:
            if not locked:
                write(f"skip    {repo}: another process works on it; run again when it is done\n")
                continue
            leftovers = Leftovers(settings, ledger, repo)
            for path in leftovers.removable:
                size = freed_bytes(path)
                write(f"{'would remove' if dry else 'remove'}  {home.shown(path)}  {size} bytes\n")
                freed += size
                if not dry:
                    _remove(home, repo, path)
            for path, reason in leftovers.kept.items():
                write(f"keep    {home.shown(path)}: {reason}\n")
    for line in _not_placed_by_us(settings, ledger) if every else ():
        write(f"{line}\n")
    write(f"{'would free' if dry else 'freed'} {freed} bytes\n")
    return 0


class Leftovers:
    """What the ledger names of one repository and nobody wants.

    `removable` is in the order of removal, names before what they name; `kept` gives the reason of
    what stays for the time being. `pins` are the commits that any catalogue wants, `others` those
    of other catalogues; `paths`, `checksums`, `precisions` and `recipes` are of this catalogue.
    """

    def __init__(self, settings: Settings, ledger: Ledger, repo: str) -> None:
        self.home, self.ledger, self.repo = settings.home, ledger, repo
        specs = {spec.name: spec for spec in settings.catalogue.models}
        wanted = [
            (model, specs[model.name])
            for model in settings.lock.models
            if model.repo == repo and model.name in specs
        ]
        self.paths = {
            model.commit: settings.lock.paths_of(repo, model.commit) for model, _ in wanted
        }
        self.checksums = {file.sha256 for model, _ in wanted for file in model.files}
        self.precisions = {precision for _, spec in wanted for precision in spec.precisions}
        self.recipes = {
            conversion.recipe_for(model, spec.task, precision).digest
            for model, spec in wanted
            for precision in spec.precisions
        }
        self.others = {
            commit
            for catalogue, pins in ledger.wants.items()
            if catalogue != settings.home.catalogue
            for their_repo, commit in pins
            if their_repo == repo
        }
        self.pins = self.others | set(self.paths)
        self.kept: dict[Path, str] = {}
        self.removable = list(self._find())

    def _find(self) -> Iterator[Path]:
        repo, conversions = self.home.repo(self.repo), self.home.conversions(self.repo)
        for folder in (repo, conversions, self.home.partial):
            if folder.exists() and (escape := escapes_home(self.home, folder)):
                self.kept[folder] = f"{escape[1]}; nothing is removed through such a link"
                return
        links = list(self._snapshot_files())
        yield from self._ref(set(links))
        yield from links
        yield from self._blobs(set(links))
        yield from self._conversions()
        yield from self._unfinished()

    def _ref(self, links: set[Path]) -> Iterator[Path]:
        """refs/main, where nobody wants the repository and all that it leads to is removed."""
        ref = self.home.ref(self.repo)
        placed = self.ledger.of(self.repo, "ref") and ref.is_file() and not ref.is_symlink()
        if self.pins or not placed:
            return
        commit = _commit_of(ref)
        rest = set(walk_files(self.home.snapshot(self.repo, commit))) if commit else set()
        if rest <= links:
            yield ref
        else:
            self.kept[ref] = "it names files that this suite did not place"

    def _snapshot_files(self) -> Iterator[Path]:
        """Files in snapshots: links into the repository's blobs, or copies with the noted bytes."""
        in_use = _commit_of(self.home.ref(self.repo))
        for line in self.ledger.latest(self.repo, "file"):
            commit = str(line.get("commit"))
            snapshot = self.home.snapshot(self.repo, commit)
            path = below(self.home, line, snapshot)
            if path is None or not os.path.lexists(path) or commit in self.others:
                continue
            if path.relative_to(snapshot).as_posix() in self.paths.get(commit, ()):
                continue
            if self.pins and in_use == commit and commit not in self.pins:
                self.kept[snapshot] = IN_USE
            elif escapes_home(self.home, path.parent):
                self.kept[path] = "its folder is reached by a link that leads elsewhere"
            elif self._is_as_placed(path, line):
                yield path
            else:
                self.kept[path] = "it is not what this suite placed there"

    def _is_as_placed(self, path: Path, line: Line) -> bool:
        if target := link_target(path):
            blobs = (self.home.repo(self.repo) / "blobs").resolve()
            return Path(os.path.normpath(path.parent.resolve() / target)).parent == blobs
        if not path.is_file() or path.stat().st_size != line.get("size"):
            return False
        return digest_file(path) == Digest(path.stat().st_size, str(line.get("sha256")))

    def _blobs(self, links: set[Path]) -> Iterator[Path]:
        """Blobs to which no link leads any more; one that the lock wants is about to be linked."""
        folder = self.home.repo(self.repo) / "blobs"
        used = {
            (path.parent / target).resolve().name
            for path in walk_files(self.home.repo(self.repo) / "snapshots")
            if path not in links and (target := link_target(path))
        }
        for line in self.ledger.latest(self.repo, "blob"):
            path = below(self.home, line, folder)
            if path is None or path.parent != folder or path.is_symlink() or not path.is_file():
                continue
            if path.name not in used and path.name not in self.checksums:
                yield path

    def _conversions(self) -> Iterator[Path]:
        """Stable paths of precisions that nobody wants, then the folders to which none leads."""
        folder = self.home.conversions(self.repo)
        in_use = set()
        placed = {below(self.home, line, folder) for line in self.ledger.of(self.repo, "link")}
        for precision in PRECISIONS:
            stable = self.home.stable(self.repo, precision)
            target = link_target(stable)
            if target and (self.others or precision in self.precisions or stable not in placed):
                in_use.add(target.name)
            elif target:
                yield stable
        for line, path in self._folders("conversion"):
            if path.name in in_use or path.name in self.recipes:
                continue
            commit = line.get("commit")
            if commit in self.others and commit not in self.paths:
                continue  # theirs, and their next run points its stable path there again
            if unknown := _files_without_receipt(path):
                name = unknown[0].name
                self.kept[path] = f"it holds {name}, which this suite did not place there"
            else:
                yield path

    def _unfinished(self) -> Iterator[Path]:
        """Drafts, what was set aside, and partial files: we hold the locks of their stages."""
        for what in ("draft", "aside"):
            yield from (path for _, path in self._folders(what) if path.name.startswith("."))
        files = self.ledger.of(self.repo, "file")
        if any(line.get("commit") in self.others for line in files):
            return
        checksums = {line["sha256"] for line in files if line.get("sha256")}
        for checksum in sorted(checksums - self.checksums):
            for path in (self.home.partial / checksum, self.home.partial / f"{checksum}.lock"):
                if path.is_file() and not path.is_symlink() and not _is_locked(path):
                    yield path

    def _folders(self, what: str) -> Iterator[tuple[Line, Path]]:
        """The folders of one kind that lie directly among the conversions."""
        folder = self.home.conversions(self.repo)
        for line in self.ledger.latest(self.repo, what):
            path = below(self.home, line, folder)
            if path is None or path.parent != folder or path.is_symlink() or not path.is_dir():
                continue
            yield line, path


def _commit_of(ref: Path) -> str | None:
    """The commit that refs/main names; None where it names none."""
    try:
        commit = read_bytes(ref, 200).decode(errors="replace").strip()
    except OSError:
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _is_locked(partial: Path) -> bool:
    """Whether a process writes it: another repository may fetch the same bytes."""
    try:
        with partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _files_without_receipt(folder: Path) -> list[Path]:
    """Files in a converted folder that its receipt does not name; none where that is unreadable."""
    try:
        known = {file.path for file in read_receipt(folder).files} | {NAME}
    except Unreadable:
        return []
    return [path for path in walk_files(folder) if path.relative_to(folder).as_posix() not in known]


def _remove(home: Home, repo: str, path: Path) -> None:
    """Remove it, then note it: a stop between the two leaves a line too many, not a file.

    Folders that are empty now go with it. Nothing is followed: a link goes, not what it leads to.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    _note_removed(home, repo, path)
    roots = {home.hub, home.root / "openvino", home.state, home.partial}
    for folder in path.parents:
        if folder in roots:
            break
        try:
            folder.rmdir()
        except OSError:
            break
        _note_removed(home, repo, folder)


def _note_removed(home: Home, repo: str, path: Path) -> None:
    pin = {"commit": path.name} if path.parent.name == "snapshots" else {}
    home.note_placed("removed", path, repo=repo, **pin)


@contextlib.contextmanager
def _all_stages_locked(home: Home, repo: str, dry: bool) -> Iterator[bool]:
    """Hold all stages' locks of a repository; False where another process holds one, or may."""

    def busy() -> None:
        raise LockTimeout(repo)

    with contextlib.ExitStack() as stack:
        locked = True
        for path in () if dry else (home.lock(repo, stage) for stage in STAGES):
            make_folder(path.parent)
            try:  # where locks do nothing, another process may work on it
                locked = locked and stack.enter_context(lock_file(path, busy))
            except (LockTimeout, NotImplementedError):
                locked = False
        yield locked


def _not_placed_by_us(settings: Settings, ledger: Ledger) -> Iterator[str]:
    """What is left and not of this catalogue, with its size: never touched."""
    home = settings.home

    def folders(repo: str) -> tuple[Path, Path]:
        return home.repo(repo), home.conversions(repo)

    ours = {spec.repo for spec in settings.catalogue.models}
    keep = {home.hub, home.root / "openvino", home.state}
    keep.update(folder for repo in ours for folder in folders(repo))
    reasons = {
        folder: "placed before catalogues were noted"
        for line in ledger.lines
        if not line.get("catalogue") and line.get("repo")
        for folder in folders(line["repo"])
    }
    for catalogue, pins in ledger.wants.items():
        for repo, _ in pins:
            reasons.update(dict.fromkeys(folders(repo), f"wanted by {catalogue}"))
    for folder in (home.root, home.hub, home.root / "openvino"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path not in keep and path.name not in HUBS_OWN:
                reason = reasons.get(path, "this suite did not place it")
                yield f"leave   {home.shown(path)}  {freed_bytes(path)} bytes: {reason}"
    for repo in sorted(ours):
        noted = {home.root / line["path"] for line in ledger.lines if line.get("repo") == repo}
        unknown = [
            path
            for folder in folders(repo)
            for path in walk_files(folder)
            if path not in noted and noted.isdisjoint(path.parents)
        ]
        if unknown:
            size = sum(map(freed_bytes, unknown))
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            yield (
                f"leave   {repo}  {size} bytes that this suite did not place: "
                f"{home.shown(unknown[0])}{more}"
            )
