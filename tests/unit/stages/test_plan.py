"""What is done follows from what was seen, and from nothing else."""

from pathlib import Path

import pytest

from prep.home.receipt import Recipe
from prep.stages.plan import ConversionPlan, damage_of, plan_conversion, plan_source
from prep.verify.conversion import ConversionState
from prep.verify.problem import Aspect, Problem
from prep.verify.source import SourceState
from tests.support.small_homes import (
    SOURCE,
    Tiny,
    flip,
    locked_model,
    receipt_for,
    recipe_for,
    tiny,
)

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


def test_nothing_is_done_where_nothing_is_wrong() -> None:
    plan = plan_source(LOCKED, source())
    assert (plan.fetch, plan.open, plan.move_ref, plan.unrepairable, plan.bytes) == (
        (),
        (),
        False,
        (),
        0,
    )
    assert plan.nothing_to_do


def test_each_problem_has_its_own_remedy() -> None:
    plan = plan_source(LOCKED, source(*ALL))
    assert [file.path for file in plan.fetch] == ["config.json", "model.safetensors", "vocab.txt"]
    assert plan.bytes == sum(len(SOURCE[file.path]) for file in plan.fetch)
    assert plan.open == (CLOSED,)
    assert plan.move_ref
    assert plan.unrepairable == (EXTRA,)
    assert not plan.nothing_to_do


@pytest.mark.parametrize(
    ("seen", "fetch", "opened", "moves"),
    [
        (CHANGED, ["config.json"], (), False),
        (CLOSED_TO_US, ["config.json"], (), False),
        (MISSING, ["vocab.txt"], (), False),
        (OUTSIDE, ["model.safetensors"], (), False),
        (CLOSED, [], (CLOSED,), False),
        (NO_REF, [], (), True),
        (OTHER_REF, [], (), True),
    ],
    ids=lambda value: str(value) if isinstance(value, Problem) else None,
)
def test_one_problem_brings_one_remedy(
    seen: Problem, fetch: list[str], opened: tuple[Problem, ...], moves: bool
) -> None:
    plan = plan_source(LOCKED, source(seen))
    assert [file.path for file in plan.fetch] == fetch
    assert (plan.open, plan.move_ref, plan.unrepairable) == (opened, moves, ())
    assert not plan.nothing_to_do


def test_extra_files_are_left_and_nothing_is_done_for_them() -> None:
    plan = plan_source(LOCKED, source(EXTRA))
    assert plan.unrepairable == (EXTRA,)
    assert plan.nothing_to_do


def test_a_file_with_two_problems_is_fetched_once() -> None:
    both = problem("links", "absolute-link", "config.json")
    plan = plan_source(LOCKED, source(both, CHANGED))
    assert [file.path for file in plan.fetch] == ["config.json"]


def test_a_file_that_is_only_closed_is_opened_and_not_fetched() -> None:
    plan = plan_source(LOCKED, source(problem("modes", "unreadable", "config.json")))
    assert plan.fetch == ()
    assert len(plan.open) == 1


def test_what_was_never_whole_is_damaged_only_where_bytes_are_wrong() -> None:
    assert damage_of(source(*ALL, NO_REF), was_whole=False) == (CHANGED, OUTSIDE)


def test_what_was_whole_is_damaged_by_everything_but_extra_files() -> None:
    wanted = (CHANGED, MISSING, OUTSIDE, CLOSED, OTHER_REF)
    assert damage_of(source(*ALL), was_whole=True) == wanted
    assert damage_of(source(), was_whole=True) == ()


BROKEN = problem("receipt", "corrupt", "receipt.json")
FIRST = "corrupt receipt.json got this, wanted that"  # one line, whatever the detail


@pytest.mark.parametrize(
    ("stable", "made", "action", "reason"),
    [
        pytest.param(
            conversion(RECIPE), conversion(RECIPE), "keep", "receipt and bytes agree", id="whole"
        ),
        pytest.param(
            conversion(RECIPE, folder=FOLDER.with_name("int8")),
            absent(),
            "keep",
            "receipt and bytes agree",
            id="a copy with links resolved",
        ),
        pytest.param(
            conversion(RECIPE, EXTRA),
            conversion(RECIPE, EXTRA),
            "keep",
            "receipt and bytes agree",
            id="extra files are told, not repaired",
        ),
        pytest.param(
            conversion(RECIPE, CLOSED, EXTRA),
            conversion(RECIPE, CLOSED, EXTRA),
            "open",
            "unreadable hub got this, wanted that",
            id="closed",
        ),
        pytest.param(
            absent(),
            absent(),
            "convert",
            "missing openvino/acme--tiny/int8 never converted",
            id="never converted",
        ),
        pytest.param(
            absent("leads to x, which is not there"),
            absent(),
            "convert",
            "missing openvino/acme--tiny/int8 leads to x, which is not there",
            id="dangling",
        ),
        pytest.param(conversion(OTHER), absent(), "convert", "other tools", id="other tools"),
        pytest.param(
            conversion(OTHER), conversion(RECIPE), "point", "other tools", id="made meanwhile"
        ),
        pytest.param(
            absent(),
            conversion(RECIPE),
            "point",
            "missing openvino/acme--tiny/int8 never converted",
            id="link lost",
        ),
        pytest.param(
            absent(), conversion(RECIPE, CHANGED), "convert again",
            "corrupt config.json got this, wanted that", id="link lost and bytes wrong",
        ),
        pytest.param(
            conversion(RECIPE, CHANGED),
            conversion(RECIPE, CHANGED),
            "convert again",
            "corrupt config.json got this, wanted that",
            id="bytes wrong",
        ),
        pytest.param(
            conversion(RECIPE, RUNS), conversion(RECIPE, RUNS), "convert again",
            "code config.json asks to run code", id="asks to run code",
        ),
        pytest.param(
            conversion(None, BROKEN), conversion(None, BROKEN), "convert again", FIRST, id="broken"
        ),
        pytest.param(
            conversion(None, BROKEN), absent(), "convert", FIRST, id="broken, elsewhere"
        ),
        pytest.param(
            conversion(OTHER, BROKEN), conversion(RECIPE), "point", FIRST, id="of other bytes"
        ),
        pytest.param(
            conversion(OTHER), conversion(OTHER), "convert again", "", id="wrong under its name"
        ),
    ],
)  # fmt: skip
def test_a_conversion_is_planned_from_what_was_seen(
    stable: ConversionState, made: ConversionState, action: str, reason: str
) -> None:
    plan = plan_conversion(RECIPE, stable, made)
    assert plan == ConversionPlan(action=action, reason=reason)  # type: ignore[arg-type]


def test_a_healthy_home_needs_nothing(tmp_path: Path) -> None:
    model = tiny(tmp_path / "home")
    assert plan_source(model.locked, model.source()).nothing_to_do
    assert planned(model) == "keep"


def test_a_real_home_is_planned_by_what_is_wrong_with_it(tmp_path: Path) -> None:
    model = tiny(tmp_path / "home")
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
