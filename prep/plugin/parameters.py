"""From the catalogue to test parameters: one test, one model, and the id begins with its name."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pytest

from prep.catalogue.entries import ModelSpec
from prep.plugin.options import settings_of
from prep.settings import Settings
from prep.tasks.consumers import Load
from prep.tasks.registry import TASKS

LEVELS = ("pins", "layout", "conversion", "load", "answers")
SEPARATOR = ":"  # a catalogue name cannot hold it, so an id tells its model
Kind = TypeVar("Kind")
Row = tuple[ModelSpec | Load | str | None, ...]
LOADS = pytest.StashKey[dict[str, tuple[Load, ...]]]()  # by name of the model


def generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize whatever asks for a stage by model, precision and load.

    Test by test, as the stages remember what they gave: of parameters of a whole session pytest
    would look for the best order, which takes longer than all else.
    """
    names = metafunc.fixturenames
    if "spec" not in names:
        return
    settings, loads = settings_of(metafunc.config), metafunc.config.stash.setdefault(LOADS, {})
    columns = ["spec"] + [name for name in ("load", "precision") if name in names]
    reads, wanted = _reader(metafunc), _chooser(metafunc, settings)
    rows = [
        row
        for spec in settings.models
        if wanted(spec)
        for row in _rows(settings, spec, columns, loads)
        if reads(row)
    ]
    if not rows:  # an empty set would end the run: mark one to be dropped
        nothing = pytest.param(*[None] * len(columns), marks=pytest.mark.no_model, id="no-model")
        metafunc.parametrize(columns, [nothing], indirect=True)
        return
    ids = [SEPARATOR.join(_label(value) for value in row if value is not None) for row in rows]
    metafunc.parametrize(columns, rows, indirect=True, ids=ids)


def model_of(item: pytest.Item) -> ModelSpec | None:
    """The model that a test judges, None for any other test."""
    return _parameter(item, "spec", ModelSpec)


def precision_of(item: pytest.Item) -> str | None:
    """The precision that a test judges, where it judges one."""
    load = load_of(item)
    return load.precision if load else _parameter(item, "precision", str)


def load_of(item: pytest.Item) -> Load | None:
    """The load that a test judges, where it judges one."""
    return _parameter(item, "load", Load)


def sort(items: list[pytest.Item]) -> None:
    """By model, level, stage, precision and load; within, as collected. Others stay in front."""
    order: dict[str, int] = {}
    for item in items:
        if spec := model_of(item):
            order.setdefault(spec.name, len(order))

    positions: dict[object, int] = {}  # of precisions and loads, as they come
    levels: dict[object, int] = {}  # by test function: its markers are those of all its items

    def key(item: pytest.Item) -> tuple[int, int, int, int]:
        parameters = _parameters(item)
        spec, load = parameters.get("spec"), parameters.get("load")
        if not isinstance(spec, ModelSpec):
            return -1, 0, 0, 0
        function = getattr(item, "function", item)
        if (level := levels.get(function)) is None:
            found = (n for n, name in enumerate(LEVELS) if item.get_closest_marker(name))
            level = levels[function] = next(found, 0)
        precision = load.precision if isinstance(load, Load) else parameters.get("precision")
        stage = (precision is not None) + (load is not None)
        place = positions.setdefault(load or precision, len(positions))
        return order[spec.name], level, stage, place

    if order:
        items.sort(key=key)


def _chooser(metafunc: pytest.Metafunc, settings: Settings) -> Callable[[ModelSpec], bool]:
    """Whether the test's markers leave room for a model."""
    task = metafunc.definition.get_closest_marker("task")
    needs_goldens = metafunc.definition.get_closest_marker("goldens") is not None

    def wanted(spec: ModelSpec) -> bool:
        if task is not None and task.args != (spec.task,):
            return False
        return not needs_goldens or os.path.lexists(settings.goldens / f"{spec.name}.toml")

    return wanted


def _reader(metafunc: pytest.Metafunc) -> Callable[[Row], bool]:
    """Whether the test's markers leave room for a row's load."""
    marker = metafunc.definition.get_closest_marker
    consumers = marker("consumers")
    ours = marker("ours") is not None
    interrogation, access = marker("interrogation") is not None, marker("access") is not None

    def reads(row: Row) -> bool:
        return not any(
            (consumers is not None and load.consumer.name not in consumers.args)
            or (ours and load.interpreter is not None)
            or (interrogation and not load.is_interrogation)
            or (access and load.is_interrogation)
            for load in row
            if isinstance(load, Load)
        )

    return reads


def _rows(
    settings: Settings,
    spec: ModelSpec,
    columns: Sequence[str],
    loads: dict[str, tuple[Load, ...]],
) -> list[Row]:
    precisions = settings.precisions_of(spec)
    if "load" in columns:
        if (found := loads.get(spec.name)) is None:
            found = loads[spec.name] = TASKS[spec.task].loads_of(
                spec.repo, settings.consumers_of(spec), precisions, settings.interpreters
            )
        if "precision" in columns:
            return [(spec, load, load.precision) for load in found if load.precision]
        return [(spec, load) for load in found]
    if "precision" in columns:
        return [(spec, precision) for precision in precisions]
    return [(spec,)]


def _label(value: object) -> str:
    if isinstance(value, ModelSpec):
        return value.name
    return value.id if isinstance(value, Load) else str(value)


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


def _parameter(item: pytest.Item, name: str, kind: type[Kind]) -> Kind | None:
    value = _parameters(item).get(name)
    return value if isinstance(value, kind) else None
