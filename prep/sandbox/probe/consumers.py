"""The tasks that the probe knows, and a load by one of their consumers."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import prep.sandbox.probe as probe
from prep.sandbox.probe import libraries
from prep.sandbox.probe.loading import Facts, Way

SHARED = ("consumers", "genai", "guard", "isolation", "libraries", "loading", "modules", "serve")
TASKS: dict[str, ModuleType] = {
    module.name: importlib.import_module(f"{probe.__name__}.{module.name}")
    for module in pkgutil.iter_modules(probe.__path__)
    if module.name not in SHARED
}
"""Every other module of this package is a task. It has `CONSUMERS`, what loads for each name of the
task's table, `CLASSES`, what is imported before any fork, `reference`, `answer` and
`answer_again`; `lacking`, if it needs it.
"""


def import_libraries() -> dict[str, str]:
    """Import all that loads of any task need; gives what cannot be imported, with its error."""
    return libraries.import_all(name for task in TASKS.values() for name in task.CLASSES)


def lacking(task: str, consumer: str) -> str | None:
    """Why this interpreter cannot be such a consumer, None where it can."""
    of_task = getattr(TASKS[task], "lacking", None)
    return libraries.lacking(consumer) or (of_task(consumer) if of_task else None)


def reference(order: Facts) -> Facts:
    """The publisher's pipeline in float32 from ``order["way"]``, and its answers."""
    task = TASKS[order["task"]]
    model = task.reference(Way(**order["way"]))
    return {**model.facts, **task.answer(model, order["ask"])}


def load(order: Facts) -> Facts:
    """Load as ``order["consumer"]`` does, in ``order["way"]``, and answer ``order["ask"]``.

    ``built`` is what the library made of the files; with ``order["again"]`` the answers are given
    a second time, in other company.
    """
    task = TASKS[order["task"]]
    model = task.CONSUMERS[order["consumer"]](Way(**order["way"], shown=order["shown"]))
    answers: Facts = task.answer(model, order["ask"])
    if order["again"]:
        answers.update(task.answer_again(model, order["ask"], answers))
    return {**model.facts, **answers, "built": model.facts}
