"""Report files are written at the very end: whether they can be is asked before anything runs."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest


def check_places(config: pytest.Config) -> None:
    """End with exit 4 where a report file that an option names cannot be written."""
    if hasattr(config, "workerinput"):
        return
    options = {"--junitxml": "xmlpath", "--summary": "summary", "--report": "report"}
    options |= {"--verdict-xml": "verdict_xml", "--metrics": "metrics", "--bom": "bom"}
    given_paths: dict[str, Path] = {}
    for option, name in options.items():
        if given := config.getoption(name, None):
            _check_place(option, Path(given))
            given_paths[option] = Path(given).absolute()
    counts = Counter(given_paths.values())
    same = [option for option, path in given_paths.items() if counts[path] > 1]
    if same:
        raise pytest.UsageError(f"{' and '.join(same)} are one file: give each its own.")


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
