"""`--cleanup`: removes what this suite placed and no catalogue's lock wants any more; nothing else.

What may be removed is named by the ledger; what is wanted, by this catalogue's lock and by the last
word of every other catalogue. A name in use is never cut off: what refs/main or a stable path leads
to stays until what the lock wants is there in its place. Everything else is listed with its size.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel, check_lock
from prep.convert import conversion
from prep.files.checksum import Digest, digest_file
from prep.files.fields import COMMIT
from prep.files.reader import Unreadable, read_bytes
from prep.home.file_lock import NO_LOCKS
from prep.home.layout import Home, escapes_home, link_target, make_folder
from prep.home.ledger import Ledger, Pin, below, read_ledger
from prep.home.receipt import NAME, read_receipt
from prep.settings import Settings
from prep.tasks.precisions import PRECISIONS

HUBS_OWN = ("CACHEDIR.TAG", ".locks")  # what its client puts into every cache
STAGES = ("fetch", *(f"convert.{precision}" for precision in PRECISIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What stays of one repository. `pins` are this catalogue's and all others'.

    `paths` are the locked files of each pin of ours, `shas` their digests; `precisions` and
    `recipes` (folder names) what the catalogue wants of it converted.
    """

    pins: frozenset[Pin]
    paths: dict[str, frozenset[str]]
    shas: frozenset[str]
    precisions: frozenset[str]
    recipes: frozenset[str]
    others: frozenset[Pin]


@dataclass(slots=True)
class Found:
    """What is to be removed of one repository, in this order, and what is kept with the reason."""

    remove: list[Path] = field(default_factory=list)
    kept: dict[Path, str] = field(default_factory=dict)


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
        with _nobody_at(home, repo, dry) as free:
            if not free:
                write(f"skip    {repo}: another process works on it; run again when it is done\n")
                continue
            wanted = _wanted(settings, ledger, repo)
            found = _leftovers(home, ledger, repo, wanted)
            for path in found.remove:
                size = _size(path)
                write(f"{'would remove' if dry else 'remove'}  {home.shown(path)}  {size} bytes\n")
                freed += size
                if not dry:
                    _remove(home, repo, path)
            for path, why in found.kept.items():
                write(f"keep    {home.shown(path)}: {why}\n")
    for line in _others(settings, ledger) if every else ():
        write(f"{line}\n")
    write(f"{'would free' if dry else 'freed'} {freed} bytes\n")
    return 0


def _wanted(settings: Settings, ledger: Ledger, repo: str) -> Wanted:
    """What this catalogue's lock and the other catalogues want of a repository."""
    ours = [model for model in settings.lock.models if model.repo == repo]
    specs = {spec.name: spec for spec in settings.catalogue.models}
    known = [(model, specs[model.name]) for model in ours if model.name in specs]
    others = frozenset(
        pin
        for catalogue, pins in ledger.wants.items()
        if catalogue != settings.home.catalogue
        for pin in pins
        if pin[0] == repo
    )
    return Wanted(
        pins=others | {(model.repo, model.commit) for model, _ in known},
        paths={
            commit: settings.lock.paths_of(repo, commit)
            for commit in {model.commit for model, _ in known}
        },
        shas=frozenset(file.sha256 for model, _ in known for file in model.files),
        precisions=frozenset(precision for _, spec in known for precision in spec.precisions),
        recipes=frozenset(_recipes(known)),
        others=others,
    )


def _recipes(known: Iterable[tuple[LockedModel, ModelSpec]]) -> Iterator[str]:
    for model, spec in known:
        for precision in spec.precisions:
            yield conversion.recipe_for(model, spec.task, precision).digest


def _leftovers(home: Home, ledger: Ledger, repo: str, wanted: Wanted) -> Found:
    """What the ledger names of a repository and nobody wants; names come before what they name."""
    found = Found()
    root = home.repo(repo)
    for folder in (root, home.conversions(repo), home.partial):
        if folder.exists() and (astray := escapes_home(home, folder)):
            found.kept[folder] = f"{astray[1]}; nothing is removed through such a link"
            return found
    links = list(_snapshot_files(home, ledger, repo, wanted, found))
    ref = home.ref(repo)
    if not wanted.pins and ledger.of(repo, "ref") and ref.is_file() and not ref.is_symlink():
        commit = _named(ref)
        rest = set(_walk(home.snapshot(repo, commit))) if commit else set()
        if rest <= set(links):
            found.remove.append(ref)
        else:
            found.kept[ref] = "it names files that this suite did not place"
    found.remove += links
    found.remove += _blobs(home, ledger, repo, wanted, set(links))
    found.remove += _converted(home, ledger, repo, wanted, found)
    found.remove += _unfinished(home, ledger, repo, wanted)
    return found


def _snapshot_files(
    home: Home, ledger: Ledger, repo: str, wanted: Wanted, found: Found
) -> Iterator[Path]:
    """Files in snapshots: links into the repository's own blobs, or copies with the noted bytes."""
    in_use = _named(home.ref(repo))
    for line in _last(ledger.of(repo, "file")):
        commit = str(line.get("commit"))
        snapshot = home.snapshot(repo, commit)
        path = below(home, line, snapshot)
        if path is None or not os.path.lexists(path):
            continue
        if (repo, commit) in wanted.others:
            continue
        if path.relative_to(snapshot).as_posix() in wanted.paths.get(commit, ()):
            continue
        if wanted.pins and in_use == commit and (repo, commit) not in wanted.pins:
            found.kept[snapshot] = (
                "refs/main still names it, and what is wanted is not there yet: run pytest first"
            )
        elif escapes_home(home, path.parent):
            found.kept[path] = "its folder is reached by a link that leads elsewhere"
        elif _is_ours(home, repo, path, line):
            yield path
        else:
            found.kept[path] = "it is not what this suite placed there"


def _named(ref: Path) -> str | None:
    """The commit that refs/main names; None where it names none."""
    try:
        commit = read_bytes(ref, 200).decode(errors="replace").strip()
    except OSError:
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _is_ours(home: Home, repo: str, path: Path, line: dict[str, object]) -> bool:
    if target := link_target(path):
        blobs = (home.repo(repo) / "blobs").resolve()
        return Path(os.path.normpath(path.parent.resolve() / target)).parent == blobs
    if not path.is_file() or path.stat().st_size != line.get("size"):
        return False
    return digest_file(path) == Digest(path.stat().st_size, str(line.get("sha256")))


def _blobs(
    home: Home, ledger: Ledger, repo: str, wanted: Wanted, links: set[Path]
) -> Iterator[Path]:
    """Blobs to which no link leads any more; one that the lock wants is about to be linked."""
    folder = home.repo(repo) / "blobs"
    used = {
        (path.parent / target).resolve().name
        for path in _walk(home.repo(repo) / "snapshots")
        if path not in links and (target := link_target(path))
    }
    for line in _last(ledger.of(repo, "blob")):
        path = below(home, line, folder)
        if path is None or path.parent != folder or path.is_symlink() or not path.is_file():
            continue
        if path.name not in used and path.name not in wanted.shas:
            yield path


def _converted(
    home: Home, ledger: Ledger, repo: str, wanted: Wanted, found: Found
) -> Iterator[Path]:
    """Stable paths of precisions that nobody wants, then the folders to which none leads."""
    place = home.conversions(repo)
    in_use = set()
    noted = {below(home, line, place) for line in ledger.of(repo, "link")}
    for precision in PRECISIONS:
        stable = home.stable(repo, precision)
        target = link_target(stable)
        if target and (wanted.others or precision in wanted.precisions or stable not in noted):
            in_use.add(target.name)
        elif target:
            yield stable
    for line in _last(ledger.of(repo, "conversion")):
        path = below(home, line, place)
        if path is None or path.parent != place or path.is_symlink() or not path.is_dir():
            continue
        if path.name in in_use or path.name in wanted.recipes:
            continue
        pin = (repo, str(line.get("commit")))
        if pin in wanted.others and pin[1] not in wanted.paths:
            continue  # theirs, and their next run points its stable path there again
        if strange := _strangers(path):
            found.kept[path] = f"it holds {strange[0].name}, which this suite did not place there"
        else:
            yield path


def _unfinished(home: Home, ledger: Ledger, repo: str, wanted: Wanted) -> Iterator[Path]:
    """Drafts, what was set aside, and parts of files: nobody is at them, their locks are ours."""
    place = home.conversions(repo)
    for what in ("draft", "aside"):
        for line in _last(ledger.of(repo, what)):
            path = below(home, line, place)
            hidden = path is not None and path.parent == place and path.name.startswith(".")
            if path is not None and hidden and path.is_dir() and not path.is_symlink():
                yield path
    shas = {line["sha256"] for line in ledger.of(repo, "file") if line.get("sha256")}
    for sha in sorted(shas - wanted.shas):
        if not any((repo, line.get("commit")) in wanted.others for line in ledger.of(repo, "file")):
            for path in (home.partial / sha, home.partial / f"{sha}.lock"):
                if path.is_file() and not path.is_symlink() and not _is_claimed(path):
                    yield path


def _is_claimed(partial: Path) -> bool:
    """Whether somebody writes it: the same bytes may be on their way for another repository."""
    try:
        with partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _strangers(folder: Path) -> list[Path]:
    """Files in a converted folder that its receipt does not name; none where that is unreadable."""
    try:
        known = {file.path for file in read_receipt(folder).files} | {NAME}
    except Unreadable:
        return []
    return [path for path in _walk(folder) if path.relative_to(folder).as_posix() not in known]


def _remove(home: Home, repo: str, path: Path) -> None:
    """Remove one thing, then note it: a stop between the two leaves a line too many, no thing.

    Folders that are empty now go with it. Nothing is followed: a link goes, not what it leads to.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    _note(home, repo, path)
    top = next(one for one in (home.hub, home.root / "openvino", home.state) if one in path.parents)
    for folder in path.parents:
        if folder in (top, home.partial):
            break
        try:
            folder.rmdir()
        except OSError:
            break
        _note(home, repo, folder)


def _note(home: Home, repo: str, path: Path) -> None:
    pin = {"commit": path.name} if path.parent.name == "snapshots" else {}
    home.note_placed("removed", path, repo=repo, **pin)


@contextlib.contextmanager
def _nobody_at(home: Home, repo: str, dry: bool) -> Iterator[bool]:
    """Hold all stages' locks of a repository; False where somebody else holds one, or may."""
    with contextlib.ExitStack() as stack:
        free = True
        for stage in () if dry else STAGES:  # a list needs no lock, and writes none
            path = home.lock(repo, stage)
            make_folder(path.parent)
            try:
                stack.enter_context(
                    FileLock(path, mode=0o666, fallback_to_soft=False).acquire(timeout=0)
                )
            except (Timeout, NotImplementedError):
                free = False
                break
            except OSError as error:  # where locks do nothing, somebody may be at it
                if error.errno not in NO_LOCKS:
                    raise
                free = False
                break
        yield free


def _others(settings: Settings, ledger: Ledger) -> Iterator[str]:
    """What is left and not of this catalogue, with its size: never touched."""
    home = settings.home
    ours = {spec.repo for spec in settings.catalogue.models}
    keep = {home.hub, home.root / "openvino", home.state}
    keep |= {home.repo(repo) for repo in ours} | {home.conversions(repo) for repo in ours}
    wants = {
        folder: catalogue
        for catalogue, pins in ledger.wants.items()
        for repo, _ in pins
        for folder in (home.repo(repo), home.conversions(repo))
    }
    old = {
        folder
        for line in ledger.lines
        if not line.get("catalogue") and isinstance(line.get("repo"), str)
        for folder in (home.repo(line["repo"]), home.conversions(line["repo"]))
    }
    for folder in (home.root, home.hub, home.root / "openvino"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path in keep or path.name in HUBS_OWN:
                continue
            why = "this suite did not place it"
            if path in wants:
                why = f"wanted by {wants[path]}"
            elif path in old:
                why = "placed before catalogues were noted"
            yield f"leave   {home.shown(path)}  {_size(path)} bytes: {why}"
    for repo in sorted(ours):
        strange = list(_not_ours(home, ledger, repo))
        if strange:
            size = sum(map(_size, strange))
            yield (
                f"leave   {repo}  {size} bytes that this suite did not place: "
                f"{home.shown(strange[0])}" + (f" and {len(strange) - 1} more" * (len(strange) > 1))
            )


def _not_ours(home: Home, ledger: Ledger, repo: str) -> Iterator[Path]:
    """What lies about in the folders of a repository of ours, and no line of the ledger names."""
    noted = {home.root / str(line.get("path")) for line in ledger.lines if line.get("repo") == repo}
    for folder in (home.repo(repo), home.conversions(repo)):
        for path in _walk(folder):
            if path not in noted and not noted.intersection(path.parents):
                yield path


def _last(lines: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """The last line of each path."""
    return list({str(line.get("path")): line for line in lines}.values())


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below that is no folder, links to folders too; nothing is followed."""
    for top, folders, names in os.walk(folder):
        here = Path(top)
        yield from (here / name for name in names)
        yield from (here / name for name in folders if (here / name).is_symlink())


def _size(path: Path) -> int:
    """The bytes that removing it gives back: a file with another name elsewhere gives none."""
    if path.is_dir() and not path.is_symlink():
        return sum(map(_size, _walk(path)))
    stat = path.lstat()
    return stat.st_size if not path.is_symlink() and stat.st_nlink == 1 else 0
