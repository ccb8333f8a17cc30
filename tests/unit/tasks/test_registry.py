"""A task's knowledge stands in its module of `prep.tasks` and of the probe, and nowhere else."""

import re

from prep.sandbox.probe.consumers import TASKS as PROBED
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER
from tests.support.paths import ROOT

OWN = ("prep/tasks/", "prep/sandbox/probe/")
NAMED = re.compile(rf"\b(?:{'|'.join(TASKS)})s?\b", re.IGNORECASE)


def test_no_other_module_names_a_task() -> None:
    """Neither in code nor in comments, nor in the page: a new task is a new module."""
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "prep").rglob("*"))
        if path.suffix in (".py", ".j2", ".html") and path.is_file()
        if not path.relative_to(ROOT).as_posix().startswith(OWN)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NAMED.search(line)
    ]
    assert named == []


def test_a_task_has_its_module_its_questions_its_probe_and_its_tests() -> None:
    for name in TASKS:
        for place in ("prep/tasks", "prep/sandbox/probe"):
            assert (ROOT / place / f"{name}.py").is_file()
        assert (ROOT / "model_tests" / f"test_{name}.py").is_file()
    assert set(TASKS) == set(PROBED) == {path.stem for path in FOLDER.glob("*.toml")}
