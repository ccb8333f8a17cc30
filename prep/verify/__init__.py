"""Holds the home against the lock and the receipts. Looks only; changes nothing, heals nothing.

What a look finds are problems, each of one aspect, so that one test judges one aspect. `deep`
digests every byte; without it, sizes alone are compared (the plan's quick look).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prep import receipt as receipts
from prep.errors import ConversionError
from prep.layout import Home, can_be_seen, leads_astray, link_target
from prep.lock import LockedModel
from prep.receipt import Receipt, Recipe
from prep.tasks import is_weights
from prep.verify.access import closed_to_others
from prep.verify.extras import denied_files, extra_files
from prep.verify.files import hazardous_files, other_digests, other_sizes, present_files
from prep.verify.problem import Aspect, Problem

__all__ = (
    "Aspect",
    "ConversionState",
    "Problem",
    "SourceState",
    "look_at_conversion",
    "look_at_source",
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionState:
    """One converted model as it lies in the home: `folder` is what the looked-at path leads to."""

    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    folder: Path | None
    receipt: Receipt | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with links, receipt, bytes, modes and extras."""
        return not self.problems


def look_at_source(
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
        problems += hazardous_files(found, locked.files, problems)
    known = {file.path for file in locked.files} | set(also_locked)
    extra, unused = extra_files(snapshot, known)
    extra += denied_files(home, locked)
    ref, wrong = _ref(home, locked)
    return SourceState(
        problems=(
            *problems,
            *closed_to_others(home, [snapshot, *found, home.ref(locked.repo)]),
            *extra,
            *wrong,
        ),
        unused=unused,
        ref=ref,
    )


def look_at_conversion(
    home: Home,
    locked: LockedModel,
    precision: str,
    *,
    at: Path,
    wanted: Recipe | None = None,
    deep: bool,
    on_bytes: Callable[[int], None] | None = None,
) -> ConversionState:
    """Look at the converted model at `at`: its stable path, or a recipe's folder.

    `wanted` is the recipe that this machine would follow now; None, as under --offline, takes the
    tools that the receipt names.
    """
    name = home.shown(at)

    def broken(kind: str, path: str, detail: str) -> ConversionState:
        problem = Problem(aspect="receipt", kind=kind, path=path, detail=detail)
        return ConversionState(problems=(problem,), unused=(), folder=None, receipt=None)

    try:
        folder = at.resolve(strict=True)
    except PermissionError as error:
        return broken("closed", name, f"cannot be reached: {error.strerror}")
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        target = link_target(at)
        dangling = f"leads to {target}, which is not there" if target else "never converted"
        return broken("missing", name, dangling)
    astray = leads_astray(home, at)
    if astray and astray[0] == "outside":
        return broken(astray[0], name, astray[1])
    try:
        receipt = receipts.read_receipt(folder)
    except ConversionError as error:
        state = broken("broken", f"{name}/{receipts.NAME}", str(error))
        return ConversionState(problems=state.problems, unused=(), folder=folder, receipt=None)

    problems = _against_lock(receipt, locked, precision, f"{name}/{receipts.NAME}")
    for path, told in ((at, astray), (folder / receipts.NAME, None)):
        if found_astray := told or leads_astray(home, path):
            kind, detail = found_astray
            shown = name if path == at else f"{name}/{receipts.NAME}"
            problems.append(Problem(aspect="links", kind=kind, path=shown, detail=detail))
    by_recipe = folder.name != precision  # a copy with links resolved has a plain int8/ folder
    for other, digest in (
        ("its folder", folder.name if by_recipe else None),
        ("the recipe in force", wanted.digest if wanted else None),
    ):
        if digest not in (None, receipt.recipe.digest):
            problems.append(
                Problem(
                    aspect="receipt",
                    kind="changed",
                    path=f"{name}/{receipts.NAME}",
                    detail=f"its recipe is {receipt.recipe.digest[:12]}…, {other} {digest}",
                )
            )
    wrong, found = present_files(home, folder, receipt.files)
    problems += wrong
    problems += other_digests(found, on_bytes) if deep else other_sizes(found)
    if deep:
        problems += hazardous_files(found, receipt.files, problems)
    known = {file.path for file in receipt.files} | {receipts.NAME}
    extra, unused = extra_files(folder, known, converted=True)
    modes = closed_to_others(home, [at, folder, folder / receipts.NAME, *found])
    return ConversionState(
        problems=(*problems, *modes, *extra), unused=unused, folder=folder, receipt=receipt
    )


def _against_lock(
    receipt: Receipt, locked: LockedModel, precision: str, path: str
) -> list[Problem]:
    recipe = receipt.recipe
    source = {file.path: file.sha256 for file in locked.files}
    pairs = (
        ("repo", recipe.repo, locked.repo),
        ("commit", recipe.commit, locked.commit),
        ("precision", recipe.precision, precision),
    )
    problems = [
        Problem(
            aspect="receipt", kind="changed", path=path, detail=f"{what} is {got}, wanted {wanted}"
        )
        for what, got, wanted in pairs
        if got != wanted
    ]
    if not problems and dict(recipe.source) != source:
        problems.append(
            Problem(
                aspect="receipt",
                kind="changed",
                path=path,
                detail="it was made from other bytes than the lock names",
            )
        )
    made = {file.path: file.sha256 for file in receipt.files}
    problems += [
        Problem(
            aspect="receipt",
            kind="changed",
            path=path,
            detail=f"it lists another {name} than the lock, whose bytes every conversion keeps",
        )
        for name, sha256 in source.items()
        if not problems and not is_weights(name) and made.get(name) != sha256
    ]
    return problems


def _ref(home: Home, locked: LockedModel) -> tuple[str | None, list[Problem]]:
    """refs/main must be the commit and nothing else: the hub reads it without stripping."""
    path = home.ref(locked.repo)

    def broken(kind: str, detail: str) -> list[Problem]:
        return [Problem(aspect="ref", kind=kind, path="refs/main", detail=detail)]

    if astray := leads_astray(home, path):
        return None, broken(*astray)
    if can_be_seen(path) and not path.is_file():  # Don't open it: a pipe would never end
        return None, broken("changed", "is not a file")
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_REF).decode("utf-8", errors="replace")
    except OSError:
        return None, broken("missing", "without it the model cannot be loaded by its name")
    if text == locked.commit:
        return text, []
    return text, broken("changed", f"is {text!r}, locked {locked.commit!r}")
