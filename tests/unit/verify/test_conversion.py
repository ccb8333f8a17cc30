"""Damage to a converted model and its receipt is found, as what it is and where it is."""

import dataclasses
import os
from collections.abc import Callable

import pytest

from prep.catalogue.lock import LockedModel
from prep.home.layout import point_link, write_text
from prep.home.receipt import NAME, NO_TOKENIZER, TOKENIZER, TOKENIZER_TOOL
from tests.support.small_homes import (
    COMMIT,
    CONVERTED,
    OTHER_COMMIT,
    SOURCE,
    Tiny,
    flip,
    lead,
    leave,
    locked_model,
    place_conversion,
    receipt_for,
    recipe_for,
    seen,
    write_bytes,
)

IR = "openvino_model.bin"
STABLE = "openvino/acme--tiny/int8"
RECEIPT = f"{STABLE}/{NAME}"
RECIPE = recipe_for(locked_model()).digest


def convert_instead(tiny: Tiny, locked: LockedModel, precision: str = "int8") -> None:
    """A whole conversion of something else, and the stable path leads to it."""
    other = recipe_for(locked, precision)
    place_conversion(tiny.home, other)
    point_link(tiny.stable, other.digest)


DAMAGE: dict[str, tuple[Callable[[Tiny], object], str]] = {
    "never converted": (lambda t: t.stable.unlink(), f"receipt missing {STABLE}"),
    "dangling": (lambda t: lead(t.stable, "0" * 64), f"receipt missing {STABLE}"),
    "loop": (lambda t: lead(t.stable, "int8"), f"receipt missing {STABLE}"),
    "leads out": (lambda t: leave(t.stable, t.home), f"receipt outside-home {STABLE}"),
    "absolute link": (lambda t: lead(t.stable, t.folder), f"links absolute-link {STABLE}"),
    "a file": (
        lambda t: write_bytes(t.home.conversions(t.locked.repo) / "x", b"").replace(t.stable),
        f"receipt corrupt {RECEIPT}",
    ),
    "no receipt": (lambda t: (t.folder / NAME).unlink(), f"receipt corrupt {RECEIPT}"),
    "receipt changed": (lambda t: flip(t.folder / NAME), f"receipt corrupt {RECEIPT}"),
    "receipt emptied": (lambda t: os.truncate(t.folder / NAME, 0), f"receipt corrupt {RECEIPT}"),
    "byte changed": (lambda t: flip(t.folder / IR), f"bytes corrupt {IR}"),
    "truncated": (lambda t: os.truncate(t.folder / IR, 1), f"bytes corrupt {IR}"),
    "missing": (lambda t: (t.folder / IR).unlink(), f"bytes missing {IR}"),
    "file leads out": (lambda t: leave(t.folder / IR, t.home), f"links outside-home {IR}"),
    "of another commit": (
        lambda t: convert_instead(t, locked_model(commit=OTHER_COMMIT)),
        f"receipt mismatch {RECEIPT}",
    ),
    "of other bytes": (
        lambda t: convert_instead(t, locked_model({**SOURCE, "config.json": b"{}"})),
        f"receipt mismatch {RECEIPT}",
    ),
    "of another precision": (
        lambda t: convert_instead(t, t.locked, "fp16"),
        f"receipt mismatch {RECEIPT}",
    ),
    "folder of no digest": (
        lambda t: lead(t.stable, t.folder.rename(t.folder.with_name("older")).name),
        f"receipt mismatch {RECEIPT}",
    ),
    "folder of another name": (
        lambda t: lead(t.stable, t.folder.rename(t.folder.with_name("f" * 64)).name),
        f"receipt mismatch {RECEIPT}",
    ),
}
DETAILS = {
    "never converted": "never converted",
    "dangling": f"leads to {'0' * 64}, which is not there",
    "no receipt": "is not there: the conversion was never finished",
    "of another commit": f"commit is {OTHER_COMMIT}, wanted {COMMIT}",
    "of another precision": "precision is fp16, wanted int8",
    "of other bytes": "it was made from other bytes than the lock names",
    "folder of no digest": f"its recipe is {RECIPE[:12]}…, its folder older",
    "folder of another name": f"its recipe is {RECIPE[:12]}…, its folder {'f' * 64}",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(model: Tiny, name: str) -> None:
    damage, wanted = DAMAGE[name]
    damage(model)
    state = model.conversion()
    assert seen(state) == [wanted]
    assert state.problems[0].detail == DETAILS.get(name, state.problems[0].detail)
    assert not state.sound
    assert model.source().sound


def test_other_tools_count_only_where_a_recipe_is_in_force(model: Tiny) -> None:
    newer = recipe_for(model.locked, openvino="2027.1.0")
    assert model.conversion().sound
    assert "\n".join(map(str, model.conversion(wanted=newer).problems)) == (
        f"mismatch     {RECEIPT} its recipe is {RECIPE[:12]}…, the recipe in force {newer.digest}"
    )


def test_a_conversion_keeps_the_bytes_of_all_that_is_no_weights(model: Tiny) -> None:
    """Whole by its receipt, which lists another file than the lock, or none."""
    lacks = "it lists another {} than the lock, whose bytes every conversion keeps"
    others = {path: body for path, body in CONVERTED.items() if path != "vocab.txt"}
    place_conversion(model.home, model.recipe, {**others, "config.json": b"{}"})
    (model.folder / "vocab.txt").unlink()
    assert [str(problem) for problem in model.conversion().problems] == [
        f"mismatch     {RECEIPT} {lacks.format('config.json')}",
        f"mismatch     {RECEIPT} {lacks.format('vocab.txt')}",
    ]


def test_a_link_that_leads_out_or_is_absolute_is_named(model: Tiny) -> None:
    lead(model.stable, model.folder)
    assert "\n".join(map(str, model.conversion().problems)) == (
        f"absolute-link {STABLE} goes by a link to {model.folder}: not there where the home is "
        "mounted elsewhere"
    )
    leave(model.stable, model.home)
    away = model.home.root.parent / "away"
    assert "\n".join(map(str, model.conversion().problems)) == (
        f"outside-home {STABLE} leads to {away}, outside the home"
    )


def test_a_conversion_with_the_tokenizers_tool_has_its_file_or_says_why(model: Tiny) -> None:
    recipe = dataclasses.replace(model.recipe, tools={TOKENIZER_TOOL: "2026.4.1"})
    receipt = receipt_for(recipe)
    made = dataclasses.replace(model, recipe=recipe)
    place_conversion(model.home, recipe)
    assert [str(problem) for problem in made.conversion().problems] == [
        f"mismatch     {RECEIPT} it lists no {TOKENIZER}, and does not say why"
    ]
    said = dataclasses.replace(receipt, content={**receipt.content, NO_TOKENIZER: "no such kind"})
    write_text(made.folder / NAME, said.render())
    assert made.conversion().sound
    place_conversion(model.home, recipe, {**CONVERTED, TOKENIZER: b"<net/>"})
    assert made.conversion().sound


def test_a_conversion_of_another_repo_does_not_count(model: Tiny) -> None:
    place_conversion(model.home, dataclasses.replace(model.recipe, repo="acme/other"))
    lead(model.stable, "../acme--other/int8")
    assert [str(problem) for problem in model.conversion().problems] == [
        f"mismatch     {RECEIPT} repo is acme/other, wanted acme/tiny"
    ]
