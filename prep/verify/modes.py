"""Whether other users can get at what lies there."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from prep.home.layout import Home, can_be_seen, link_target
from prep.verify.problem import Problem


def unreadable_by_others(home: Home, paths: Iterable[Path]) -> list[Problem]:
    """Others must be able to read each path, and to enter each folder from the home downwards."""
    root = home.root.resolve()
    seen: dict[Path, Problem | None] = {}
    for real in (place for path in paths for place in _on_the_way(path)):
        if not real.is_relative_to(root):
            continue  # links that lead outside are another aspect
        for one in (real, *real.parents):
            if one not in seen:
                seen[one] = _mode(home, one)
            if one == root:
                break
    return [problem for _, problem in sorted(seen.items()) if problem]


def _on_the_way(path: Path) -> Iterator[Path]:
    """What must be open to get at `path`: the folder of every link on the way, and its end.

    Where it is not there, or we are kept from seeing it, the folders above it that are there.
    """
    while not can_be_seen(path):
        path = path.parent
    yield path.resolve()
    while target := link_target(path):
        yield path.parent.resolve()
        path = path.parent / target


def _mode(home: Home, path: Path) -> Problem | None:
    mode = path.stat().st_mode
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    if mode & wanted == wanted:
        return None
    need = "o+rx" if stat.S_ISDIR(mode) else "o+r"
    shown = home.shown(path) if path != home.root.resolve() else str(home.root)
    return Problem(
        aspect="modes",
        kind="unreadable",
        path=shown,
        detail=f"mode is {stat.S_IMODE(mode):04o}, other users need {need}",
    )
