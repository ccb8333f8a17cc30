"""Whether other users can read the files of a model."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from prep.home.layout import Home, can_be_seen, link_target
from prep.verify.problem import Problem


def unreadable_by_others(home: Home, paths: Iterable[Path]) -> list[Problem]:
    """Others must be able to read each path, and to enter each folder from the home downwards."""
    root = home.root.resolve()
    problems: dict[Path, Problem | None] = {}
    for needed in (needed for path in paths for needed in _needed_for(path)):
        if not needed.is_relative_to(root):
            continue  # links that lead outside are another aspect
        for place in (needed, *needed.parents):
            if place not in problems:
                problems[place] = _mode_problem(home, place)
            if place == root:
                break
    return [problem for _, problem in sorted(problems.items()) if problem]


def _needed_for(path: Path) -> Iterator[Path]:
    """What must be readable to read `path`: the folder of every link on the way, and its target.

    Where it is not there, or we are kept from seeing it, the folders above it that are there.
    """
    while not can_be_seen(path):
        path = path.parent
    yield path.resolve()
    while target := link_target(path):
        yield path.parent.resolve()
        path = path.parent / target


def _mode_problem(home: Home, path: Path) -> Problem | None:
    mode = path.stat().st_mode
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    if mode & wanted == wanted:
        return None
    need = "o+rx" if stat.S_ISDIR(mode) else "o+r"
    return Problem(
        aspect="modes",
        kind="unreadable",
        path=home.shown(path) if path != home.root.resolve() else str(home.root),
        detail=f"mode is {stat.S_IMODE(mode):04o}, other users need {need}",
    )
