"""Files and notes that nobody locked, and that change what a loader sees."""

import os
from collections.abc import Iterator
from pathlib import Path

from prep.catalogue.lock import LockedModel
from prep.home.layout import Home, can_be_seen, link_target
from prep.tasks.loaders import a_loader_takes
from prep.verify.problem import Problem


def unlocked_files(
    folder: Path, known: set[str], *, converted: bool = False
) -> tuple[list[Problem], tuple[str, ...]]:
    """Files that nobody locked: a problem where a loader takes them, else only listed."""
    problems, unused = [], []
    for path in sorted(_walk(folder)):
        if path in known:
            continue
        if a_loader_takes(path, known, converted=converted):
            problems.append(
                Problem(
                    aspect="unlocked",
                    kind="unexpected",
                    path=path,
                    detail="is not locked, and a loader would take it",
                )
            )
        else:
            unused.append(path)
    return problems, tuple(unused)


def no_exist_notes(home: Home, locked: LockedModel) -> list[Problem]:
    """Locked files of which the hub's client has noted that upstream has none.

    It reads its notes first, so loads by name do not see a file that is there and whole.
    """
    notes = Path(".no_exist") / locked.commit
    return [
        Problem(
            aspect="unlocked",
            kind="unexpected",
            path=str(notes / file.path),
            detail="the hub's client notes here that there is no such file, and looks no further",
        )
        for file in locked.files
        if can_be_seen(home.repo(locked.repo) / notes / file.path)
    ]


def _walk(folder: Path) -> Iterator[str]:
    """All files below; of a link to a folder, the files directly in it: deeper no loader looks."""
    for top, folders, names in os.walk(folder):
        here = Path(top)
        linked = [here / name for name in folders if link_target(here / name)]
        behind = [path for link in linked for path in link.glob("*") if path.is_file()]
        for path in (*(here / name for name in names), *behind):
            yield path.relative_to(folder).as_posix()
