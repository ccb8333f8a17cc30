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

from prep.machine.memory import memory
from prep.plugin import worker_crashes
from prep.plugin.options import settings_of
from prep.plugin.parameters import model_of, precision_of
from prep.plugin.terminal import progress_for
from prep.stages.context import Context
from prep.stages.preflight import Preflight, run_preflight

WANTED = pytest.StashKey[dict[str, set[str]]]()
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
