"""Which tests the suite has for each model: without all of them there is no verdict `ready`."""

from functools import cache
from pathlib import Path

import pytest

from prep.plugin.options import settings_of
from prep.plugin.parameters import model_of
from prep.settings import SUITE
from prep.tasks.registry import TASKS

EXPECTED = pytest.StashKey[dict[str, list[str]]]()
OWN = SUITE / "model_tests"
NAMES = {"python_functions": ["test"], "python_files": ["test_*.py", "*_test.py"]}


def note_expected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every own test of each model, where the whole suite was collected; else nothing."""
    expected: dict[str, list[str]] = {}
    files = set()
    for item in items:
        if is_own(item) and (spec := model_of(item)):
            expected.setdefault(spec.name, []).append(item.nodeid)
            files.add(_resolved(item.path))
    settings = settings_of(config)
    tasks = {spec.task for spec in settings.models}
    # A test file of one task is empty where the catalogue has no model of it.
    absent = {f"test_{task}.py" for task in TASKS if task not in tasks}
    built = {path for path in OWN.glob("test_*.py") if path.name not in absent}
    whole = built <= files and not any("::" in arg for arg in config.args)
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
