"""The tasks that the probe knows, and a load by one of their consumers."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import prep.sandbox.probe as probe
from prep.sandbox.probe import libraries
from prep.sandbox.probe.lengths import LongTexts
from prep.sandbox.probe.loading import Facts, Way
from prep.sandbox.probe.serving import PerThread, at_once, compile_as_served

SHARED = (
    "consumers",
    "genai",
    "guard",
    "isolation",
    "libraries",
    "lengths",
    "loading",
    "modules",
    "serve",
    "serving",
)
TASKS: dict[str, ModuleType] = {
    module.name: importlib.import_module(f"{probe.__name__}.{module.name}")
    for module in pkgutil.iter_modules(probe.__path__)
    if module.name not in SHARED
}
"""Every other module of this package is a task. It has `CONSUMERS`, what loads for each name of the
task's table, `CLASSES`, what is imported before any fork, `reference`, `answer` and
`answer_again`, `alone`; `lacking`, if it needs it.
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
    a second time, in other company. ``order["served"]`` are the questions of several requests at
    once, those of a conversion that is run as a service runs it, and how OpenVINO is configured.
    ``order["odd"]`` are texts that may be cut (`lengths`).
    """
    task = TASKS[order["task"]]
    way = Way(**order["way"], shown=order["shown"])
    model = task.CONSUMERS[order["consumer"]](way)
    long = LongTexts(model, order["ask"], odd) if (odd := order.get("odd")) else None
    ask = long.ask if long else order["ask"]
    answers: Facts = task.answer(model, ask)
    if order["again"]:
        answers.update(task.answer_again(model, ask, answers))
    if long:
        for kind, more in long.try_limit(task, way).items():
            known = answers[kind]
            answers[kind] = {**known, **more} if isinstance(known, dict) else [*known, *more]
        answers["longest"] = {"tried": long.tried, "limit": long.limit}
    if served := order.get("served"):
        if way.converted or served["threads"]:
            answers["at_once"] = at_once(lambda: task.alone(model, served["at-once"]))
        if way.converted:
            kind = _compiled_as_served(way.converted, served["ov-config"])
            answers["served"] = {"type": kind, **task.answer(model, served["ask"])}
    return {**model.facts, **answers, "built": model.facts}


def _compiled_as_served(model: PerThread, config: dict[str, str]) -> str:
    try:
        return compile_as_served(model, config)
    except RuntimeError as error:
        if not config:
            raise
        lines = str(error).strip().splitlines()
        raise ValueError(
            f"OpenVINO does not take the entry's ov-config {config}: {lines[-1]}"
        ) from error
