"""A plan follows from the problems that were found, and from nothing else."""

from pathlib import Path

import pytest

from prep.home.receipt import Recipe
from prep.stages.plan import ConversionPlan, damage_of, plan_conversion, plan_source
from prep.verify.conversion import ConversionState
from prep.verify.problem import Aspect, Problem
from prep.verify.source import SourceState
from tests.support.small_homes import Tiny, flip, locked_model, receipt_for, recipe_for, tiny

LOCKED = locked_model()
RECIPE = recipe_for(LOCKED)
OTHER = recipe_for(LOCKED, openvino="2027.1.0")
FOLDER = Path("/srv/models/openvino/acme--tiny") / RECIPE.digest


def problem(aspect: Aspect, kind: str, path: str) -> Problem:
    return Problem(aspect=aspect, kind=kind, path=path, detail="got  this,\nwanted that")


RUNS = Problem(aspect="unsafe", kind="code", path="config.json", detail="asks to run code")
CHANGED = problem("bytes", "corrupt", "config.json")
CLOSED_TO_US = problem("bytes", "unreadable", "config.json")
MISSING = problem("bytes", "missing", "vocab.txt")
OUTSIDE = problem("links", "outside-home", "model.safetensors")
CLOSED = problem("modes", "unreadable", "hub")
CLOSED_FILE = problem("modes", "unreadable", "config.json")
EXTRA = problem("unlocked", "unexpected", "adapter_config.json")
NO_REF = problem("ref", "missing", "refs/main")
OTHER_REF = problem("ref", "mismatch", "refs/main")
ALL = (CHANGED, MISSING, OUTSIDE, CLOSED, EXTRA, OTHER_REF)


def source(*problems: Problem) -> SourceState:
    return SourceState(problems=problems, unused=(), ref=None)


def conversion(
    recipe: Recipe | None, *problems: Problem, folder: Path | None = FOLDER
) -> ConversionState:
    """What was seen where the receipt (None: no readable one) is that of `recipe`."""
    receipt = receipt_for(recipe) if recipe else None
    return ConversionState(problems=problems, unused=(), folder=folder, receipt=receipt)


def absent(detail: str = "never converted") -> ConversionState:
    missing = Problem(
        aspect="receipt", kind="missing", path="openvino/acme--tiny/int8", detail=detail
    )
    return conversion(None, missing, folder=None)


@pytest.mark.parametrize(
    ("seen", "fetch", "opened", "moves", "unrepairable"),
    [
        ((), [], (), False, ()),
        (ALL, ["config.json", "model.safetensors", "vocab.txt"], (CLOSED,), True, (EXTRA,)),
        ((CHANGED,), ["config.json"], (), False, ()),
        ((CLOSED_TO_US,), ["config.json"], (), False, ()),
        ((MISSING,), ["vocab.txt"], (), False, ()),
        ((OUTSIDE,), ["model.safetensors"], (), False, ()),
        ((CLOSED,), [], (CLOSED,), False, ()),
        ((NO_REF,), [], (), True, ()),
        ((OTHER_REF,), [], (), True, ()),
        ((EXTRA,), [], (), False, (EXTRA,)),
        ((RUNS,), [], (), False, (RUNS,)),
        # Two problems of a file fetch it once; a mode alone fetches nothing.
        (
            (problem("links", "absolute-link", "config.json"), CHANGED),
            ["config.json"],
            (),
            False,
            (),
        ),
        ((CLOSED_FILE,), [], (CLOSED_FILE,), False, ()),
    ],
    ids=lambda value: " and ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_each_problem_has_its_own_remedy(
    seen: tuple[Problem, ...],
    fetch: list[str],
    opened: tuple[Problem, ...],
    moves: bool,
    unrepairable: tuple[Problem, ...],
) -> None:
    plan = plan_source(LOCKED, source(*seen))
    assert [file.path for file in plan.fetch] == fetch
    assert (plan.open, plan.move_ref, plan.unrepairable) == (opened, moves, unrepairable)
    assert plan.nothing_to_do == (not (fetch or opened or moves))


def test_of_an_unfinished_model_only_wrong_bytes_are_damage() -> None:
    assert damage_of(source(*ALL, NO_REF), was_whole=False) == (CHANGED, OUTSIDE)


def test_of_a_finished_model_all_but_unlocked_files_is_damage() -> None:
    wanted = (CHANGED, MISSING, OUTSIDE, CLOSED, OTHER_REF)
    assert damage_of(source(*ALL), was_whole=True) == wanted
    assert damage_of(source(), was_whole=True) == ()


BROKEN = problem("receipt", "corrupt", "receipt.json")
FIRST = "corrupt receipt.json got this, wanted that"  # one line, whatever the detail


WHOLE, OLDER, COPY = conversion(RECIPE), conversion(OTHER), conversion(RECIPE, folder=Path("int8"))
AGREE, NEVER = "receipt and bytes agree", "missing openvino/acme--tiny/int8 never converted"
DANGLING = "leads to x, which is not there"
WRONG = "corrupt config.json got this, wanted that"
PLANS: dict[str, tuple[ConversionState, ConversionState, str, str]] = {
    "whole": (WHOLE, WHOLE, "keep", AGREE),
    "a copy with links resolved": (COPY, absent(), "keep", AGREE),
    "unlocked files stay": (conversion(RECIPE, EXTRA), WHOLE, "keep", AGREE),
    "unreadable by others": (
        conversion(RECIPE, CLOSED, EXTRA), WHOLE, "open", "unreadable hub got this, wanted that",
    ),
    "never converted": (absent(), absent(), "convert", NEVER),
    "dangling": (
        absent(DANGLING), absent(), "convert", f"missing openvino/acme--tiny/int8 {DANGLING}",
    ),
    "other tools": (OLDER, absent(), "convert", "other tools"),
    "made meanwhile": (OLDER, WHOLE, "point", "other tools"),
    "link lost": (absent(), WHOLE, "point", NEVER),
    "link lost and corrupt": (absent(), conversion(RECIPE, CHANGED), "convert again", WRONG),
    "corrupt": (conversion(RECIPE, CHANGED), conversion(RECIPE, CHANGED), "convert again", WRONG),
    "asks to run code": (
        conversion(RECIPE, RUNS), conversion(RECIPE, RUNS), "convert again",
        "code config.json asks to run code",
    ),
    "corrupt receipt": (conversion(None, BROKEN), conversion(None, BROKEN), "convert again", FIRST),
    "corrupt receipt elsewhere": (conversion(None, BROKEN), absent(), "convert", FIRST),
    "of other bytes": (conversion(OTHER, BROKEN), WHOLE, "point", FIRST),
    "wrong under its name": (OLDER, OLDER, "convert again", ""),
}  # fmt: skip


@pytest.mark.parametrize(("stable", "made", "action", "reason"), PLANS.values(), ids=PLANS)
def test_a_conversion_is_planned_by_its_problems(
    stable: ConversionState, made: ConversionState, action: str, reason: str
) -> None:
    plan = plan_conversion(RECIPE, stable, made)
    assert plan == ConversionPlan(action=action, reason=reason)  # type: ignore[arg-type]


def test_only_the_recipe_itself_is_kept() -> None:
    others = [recipe_for(LOCKED, openvino=f"2027.{number}.0") for number in range(8)]
    assert {other.digest < RECIPE.digest for other in others} == {True, False}
    for other in others:
        assert plan_conversion(RECIPE, conversion(other), absent()).action == "convert"


def test_a_real_home_is_planned_by_its_problems(tmp_path: Path) -> None:
    model = tiny(tmp_path / "home")
    assert plan_source(model.locked, model.source()).nothing_to_do
    assert planned(model) == "keep"
    flip(model.snapshot / "vocab.txt")
    assert [file.path for file in plan_source(model.locked, model.source()).fetch] == ["vocab.txt"]
    assert planned(model) == "keep"
    flip(model.folder / "openvino_model.bin")
    assert planned(model) == "convert again"
    model.folder.rename(model.folder.with_name(".aside"))
    assert planned(model) == "convert"


def planned(model: Tiny) -> str:
    state = model.conversion()
    return plan_conversion(model.recipe, state, state).action
