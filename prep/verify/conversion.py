"""Holds a converted model against its receipt and the lock. Looks only; repairs nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.lock import LockedModel
from prep.files.patterns import is_weights
from prep.files.reader import Unreadable
from prep.home import receipt as receipts
from prep.home.layout import Home, escapes_home, link_target
from prep.home.receipt import Receipt, Recipe
from prep.verify.files import other_digests, other_sizes, present_files, unsafe_files
from prep.verify.modes import unreadable_by_others
from prep.verify.problem import Problem
from prep.verify.unlocked import unlocked_files


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionState:
    """One converted model as it lies in the home: `folder` is what the looked-at path leads to."""

    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    folder: Path | None
    receipt: Receipt | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with links, receipt, bytes, modes and unlocked files."""
        return not self.problems


def check_conversion(
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
        return broken("unreadable", name, f"cannot be reached: {error.strerror}")
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        target = link_target(at)
        dangling = f"leads to {target}, which is not there" if target else "never converted"
        return broken("missing", name, dangling)
    astray = escapes_home(home, at)
    if astray and astray[0] == "outside-home":
        return broken(astray[0], name, astray[1])
    try:
        receipt = receipts.read_receipt(folder)
    except Unreadable as error:
        state = broken("corrupt", f"{name}/{receipts.NAME}", str(error))
        return ConversionState(problems=state.problems, unused=(), folder=folder, receipt=None)

    problems = _against_lock(receipt, locked, precision, f"{name}/{receipts.NAME}")
    for path, told in ((at, astray), (folder / receipts.NAME, None)):
        if found_astray := told or escapes_home(home, path):
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
                    kind="mismatch",
                    path=f"{name}/{receipts.NAME}",
                    detail=f"its recipe is {receipt.recipe.digest[:12]}…, {other} {digest}",
                )
            )
    wrong, found = present_files(home, folder, receipt.files)
    problems += wrong
    problems += other_digests(found, on_bytes) if deep else other_sizes(found)
    if deep:
        problems += unsafe_files(found, receipt.files, problems)
    known = {file.path for file in receipt.files} | {receipts.NAME}
    extra, unused = unlocked_files(folder, known, converted=True)
    modes = unreadable_by_others(home, [at, folder, folder / receipts.NAME, *found])
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
            aspect="receipt", kind="mismatch", path=path, detail=f"{what} is {got}, wanted {wanted}"
        )
        for what, got, wanted in pairs
        if got != wanted
    ]
    if not problems and dict(recipe.source) != source:
        problems.append(
            Problem(
                aspect="receipt",
                kind="mismatch",
                path=path,
                detail="it was made from other bytes than the lock names",
            )
        )
    made = {file.path: file.sha256 for file in receipt.files}
    problems += [
        Problem(
            aspect="receipt",
            kind="mismatch",
            path=path,
            detail=f"it lists another {name} than the lock, whose bytes every conversion keeps",
        )
        for name, sha256 in source.items()
        if not problems and not is_weights(name) and made.get(name) != sha256
    ]
    return problems
