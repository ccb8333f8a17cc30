"""The tasks that a catalogue may name: each has questions, and a module of that name here."""

from collections.abc import Mapping
from importlib import import_module

from prep.tasks.task import FOLDER, Task


def _task(name: str) -> Task:
    task: Task = import_module(f"prep.tasks.{name}").TASK
    assert task.name == name
    return task


TASKS: Mapping[str, Task] = {path.stem: _task(path.stem) for path in sorted(FOLDER.glob("*.toml"))}
