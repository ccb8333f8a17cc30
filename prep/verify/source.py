"""Checks a model's snapshot and its ref against the lock; repairs nothing.

What is found are problems, each of one aspect, so that one test judges one aspect.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prep.catalogue.lock import LockedModel
from prep.home.layout import Home, can_be_seen, escapes_home
from prep.verify.files import check_files
from prep.verify.modes import unreadable_by_others
from prep.verify.problem import Problem
from prep.verify.unlocked import no_exist_notes, unlocked_files

LONGEST_REF = 200  # bytes to show; a commit has 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """The original files of one model as they lie in the home.

    `ref` is the text of refs/main, None where there is none. `unused` are files in the snapshot
    that no loader takes; they are listed, never touched.
    """

    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    ref: str | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_source(
    home: Home,
    locked: LockedModel,
    *,
    also_locked: Iterable[str] = (),
    deep: bool,
    on_bytes: Callable[[int], None] | None = None,
) -> SourceState:
    """Check a model's snapshot and its ref; `also_locked` are paths of other entries there."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    problems, found = check_files(home, snapshot, locked.files, deep=deep, on_bytes=on_bytes)
    known = {file.path for file in locked.files} | set(also_locked)
    unlocked, unused = unlocked_files(snapshot, known)
    ref, wrong_ref = _check_ref(home, locked)
    return SourceState(
        problems=(
            *problems,
            *unreadable_by_others(home, [snapshot, *found, home.ref(locked.repo)]),
            *unlocked,
            *no_exist_notes(home, locked),
            *wrong_ref,
        ),
        unused=unused,
        ref=ref,
    )


def _check_ref(home: Home, locked: LockedModel) -> tuple[str | None, list[Problem]]:
    """refs/main must be the commit and nothing else: the hub reads it without stripping."""
    path = home.ref(locked.repo)

    def wrong(kind: str, detail: str) -> list[Problem]:
        return [Problem(aspect="ref", kind=kind, path="refs/main", detail=detail)]

    if escape := escapes_home(home, path):
        return None, wrong(*escape)
    if can_be_seen(path) and not path.is_file():  # Don't open it: a pipe would never end
        return None, wrong("corrupt", "is not a file")
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_REF).decode("utf-8", errors="replace")
    except OSError:
        return None, wrong("missing", "without it the model cannot be loaded by its name")
    if text == locked.commit:
        return text, []
    return text, wrong("mismatch", f"is {text!r}, locked {locked.commit!r}")
