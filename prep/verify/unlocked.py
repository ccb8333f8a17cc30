"""Files and notes that the lock does not name, and that change what a loader sees."""

from collections.abc import Iterator
from pathlib import Path

from prep.catalogue.lock import LockedModel
from prep.files.tree import walk_files
from prep.home.layout import Home, can_be_seen
from prep.tasks.loaders import a_loader_takes
from prep.verify.problem import Problem


def unlocked_files(
    folder: Path, known: set[str], *, converted: bool = False
) -> tuple[list[Problem], tuple[str, ...]]:
    """Files that are not locked: a problem where a loader takes them, else only listed."""
    problems, unused = [], []
    for path in sorted(_paths(folder)):
        if path in known:
            continue
        if a_loader_takes(path, known, converted=converted):
            problems.append(_unexpected(path, "is not locked, and a loader would take it"))
        else:
            unused.append(path)
    return problems, tuple(unused)


def no_exist_notes(home: Home, locked: LockedModel) -> list[Problem]:
    """Locked files of which the hub's client has noted that upstream has none.

    It reads its notes first, so loads by name do not see a file that is there and whole.
    """
    notes = Path(".no_exist") / locked.commit
    detail = "the hub's client notes here that there is no such file, and looks no further"
    return [
        _unexpected(str(notes / file.path), detail)
        for file in locked.files
        if can_be_seen(home.repo(locked.repo) / notes / file.path)
    ]


def _unexpected(path: str, detail: str) -> Problem:
    return Problem(aspect="unlocked", kind="unexpected", path=path, detail=detail)


def _paths(folder: Path) -> Iterator[str]:
    """All files below; of a link to a folder, the files directly in it: deeper no loader looks."""
    for path in walk_files(folder):
        linked = path.is_symlink() and can_be_seen(path) and path.is_dir()
        files = [file for file in path.glob("*") if file.is_file()] if linked else [path]
        yield from (file.relative_to(folder).as_posix() for file in files)
