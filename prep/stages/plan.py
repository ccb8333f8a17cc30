"""Decides what has to be done for one model, from what was seen. Does nothing itself.

The same decisions serve a real run, which has digested everything, and ``--dry-run``, which knows
sizes and receipts only.
"""

from dataclasses import dataclass
from typing import Literal

from prep.catalogue.lock import LockedFile, LockedModel
from prep.home.receipt import Recipe
from prep.verify.conversion import ConversionState
from prep.verify.problem import Problem
from prep.verify.source import SourceState

PERMANENT_ASPECTS = ("unlocked", "unsafe")  # aspects of originals that only a person can mend


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """What brings a snapshot to the lock.

    `fetch` are files to get (or to link anew), `open` problems of modes to repair, `move_ref` says
    that refs/main must be written. `unrepairable` is what no plan may repair: unlocked files, and
    locked ones that must not be run.
    """

    fetch: tuple[LockedFile, ...]
    open: tuple[Problem, ...]
    move_ref: bool
    unrepairable: tuple[Problem, ...]

    @property
    def bytes(self) -> int:
        """How many bytes the hub has to send."""
        return sum(file.size for file in self.fetch)

    @property
    def nothing_to_do(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.fetch or self.open or self.move_ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """Whether to keep, to point the stable path at what is there, or to convert (again)."""

    action: Literal["keep", "open", "point", "convert", "convert again"]
    reason: str


def plan_source(locked: LockedModel, state: SourceState) -> SourcePlan:
    """What to do for the original files."""
    wrong = {problem.path for problem in state.problems if problem.aspect in ("bytes", "links")}
    return SourcePlan(
        fetch=tuple(file for file in locked.files if file.path in wrong),
        open=tuple(problem for problem in state.problems if problem.aspect == "modes"),
        move_ref=any(problem.aspect == "ref" for problem in state.problems),
        unrepairable=tuple(
            problem for problem in state.problems if problem.aspect in PERMANENT_ASPECTS
        ),
    )


def damage_of(state: SourceState, *, was_whole: bool) -> tuple[Problem, ...]:
    """Which of the problems are damage, to be reported when repaired, and not just work to do.

    Bytes that are not the lock's always are. What is missing is damage only where the ledger says
    that this commit was whole before; else it was never finished.
    """
    return tuple(
        problem
        for problem in state.problems
        if problem.aspect not in PERMANENT_ASPECTS
        and (was_whole or (problem.aspect in ("bytes", "links") and problem.kind != "missing"))
    )


def plan_conversion(
    recipe: Recipe, stable: ConversionState, made: ConversionState
) -> ConversionPlan:
    """What to do, seen the stable path and the folder that is named by the recipe in force.

    A stable path that is a whole folder itself (a copy with links resolved) serves as well.
    """
    if _serves(stable, recipe):
        return _keep_or_open(stable)
    if made.folder is None:
        return ConversionPlan(action="convert", reason=_first(stable) or "other tools")
    if not _serves(made, recipe):
        return ConversionPlan(action="convert again", reason=_first(made))
    return ConversionPlan(action="point", reason=_first(stable) or "other tools")


def _serves(state: ConversionState, recipe: Recipe) -> bool:
    """Whether the folder is that recipe's and whole; modes are mended, extra files only told.

    A file that must not be run and that the receipt names is no whole conversion's: made again.
    """
    whole = all(problem.aspect in ("modes", "unlocked") for problem in state.problems)
    return whole and state.receipt is not None and state.receipt.recipe.digest == recipe.digest


def _keep_or_open(state: ConversionState) -> ConversionPlan:
    if any(problem.aspect == "modes" for problem in state.problems):
        return ConversionPlan(action="open", reason=_first(state))
    return ConversionPlan(action="keep", reason="receipt and bytes agree")


def _first(state: ConversionState) -> str:
    return " ".join(str(state.problems[0]).split()) if state.problems else ""
