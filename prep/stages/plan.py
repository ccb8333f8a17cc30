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

CONVERTS = ("convert", "convert again")  # the actions that take time, disk and memory
PERMANENT_ASPECTS = ("unlocked", "unsafe")  # of original files: only a person can repair these


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """What brings a snapshot to the lock.

    `fetch` are files to get (or to link anew), `open` problems of modes to repair, `move_ref` says
    that refs/main must be written. `unrepairable` are unlocked and unsafe files.
    """

    fetch: tuple[LockedFile, ...]
    open: tuple[Problem, ...]
    move_ref: bool
    unrepairable: tuple[Problem, ...]

    @property
    def nothing_to_do(self) -> bool:
        """Whether nothing can be repaired or has to be fetched."""
        return not (self.fetch or self.open or self.move_ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """Whether to keep, to point the stable path at what is there, or to convert (again)."""

    action: Literal["keep", "open", "point", "convert", "convert again"]
    reason: str


def plan_source(locked: LockedModel, state: SourceState) -> SourcePlan:
    """What to do for the original files."""

    def of(*aspects: str) -> tuple[Problem, ...]:
        return tuple(problem for problem in state.problems if problem.aspect in aspects)

    wrong = {problem.path for problem in of("bytes", "links")}
    return SourcePlan(
        fetch=tuple(file for file in locked.files if file.path in wrong),
        open=of("modes"),
        move_ref=bool(of("ref")),
        unrepairable=of(*PERMANENT_ASPECTS),
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
    """What to do, from the states of the stable path and of the folder that `recipe` names.

    A stable path that is a whole folder itself (a copy with links resolved) serves as well.
    """
    if _is_usable(stable, recipe):
        if any(problem.aspect == "modes" for problem in stable.problems):
            return ConversionPlan(action="open", reason=_first(stable))
        return ConversionPlan(action="keep", reason="receipt and bytes agree")
    if made.folder is None:
        return ConversionPlan(action="convert", reason=_first(stable) or "other tools")
    if not _is_usable(made, recipe):
        return ConversionPlan(action="convert again", reason=_first(made))
    return ConversionPlan(action="point", reason=_first(stable) or "other tools")


def _is_usable(state: ConversionState, recipe: Recipe) -> bool:
    """Whether the folder is that recipe's and whole: modes are repaired, unlocked files reported.

    An unsafe file that the receipt names makes it unusable: it is converted again.
    """
    whole = all(problem.aspect in ("modes", "unlocked") for problem in state.problems)
    return whole and state.receipt is not None and state.receipt.recipe.digest == recipe.digest


def _first(state: ConversionState) -> str:
    return " ".join(str(state.problems[0]).split()) if state.problems else ""
