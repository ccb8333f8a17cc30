"""Checks a converted model against its receipt and the lock; repairs nothing."""

from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.lock import LockedModel
from prep.files.patterns import is_weights
from prep.files.reader import Unreadable
from prep.home.layout import Home, escapes_home, link_target
from prep.home.receipt import (
    NAME,
    TOKENIZER,
    TOKENIZER_TOOL,
    Receipt,
    Recipe,
    read_receipt,
)
from prep.verify.files import check_files
from prep.verify.modes import unreadable_by_others
from prep.verify.problem import Aspect, Problem
from prep.verify.unlocked import unlocked_files


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionState:
    """One converted model as it lies in the home; `folder` is what the checked path leads to."""

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
) -> ConversionState:
    """Check the converted model at `at`: its stable path, or a recipe's folder.

    `wanted` is the recipe that this machine would follow now; None, as under --offline, takes the
    tools that the receipt names.
    """
    name = home.shown(at)
    receipt_name = f"{name}/{NAME}"

    def problem(aspect: Aspect, kind: str, path: str, detail: str) -> Problem:
        return Problem(aspect=aspect, kind=kind, path=path, detail=detail)

    def unusable(kind: str, path: str, detail: str, folder: Path | None = None) -> ConversionState:
        problems = (problem("receipt", kind, path, detail),)
        return ConversionState(problems=problems, unused=(), folder=folder, receipt=None)

    try:
        folder = at.resolve(strict=True)
    except PermissionError as error:
        return unusable("unreadable", name, f"cannot be reached: {error.strerror}")
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        target = link_target(at)
        dangling = f"leads to {target}, which is not there" if target else "never converted"
        return unusable("missing", name, dangling)
    escape = escapes_home(home, at)
    if escape and escape[0] == "outside-home":
        return unusable(escape[0], name, escape[1])
    try:
        receipt = read_receipt(folder)
    except Unreadable as error:
        return unusable("corrupt", receipt_name, str(error), folder)

    problems = [
        problem("receipt", "mismatch", receipt_name, detail)
        for detail in _differences_from_lock(receipt, locked, precision)
    ]
    links = ((name, escape), (receipt_name, escapes_home(home, folder / NAME)))
    problems += [problem("links", found[0], path, found[1]) for path, found in links if found]
    by_recipe = folder.name != precision  # a copy with links resolved has a plain int8/ folder
    problems += [
        problem(
            "receipt",
            "mismatch",
            receipt_name,
            f"its recipe is {receipt.recipe.digest[:12]}…, {other} {digest}",
        )
        for other, digest in (
            ("its folder", folder.name if by_recipe else None),
            ("the recipe in force", wanted.digest if wanted else None),
        )
        if digest not in (None, receipt.recipe.digest)
    ]
    wrong, found_files = check_files(home, folder, receipt.files, deep=deep)
    known = {file.path for file in receipt.files} | {NAME}
    unlocked, unused = unlocked_files(folder, known, converted=True)
    modes = unreadable_by_others(home, [at, folder, folder / NAME, *found_files])
    return ConversionState(
        problems=(*problems, *wrong, *modes, *unlocked),
        unused=unused,
        folder=folder,
        receipt=receipt,
    )


def _differences_from_lock(receipt: Receipt, locked: LockedModel, precision: str) -> list[str]:
    """Where the receipt is of something else than the lock names; of several, the coarsest."""
    recipe = receipt.recipe
    pairs = (
        ("repo", recipe.repo, locked.repo),
        ("commit", recipe.commit, locked.commit),
        ("precision", recipe.precision, precision),
    )
    if other := [
        f"{what} is {got}, wanted {wanted}" for what, got, wanted in pairs if got != wanted
    ]:
        return other
    source = {file.path: file.sha256 for file in locked.files}
    if dict(recipe.source) != source:
        return ["it was made from other bytes than the lock names"]
    made = {file.path: file.sha256 for file in receipt.files}
    if TOKENIZER_TOOL in recipe.tools and TOKENIZER not in made and not receipt.no_tokenizer:
        return [f"it lists no {TOKENIZER}, and does not say why"]
    return [
        f"it lists another {name} than the lock, whose bytes every conversion keeps"
        for name, sha256 in source.items()
        if not is_weights(name) and made.get(name) != sha256
    ]
