"""At the door: takes a parsed table apart and notes every problem with its place.

A reader asks a `Table` for each key it knows; what is missing, of the wrong type or unknown is
noted, and the reader raises once, with all of it. Values of a wrong shape come out as a harmless
empty one, so that one problem does not hide the next.
"""

import re
from collections.abc import Iterator, Mapping
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


class Table:
    """One table of a TOML or JSON file; `problems` is shared by all tables of the file."""

    def __init__(self, data: object, place: str, problems: list[str]) -> None:
        self.place = place
        self.problems = problems
        self._asked: set[str] = set()
        self._data: Mapping[str, Any] = {}
        self._is_table = isinstance(data, Mapping)
        if isinstance(data, Mapping):
            self._data = data
        elif data is not _ABSENT:
            self.note("", f"must be a table, got {_got(data)}")

    def note(self, key: str, problem: str) -> None:
        """Note a problem at `key` of this table ("" for the table itself)."""
        where = ".".join(part for part in (self.place, key) if part)
        self.problems.append(f"in '{where}': {problem}" if where else problem)

    def has(self, key: str) -> bool:
        """Whether the file gives `key`; asking makes it known."""
        self._asked.add(key)
        return key in self._data

    def text(self, key: str, pattern: re.Pattern[str] | None = None, wanted: str = "") -> str:
        """A string that is not empty, and matches `pattern` whole (`wanted` says it in words)."""
        value = self._get(key)
        if value is _ABSENT:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.note(key, f"must be {wanted or 'a text'}, got {_got(value)}")
            return ""
        if pattern and not pattern.fullmatch(value):
            self.note(key, f"must be {wanted}, got {_got(value)}")
            return ""
        return value

    def number(self, key: str, least: int = 0) -> int:
        """A whole number of at least `least`."""
        value = self._get(key)
        if value is _ABSENT:
            return least
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.note(key, f"must be a whole number of at least {least}, got {_got(value)}")
            return least
        return value

    def texts(self, key: str, among: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings, not empty, each one of `among` where that is given, none twice."""
        value = self._get(key)
        if value is _ABSENT:
            return ()
        if not isinstance(value, list) or not value:
            self.note(key, f"must be a list of texts, got {_got(value)}")
            return ()
        for index, one in enumerate(value):
            if not isinstance(one, str) or not one or (among and one not in among):
                wanted = f"one of {', '.join(among)}" if among else "a text"
                self.note(f"{key}[{index}]", f"must be {wanted}, got {_got(one)}")
            elif one in value[:index]:
                self.note(f"{key}[{index}]", f"{one!r} stands there twice")
        return tuple(one for one in value if isinstance(one, str))

    def choice(self, key: str, among: tuple[str, ...]) -> str:
        """One of the strings in `among`."""
        value = self._get(key)
        if value is _ABSENT:
            return ""
        if value not in among:
            self.note(key, f"must be one of {', '.join(among)}, got {_got(value)}")
            return ""
        return str(value)

    def tables(self, key: str) -> Iterator["Table"]:
        """The tables of an array of tables; none is fine for the shape."""
        value = self._get(key)
        if value is _ABSENT:
            return
        if not isinstance(value, list):
            self.note(key, f"must be an array of tables, got {_got(value)}")
            return
        for index, one in enumerate(value):
            here = ".".join(part for part in (self.place, f"{key}[{index}]") if part)
            yield Table(one, here, self.problems)

    def table(self, key: str) -> "Table":
        """The table at `key`."""
        value = self._get(key)
        here = ".".join(part for part in (self.place, key) if part)
        return Table(value, here, self.problems)

    @property
    def raw(self) -> Mapping[str, Any]:
        """The table as it stands, for parts whose keys are free."""
        return self._data

    def version(self, key: str, known: int) -> bool:
        """Whether the file is of the version this reader knows; a file of another is not read."""
        value = self._get(key)
        right = type(value) is int and value == known  # True and 1.0 are no versions
        if value is not _ABSENT and not right:
            self.note(key, f"must be {known}, the version this release reads, got {_got(value)}")
        return right

    def done(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._data:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.note(key, f"is not a key that is known here; known are {known}")

    def _get(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self._data:
            if self._is_table:  # else that is the problem, and was noted
                self.note(key, "is missing")
            return _ABSENT
        return self._data[key]


class _Absent:
    """Stands for a value that the file does not give."""


_ABSENT = _Absent()


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


def _got(value: object) -> str:
    """The value as the message shows it, cut to one short line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
