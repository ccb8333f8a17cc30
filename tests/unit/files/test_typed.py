"""Records are read as strictly as their schema says; test_run_report.py holds a large one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from prep.files.typed import Among, Form, Misfit, Range, plain, read, read_or_none, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A part."""

    some_count: Annotated[int, Range(0, 9), "how many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """A whole."""

    kind: Literal["a", "b"]
    name: Annotated[str, Form(re.compile(r"[a-z]+"), 5)]
    share: float | None
    pair: tuple[str, int]
    parts: tuple[Inner, ...]
    by_name: Mapping[Annotated[str, Among(("x", "y"))], Inner | str]
    flag: bool = False
    later: Mapping[str, int] = field(default_factory=dict)


GOOD: dict[str, Any] = {
    "kind": "a",
    "name": "abc",
    "share": 1,
    "pair": ["p", 2],
    "parts": [{"some-count": 3}],
    "by-name": {"x": {"some-count": 4}, "y": "text"},
}
WRONG = {
    "kind": ["c", 1, None],
    "name": ["", "ABC", "abcdef", 1],
    "share": [True, "1"],
    "pair": [["p"], ["p", 2, 3], ["p", "2"], {}],
    "parts": [[{"some-count": 10}], [{"some-count": -1}], [{"some-count": True}], [{}], {}],
    "by-name": [{"z": "text"}, {"x": 1}, {"x": {"some-count": 4, "more": 1}}, []],
    "flag": [0, "true", None],
    "later": [{"x": "1"}, []],
}
SCHEMA = Draft202012Validator(schema(Outer, "a whole"))


def test_what_is_read_is_written_as_it_was() -> None:
    made = read(Outer, GOOD)
    assert (made.parts, made.pair) == ((Inner(some_count=3),), ("p", 2))
    assert made.by_name == {"x": Inner(some_count=4), "y": "text"}
    assert plain(made) == {**GOOD, "flag": False, "later": {}}
    assert read(Outer, plain(made)) == made
    SCHEMA.validate(GOOD)
    SCHEMA.validate(plain(made))


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_what_is_wrong_is_refused_by_reader_and_schema(key: str, value: object) -> None:
    wrong = {**GOOD, key: value}
    with pytest.raises(Misfit):
        read(Outer, wrong)
    assert not SCHEMA.is_valid(wrong)


@pytest.mark.parametrize("value", [None, [], "x", {}, {**GOOD, "more": 1}, {**GOOD, "by_name": {}}])
def test_what_is_no_record_is_none(value: object) -> None:
    assert read_or_none(Outer, value) is None
    assert not SCHEMA.is_valid(value)


def test_a_description_stands_in_the_schema() -> None:
    made = schema(Outer, "a whole")
    assert made["title"] == "a whole"
    assert made["$defs"]["Inner"]["properties"]["some-count"]["description"] == "how many"
    assert made["required"] == [*GOOD]
