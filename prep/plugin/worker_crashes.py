"""A worker of xdist that crashed: its model's test fails, and the others go on in a new worker.

xdist makes a report that knows no model. What is heavy runs in child processes, so a worker that
is gone was most often killed, for memory or by a person; that can pass.
"""

import contextlib
import subprocess
from dataclasses import asdict
from typing import Any

import pytest

from prep.plugin.parameters import SEPARATOR
from prep.process.child import crash_error
from prep.report.verdict import Failure
from prep.settings import SUITE, Settings
from prep.stages.context import is_transient

# How many the kernel had killed for want of memory before the first worker started.
KILLS = pytest.StashKey[int]()


def complete_report(config: pytest.Config, settings: Settings, report: Any) -> None:
    """Make xdist's report one of ours, where the test is one of ours."""
    path, bracket, rest = report.nodeid.partition("[")
    model = rest.rstrip("]").partition(SEPARATOR)[0]
    if not bracket or model not in {spec.name for spec in settings.models}:
        return
    where = (config.rootpath / path.partition("::")[0]).resolve()
    doing = f"{model}: the worker {report.node.gateway.id} of -n"
    error = crash_error(doing, _code(report.node), config.stash.get(KILLS, 0))
    failure = Failure(error=type(error).__name__, text=str(error), transient=is_transient(error))
    kind = "transient" if failure.transient else "permanent"
    report.user_properties += [("model", model), ("error", failure.error), ("kind", kind)]
    report.longrepr = f"{error}\nIt was at {report.nodeid}."
    report.prep = {
        "model": model,
        "own": where.is_relative_to(SUITE / "model_tests"),
        "check": "worker of -n",
        "load": "",
        "failure": asdict(failure),
        "exchange": None,
        "not-tried": False,
        "facts": {},
    }


def _code(node: Any) -> int:
    """How the worker ended; execnet keeps its process to itself, so this may change with it."""
    process = getattr(getattr(node.gateway, "_io", None), "popen", None)
    if isinstance(process, subprocess.Popen):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=5)
    return 1
