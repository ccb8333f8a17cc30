"""What the stages of a process are given: its scratch folder, and the preflight.

Under xdist the controlling process makes both once for all workers: one preflight for the whole
run, and one folder that is removed at its end, even where a worker was killed.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.entries import ModelSpec
from prep.machine.memory import memory
from prep.plugin import worker_crashes
from prep.plugin.options import settings_of
from prep.plugin.parameters import load_of, model_of, precision_of
from prep.plugin.terminal import progress_for
from prep.report.run_report import LoadReport
from prep.report.summary import earlier_models
from prep.settings import Settings
from prep.stages.context import Context
from prep.stages.preflight import Preflight, run_preflight
from prep.tasks.consumers import Load

WANTED = pytest.StashKey[dict[str, set[str]]]()
READING = {"fetched", "converted", "loaded"}  # fixtures that need a model's files
SHARED = pytest.StashKey[tuple[str, str | None]]()


def note_wanted(session: pytest.Session) -> None:
    """Which models and precisions the chosen tests are for: only those must be possible."""
    wanted: dict[str, set[str]] = {}
    for item in session.items:
        if spec := model_of(item):
            wanted.setdefault(spec.name, set()).update(filter(None, [precision_of(item)]))
    session.config.stash[WANTED] = wanted


@contextlib.contextmanager
def context_for(session: pytest.Session) -> Iterator[Context]:
    """A run's context; its scratch folder is removed at the end."""
    config = session.config
    workerinput = getattr(config, "workerinput", {})
    with _folder(workerinput.get("prep_scratch")) as scratch:
        preflight = workerinput.get("prep_preflight")
        yield Context(
            settings=settings_of(config),
            scratch=scratch,
            progress=progress_for(session),
            preflight=Preflight.load(preflight) if preflight else None,
            wanted=config.stash.get(WANTED, None),
            workers=workerinput.get("workercount", 1),
            peaks=_earlier_peaks(settings_of(config)),
        )


def configure_worker(node: Any) -> None:
    """One preflight before the first worker starts; every worker gets its result."""
    config, workerinput = node.config, node.workerinput
    config.stash.setdefault(worker_crashes.KILLS, memory().kills)
    if SHARED not in config.stash:
        stack = contextlib.ExitStack()
        scratch = stack.enter_context(_folder(None))
        config.add_cleanup(stack.close)
        settings, preflight = settings_of(config), None
        if not settings.offline:
            workers = min(workerinput["workercount"], len(settings.models))
            preflight = run_preflight(settings, scratch, workers).dump()
        config.stash[SHARED] = str(scratch), preflight
    workerinput["prep_scratch"], workerinput["prep_preflight"] = config.stash[SHARED]


@contextlib.contextmanager
def _folder(parent: str | None) -> Iterator[Path]:
    """A new folder; other users may pass through it to what they know by name."""
    made = tempfile.TemporaryDirectory("", "model-prep-", parent, ignore_cleanup_errors=True)
    with made as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def planned_loads(session: pytest.Session) -> dict[str, tuple[Load, ...]]:
    """The loads of all chosen tests, by model, in the order in which the tests ask for them."""
    planned: dict[str, dict[str, Load]] = {}
    for item in session.items:
        if (spec := model_of(item)) and (load := load_of(item)):
            planned.setdefault(spec.name, {}).setdefault(load.id, load)
    return {name: tuple(loads.values()) for name, loads in planned.items()}


def to_fetch(session: pytest.Session) -> tuple[ModelSpec, ...]:
    """The models whose files the chosen tests read, in their order.

    None for a worker of xdist: which models it will get is not known before.
    """
    if hasattr(session.config, "workerinput"):
        return ()
    specs: dict[str, ModelSpec] = {}
    for item in session.items:
        spec = model_of(item)
        if spec and not READING.isdisjoint(getattr(item, "fixturenames", ())):
            specs.setdefault(spec.name, spec)
    return tuple(specs.values())


def _earlier_peaks(settings: Settings) -> dict[tuple[str, str], int]:
    """The memory of loads in the last run, in bytes by model and load."""
    models = earlier_models(settings.summary or settings.home.state / "summary.json")
    return {
        (name, load): took.peak_bytes
        for name, model in models.items()
        for load, took in model.loads.items()
        if isinstance(took, LoadReport)
    }
