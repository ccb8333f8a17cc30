"""Report files are written at the very end: whether they can be is asked before anything runs."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest


def check_places(config: pytest.Config) -> None:
    """End with exit 4 where a report file that an option names cannot be written."""
    if hasattr(config, "workerinput"):
        return
    paths = {"--junitxml": "xmlpath", "--summary": "summary", "--report": "report"}
    for option, name in paths.items():
        if given := config.getoption(name, None):
            _check_place(option, Path(given))
    given = {name: config.getoption(name, None) for name in paths.values()}
    same = [option for option, name in paths.items() if _is_twice(given[name], given.values())]
    if same:
        raise pytest.UsageError(f"{' and '.join(same)} are one file: give each its own.")


def _is_twice(place: object, paths: Iterable[object]) -> bool:
    """Whether a place is given for two files."""
    absolute = [Path(str(given)).absolute() for given in paths if given]
    return bool(place) and absolute.count(Path(str(place)).absolute()) > 1


def _check_place(option: str, given: Path) -> None:
    path = given.absolute()
    there = next(up for up in path.parents if up.exists())
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=there).close()  # the mode alone does not say
    except OSError:
        sentence = f"{option} {given} cannot be written: choose another place."
        raise pytest.UsageError(sentence) from None
