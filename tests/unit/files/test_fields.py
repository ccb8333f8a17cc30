"""Every problem of a table is noted with its place, and an invalid value does not hide the next."""

import re
from typing import Any

import pytest

from prep.files.fields import (
    MOST,
    Table,
    is_count,
    is_number,
    is_time,
    like,
    listed,
    mapped,
    one_of,
    path_problem,
    record,
)


def problems(data: object) -> list[str]:
    """What is noted of a table whose keys are read in one way each."""
    noted: list[str] = []
    table = Table(data, "at", noted)
    table.text("name", re.compile("[a-z]+"), "small letters")
    table.number("count", least=1)
    table.texts("kinds", among=("a", "b"))
    table.choice("mode", ("on", "off"))
    for inner in table.tables("parts"):
        inner.text("id")
        inner.done()
    table.done()
    return noted


VALID: dict[str, Any] = {
    "name": "abc",
    "count": 1,
    "kinds": ["a"],
    "mode": "on",
    "parts": [{"id": "x"}],
}


def test_a_valid_table_has_no_problem() -> None:
    assert problems(VALID) == []


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"name": "A"}, "in 'at.name': must be small letters, got 'A'"),
        ({"name": " "}, "in 'at.name': must be small letters, got ' '"),
        ({"count": 0}, "in 'at.count': must be a whole number of at least 1, got 0"),
        ({"count": True}, "in 'at.count': must be a whole number of at least 1, got True"),
        (
            {"count": MOST + 1},
            f"in 'at.count': must be a whole number of at most {MOST}, got {MOST + 1}",
        ),
        ({"kinds": []}, "in 'at.kinds': must be a list with at least one text, got []"),
        ({"kinds": ["a", "c"]}, "in 'at.kinds[1]': must be one of a, b, got 'c'"),
        ({"kinds": ["a", "a"]}, "in 'at.kinds[1]': 'a' appears twice"),
        ({"mode": 1}, "in 'at.mode': must be one of on, off, got 1"),
        ({"parts": {}}, "in 'at.parts': must be an array of tables, got {}"),
        ({"parts": [7]}, "in 'at.parts[0]': must be a table, got 7"),
        ({"parts": [{}]}, "in 'at.parts[0].id': is missing"),
        (
            {"more": 1},
            (
                "in 'at.more': is not a key that is known here; known are count, kinds, mode, "
                "name, parts"
            ),
        ),
    ],
    ids=str,
)
def test_an_invalid_value_is_noted_with_its_place(changes: dict[str, Any], noted: str) -> None:
    assert problems({**VALID, **changes}) == [noted]


def test_all_problems_are_noted_at_once() -> None:
    assert len(problems({"name": 1, "count": "1"})) == 5
    assert problems([]) == ["in 'at': must be a table, got []"]


def test_forms_are_strict() -> None:
    assert is_count(0) and not is_count(True) and not is_count(-1) and not is_count(MOST + 1)
    assert is_number(0.5) and not is_number(float("nan")) and not is_number("1")
    assert is_time("2026-01-31T00:00:00+00:00") and not is_time("2026-02-31T00:00:00+00:00")
    assert one_of(1)(1) and not one_of(1)(True)
    assert not like(re.compile("a"))("ab")
    assert listed(is_count, 2)([1, 2]) and not listed(is_count, 2)([1])
    assert mapped(is_count)({"a": 1}) and not mapped(is_count)({"a": "1"})
    assert record({"a": is_count})({"a": 1}) and not record({"a": is_count})({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a/b.json", None),
        ("/a", "is absolute"),
        ("a\\b", "has a backslash"),
        ("a/../b", "has an empty part, '.' or '..'"),
        ("a//b", "has an empty part, '.' or '..'"),
        ("a\nb", "has a control character"),
    ],
)
def test_a_path_stays_inside_its_folder(path: str, problem: str | None) -> None:
    assert path_problem(path) == problem
