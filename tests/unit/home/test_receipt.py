"""A receipt is read as it was written, and any change to it is refused."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.files.reader import Unreadable
from prep.home.layout import write_text
from prep.home.receipt import NAME, Receipt, Recipe, read_receipt
from tests.support.small_homes import (
    COMMIT,
    CONVERTED,
    OTHER_COMMIT,
    locked_model,
    receipt_for,
    recipe_for,
)

LOCKED = locked_model({"config.json": b"{}"})
RECEIPT = receipt_for(recipe_for(LOCKED), {"a.xml": b"a"})
TEXT = RECEIPT.render().encode()
KEYS = "content, files, made, receipt-version, recipe, recipe-digest, seal"
ORDER = ("repo", "commit", "task", "precision", "source", "options", "tools")
RECIPE: dict[str, Any] = json.loads(TEXT)["recipe"]
HEX = "must be a sha256 of 64 hex digits"
UNKNOWN = "is not a key that is known here; known are"
NOT_UTF_8 = "'utf-8' codec can't decode byte 0xc3 in position 1: unexpected end of data"
CHANGED = "its text is not what its seal says: it was changed after it was written"


def refusal(folder: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read_receipt(folder)
    return str(caught.value)


def holding(folder: Path, content: bytes) -> Path:
    (folder / NAME).write_bytes(content)
    return folder


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    write_text(tmp_path / "receipt.json", RECEIPT.render())
    assert read_receipt(tmp_path) == RECEIPT


odd = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(odd, values, max_size=4)


@settings(max_examples=30, deadline=None, database=None)
@given(source=st.dictionaries(odd, odd, max_size=3), options=tables, content=tables, made=tables)
def test_reads_what_it_wrote_whatever_its_free_parts_hold(
    tmp_path_factory: pytest.TempPathFactory,
    source: dict[str, str],
    options: dict[str, Any],
    content: dict[str, Any],
    made: dict[str, Any],
) -> None:
    recipe = Recipe(
        repo="acme/tiny",
        commit=COMMIT,
        task="embedding",
        precision="int8",
        source=source,
        options=options,
        tools={},
    )
    receipt = Receipt(recipe=recipe, files=RECEIPT.files, content=content, made=made)
    folder = tmp_path_factory.mktemp("receipt")
    write_text(folder / NAME, receipt.render())
    assert read_receipt(folder) == receipt


def test_renders_the_same_text_whatever_the_order_of_keys() -> None:
    assert [*RECEIPT.content] == ["cosine", "int8"]
    turned = Receipt(
        recipe=RECEIPT.recipe,
        files=RECEIPT.files,
        content=dict(sorted(RECEIPT.content.items(), reverse=True)),
        made=dict(sorted(RECEIPT.made.items(), reverse=True)),
    )
    assert turned.render() == RECEIPT.render()
    assert receipt_for(RECEIPT.recipe).bytes == sum(map(len, CONVERTED.values()))


def is_refused(folder: Path) -> bool:
    """As `refusal`, for thousands of times."""
    try:
        read_receipt(folder)
    except Unreadable:
        return True
    return False


def test_any_changed_byte_is_refused(tmp_path: Path) -> None:
    """A newline made a carriage return, too: read as text, it would pass for a newline still."""
    holding(tmp_path, TEXT)
    with (tmp_path / NAME).open("r+b", buffering=0) as file:
        for position, byte in enumerate(TEXT):
            for other in {byte ^ 1, ord("\r") if byte == ord("\n") else byte ^ 1}:
                os.pwrite(file.fileno(), bytes([other]), position)
                assert is_refused(tmp_path), f"byte {position}: {byte} → {other}"
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert not is_refused(tmp_path)


@settings(max_examples=60, deadline=None, database=None)
@given(data=st.data())
def test_any_edit_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(start + 40, len(TEXT))))
    new = data.draw(st.binary(max_size=40))
    spoiled = TEXT[:start] + new + TEXT[end:]
    if spoiled != TEXT:
        assert refusal(holding(tmp_path_factory.mktemp("receipt"), spoiled))


def test_any_torn_receipt_is_refused(tmp_path: Path) -> None:
    holding(tmp_path, TEXT)
    for length in reversed(range(len(TEXT))):
        os.truncate(tmp_path / NAME, length)
        assert is_refused(tmp_path), f"{length} bytes"


def test_an_absent_receipt_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is not there: the conversion was never finished"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read: Expecting value: line 1 column 1 (char 0)"),
        (b"{\xc3", f"cannot be read: {NOT_UTF_8}"),
        (b"[]", "must be a table, got []"),
        (TEXT.replace(b"0.999", b"0.991"), CHANGED),
        (TEXT + b"\n", CHANGED),
        (TEXT.replace(COMMIT.encode(), OTHER_COMMIT.encode()), CHANGED),
    ],
    ids=["empty", "not UTF-8", "a list", "other content", "longer", "other commit"],
)
def test_what_is_no_receipt_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert refusal(holding(tmp_path, content)) == message


def test_what_cannot_be_parsed_is_refused_however_absurd(tmp_path: Path) -> None:
    """Neither may end the run in a traceback."""
    assert refusal(holding(tmp_path, b"[" * 200_000)).startswith("cannot be read: ")
    assert refusal(holding(tmp_path, b"9" * 5_000)).startswith("cannot be read: ")


SHAPES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "version": (
        {"receipt-version": 2},
        ["in 'receipt-version': must be 1, the version this release reads, got 2"],
    ),
    "no seal": ({"seal": None}, [f"in 'seal': {HEX}, got None"]),
    "no digest": ({"recipe-digest": "x"}, [f"in 'recipe-digest': {HEX}, got 'x'"]),
    "seal": ({"seal": "x"}, [f"in 'seal': {HEX}, got 'x'"]),
    "other seal": ({"seal": "0" * 64}, [CHANGED]),
    "other recipe digest": ({"recipe-digest": "0" * 64}, [CHANGED]),
    "key": ({"more": 1}, [f"in 'more': {UNKNOWN} {KEYS}"]),
    "path": (
        {"files": [{"path": "../x", "size": 0, "sha256": "0" * 64}]},
        ["in 'files[0].path': '../x' has an empty part, '.' or '..'"],
    ),
    "file": (
        {"files": [{"path": "x", "size": 0, "sha256": "0", "mode": 1}]},
        [
            f"in 'files[0].sha256': {HEX}, got '0'",
            f"in 'files[0].mode': {UNKNOWN} path, sha256, size",
        ],
    ),
    "recipe's values": (
        {"recipe": {**RECIPE, "repo": "tiny", "commit": "main", "more": 1}},
        [
            "in 'recipe.repo': must be ORG/NAME, got 'tiny'",
            "in 'recipe.commit': must be a commit of 40 hex digits, got 'main'",
            f"in 'recipe.more': {UNKNOWN} {', '.join(sorted(RECIPE))}",
        ],
    ),
    "recipe": ({"recipe": {}}, [f"in 'recipe.{key}': is missing" for key in ORDER]),
}


@pytest.mark.parametrize(("changes", "problems"), SHAPES.values(), ids=SHAPES)
def test_a_receipt_of_another_shape_is_refused(
    tmp_path: Path, changes: Mapping[str, Any], problems: list[str]
) -> None:
    spoiled = json.dumps({**json.loads(TEXT), **changes}, indent=1, sort_keys=True) + "\n"
    assert refusal(holding(tmp_path, spoiled.encode())) == "; ".join(problems)


@pytest.mark.parametrize(
    "other",
    [
        recipe_for(dataclasses.replace(LOCKED, commit=OTHER_COMMIT)),
        recipe_for(locked_model({"config.json": b"{ }"})),
        recipe_for(LOCKED, "fp16"),
        recipe_for(LOCKED, openvino="2026.5.0"),
        recipe_for(LOCKED, task="reranker"),
    ],
    ids=["commit", "source", "precision", "tools", "task"],
)
def test_a_recipe_with_any_change_is_another(other: Recipe) -> None:
    assert other.digest != RECEIPT.recipe.digest
    assert recipe_for(LOCKED).digest == RECEIPT.recipe.digest
