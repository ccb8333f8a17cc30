"""Checked fields of parsed TOML and JSON: every problem is noted with its place in the file.

A reader asks a `Table` for each key it knows; what is missing, of the wrong type or unknown is
noted, and the reader raises once, with all of it. An invalid value is read as an empty one, so that
one problem does not hide the next.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# As the hub has it: with "--" in a name, two repositories could share one folder of the cache.
REPO = re.compile(
    r"(?=.{3,96}$)(?!.*(?:--|\.\.))(?!.*\.git$)"
    r"[A-Za-z0-9](?:[\w.-]*\w)?/[A-Za-z0-9](?:[\w.-]*\w)?",
    re.ASCII,
)
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
MOST = 2**63 - 1  # as file systems count bytes
MOST_SECONDS = 1e9  # thirty years
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?\+00:00", re.ASCII)


class Table:
    """One table of a TOML or JSON file; `problems` is shared by all tables of the file."""

    def __init__(self, data: object, place: str, problems: list[str]) -> None:
        self.place = place
        self.problems = problems
        self._asked: set[str] = set()
        self.raw: Mapping[str, Any] = {}  # as it was parsed, for parts whose keys are free
        self._is_table = isinstance(data, Mapping)
        if isinstance(data, Mapping):
            self.raw = data
        elif data is not _ABSENT:
            self.note("", f"must be a table, got {shown(data)}")

    def note(self, key: str, problem: str) -> None:
        """Note a problem at `key` of this table; "" for the table itself."""
        where = self._path(key)
        self.problems.append(f"in '{where}': {problem}" if where else problem)

    def has(self, key: str) -> bool:
        """Whether the table has `key`, which is a known one."""
        self._asked.add(key)
        return key in self.raw

    def text(self, key: str, pattern: re.Pattern[str] | None = None, wanted: str = "") -> str:
        """A string that is not empty, and matches `pattern` whole (`wanted` says it in words)."""
        has_form = like(pattern) if pattern else is_text
        words = wanted or "a text"
        return str(self._valid(key, lambda value: has_form(value) and value.strip(), words, ""))

    def number(self, key: str, least: int = 0) -> int:
        """A whole number of at least `least`."""
        value = self._get(key)
        if type(value) is int and least <= value <= MOST:
            return value
        if value is not _ABSENT:
            too_large = type(value) is int and value > MOST
            bound = f"at most {MOST}" if too_large else f"at least {least}"
            self.note(key, f"must be a whole number of {bound}, got {shown(value)}")
        return least

    def texts(self, key: str, among: tuple[str, ...] = (), least: int = 1) -> tuple[str, ...]:
        """A list of strings, each one of `among` where that is given, none twice."""
        values = self._valid(
            key,
            lambda value: isinstance(value, list) and len(value) >= least,
            "a list of texts" if least == 0 else "a list with at least one text",
            [],
        )
        wanted = f"one of {', '.join(among)}" if among else "a text"
        seen: set[str] = set()
        for index, text in enumerate(values):
            if not isinstance(text, str) or not text or (among and text not in among):
                self.note(f"{key}[{index}]", f"must be {wanted}, got {shown(text)}")
                continue
            if text in seen:
                self.note(f"{key}[{index}]", f"{text!r} appears twice")
            seen.add(text)
        return tuple(text for text in values if isinstance(text, str))

    def choice(self, key: str, among: tuple[str, ...]) -> str:
        """One of the strings in `among`."""
        wanted = f"one of {', '.join(among)}"
        return str(self._valid(key, lambda value: value in among, wanted, ""))

    def tables(self, key: str) -> Iterator["Table"]:
        """The tables of an array of tables, which may be empty."""
        values = self._valid(key, lambda value: isinstance(value, list), "an array of tables", [])
        for index, table in enumerate(values):
            yield Table(table, self._path(f"{key}[{index}]"), self.problems)

    def table(self, key: str) -> "Table":
        """The table at `key`."""
        return Table(self._get(key), self._path(key), self.problems)

    def version(self, key: str, known: int) -> bool:
        """Whether the file is of the version this reader knows; a file of another is not read."""
        value = self._get(key)
        right = type(value) is int and value == known  # True and 1.0 are no versions
        if value is not _ABSENT and not right:
            self.note(key, f"must be {known}, the version this release reads, got {shown(value)}")
        return right

    def done(self) -> None:
        """Note every unknown key."""
        for key in self.raw:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.note(key, f"is not a key that is known here; known are {known}")

    def _valid(self, key: str, check: Callable[[Any], object], wanted: str, empty: Any) -> Any:
        """The value at `key`; noted and `empty` where it is missing or invalid."""
        value = self._get(key)
        if value is _ABSENT:
            return empty
        if check(value):
            return value
        self.note(key, f"must be {wanted}, got {shown(value)}")
        return empty

    def _path(self, key: str) -> str:
        return ".".join(filter(None, (self.place, key)))

    def _get(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self.raw:
            if self._is_table:  # else that is the problem, and was noted
                self.note(key, "is missing")
            return _ABSENT
        return self.raw[key]


_ABSENT = object()  # a value that the file does not have

Shape = Callable[[object], bool]
"""Whether a value has the form that we write."""


def is_text(value: object) -> bool:
    """Any text."""
    return isinstance(value, str)


def is_flag(value: object) -> bool:
    """True or false."""
    return isinstance(value, bool)


def is_count(value: object) -> bool:
    """A whole number that a file system could count."""
    return type(value) is int and 0 <= value <= MOST


def is_number(value: object) -> bool:
    """A finite number."""
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= MOST  # type: ignore[arg-type]


def is_seconds(value: object) -> bool:
    """A stretch of time."""
    return is_number(value) and 0 <= value <= MOST_SECONDS  # type: ignore[operator]


def is_time(value: object) -> bool:
    """A time as we write it, in UTC, on a day that exists."""
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return False
    try:
        return datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except ValueError:
        return False


def like(pattern: re.Pattern[str]) -> Shape:
    """A text that matches the whole pattern."""
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def one_of(*values: object) -> Shape:
    """One of these, of the same type: true is not 1."""
    return lambda value: any(type(value) is type(known) and value == known for known in values)


def maybe(shape: Shape) -> Shape:
    """That, or null."""
    return lambda value: value is None or shape(value)


def either(*shapes: Shape) -> Shape:
    """One of several."""
    return lambda value: any(shape(value) for shape in shapes)


def listed(shape: Shape, count: int | None = None) -> Shape:
    """A list of such, of so many where that is given."""
    return lambda value: (
        isinstance(value, list) and count in (None, len(value)) and all(map(shape, value))
    )


def mapped(shape: Shape, keys: Shape = is_text) -> Shape:
    """A table of such under any keys, or such keys."""
    return lambda value: (
        isinstance(value, dict) and all(map(keys, value)) and all(map(shape, value.values()))
    )


def record(shapes: Mapping[str, Shape]) -> Shape:
    """A table of exactly these keys."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() == shapes.keys()
        and all(shape(value[key]) for key, shape in shapes.items())
    )


def path_problem(path: str) -> str | None:
    """What is wrong with a path that must lie inside a model's folder, or None.

    Refused: empty parts, ``.`` and ``..``, absolute paths, backslashes, control characters.
    """
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if any(part in {"", ".", ".."} for part in path.split("/")):
        return "has an empty part, '.' or '..'"
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        return "has a control character"
    return None


def shown(value: object) -> str:
    """The value as the message shows it, cut to one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
