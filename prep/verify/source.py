"""Holds a model's snapshot and its ref against the lock. Looks only; repairs nothing.

What a look finds are problems, each of one aspect, so that one test judges one aspect. `deep`
digests every byte; without it, sizes alone are compared (the plan's quick look).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prep.catalogue.lock import LockedModel
from prep.home.layout import Home, can_be_seen, escapes_home
from prep.verify.files import other_digests, other_sizes, present_files, unsafe_files
from prep.verify.modes import unreadable_by_others
from prep.verify.problem import Problem
from prep.verify.unlocked import no_exist_notes, unlocked_files

LONGEST_REF = 200  # bytes to tell of; a commit has 40


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
    """Look at a model's snapshot and its ref; `also_locked` are paths of other entries there."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    problems, found = present_files(home, snapshot, locked.files)
    problems += other_digests(found, on_bytes) if deep else other_sizes(found)
    if deep:
        problems += unsafe_files(found, locked.files, problems)
    known = {file.path for file in locked.files} | set(also_locked)
    extra, unused = unlocked_files(snapshot, known)
    extra += no_exist_notes(home, locked)
    ref, wrong = _ref(home, locked)
    return SourceState(
        problems=(
            *problems,
            *unreadable_by_others(home, [snapshot, *found, home.ref(locked.repo)]),
            *extra,
            *wrong,
        ),
        unused=unused,
        ref=ref,
    )


def _ref(home: Home, locked: LockedModel) -> tuple[str | None, list[Problem]]:
    """refs/main must be the commit and nothing else: the hub reads it without stripping."""
    path = home.ref(locked.repo)

    def broken(kind: str, detail: str) -> list[Problem]:
        return [Problem(aspect="ref", kind=kind, path="refs/main", detail=detail)]

    if astray := escapes_home(home, path):
        return None, broken(*astray)
    if can_be_seen(path) and not path.is_file():  # Don't open it: a pipe would never end
        return None, broken("corrupt", "is not a file")
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_REF).decode("utf-8", errors="replace")
    except OSError:
        return None, broken("missing", "without it the model cannot be loaded by its name")
    if text == locked.commit:
        return text, []
    return text, broken("mismatch", f"is {text!r}, locked {locked.commit!r}")
