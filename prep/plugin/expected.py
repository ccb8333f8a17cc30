"""Which tests the suite has for each model: without all of them there is no verdict `ready`."""

from functools import cache
from pathlib import Path

import pytest

from prep.plugin.options import settings_of
from prep.plugin.parameters import model_of
from prep.settings import SUITE

EXPECTED = pytest.StashKey[dict[str, list[str]]]()
FILES = pytest.StashKey[set[Path]]()
OWN = SUITE / "model_tests"
NAMES = {"python_functions": ["test"], "python_files": ["test_*.py", "*_test.py"]}


def note_file(collector: pytest.Collector) -> None:
    """That a file was collected, were it without any test for the models of this catalogue."""
    if isinstance(collector, pytest.Module):
        collector.config.stash.setdefault(FILES, set()).add(_resolved(collector.path))


def note_expected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every own test of each model, where the whole suite was collected; else nothing."""
    expected: dict[str, list[str]] = {}
    loaded = set()
    for item in items:
        if is_own(item) and (spec := model_of(item)):
            expected.setdefault(spec.name, []).append(item.nodeid)
            if "loaded" in getattr(item, "fixturenames", ()):
                loaded.add(spec.name)
    expected = {name: tests for name, tests in expected.items() if name in loaded}
    settings = settings_of(config)
    files = config.stash.get(FILES, set())
    whole = files.issuperset(OWN.glob("test_*.py")) and not any("::" in arg for arg in config.args)
    # Other names of tests (-o, PYTEST_ADDOPTS) leave some out, and pytest does not say which.
    whole = whole and all(config.getini(name) == usual for name, usual in NAMES.items())
    config.stash[EXPECTED] = expected if whole and settings.precisions is None else {}
    if hasattr(config, "workerinput"):
        # type: ignore: xdist sets workeroutput
        config.workeroutput["prep_expected"] = config.stash[EXPECTED]  # type: ignore[attr-defined]


def is_own(item: pytest.Item) -> bool:
    """Whether the test is of this suite, and not of a repository that uses the fixtures."""
    return _is_own(item.path)


@cache
def _is_own(path: Path) -> bool:
    return _resolved(path).is_relative_to(OWN)


@cache
def _resolved(path: Path) -> Path:
    """Without links: an environment may be reached by one."""
    return path.resolve()
