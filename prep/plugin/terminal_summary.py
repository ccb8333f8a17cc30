"""What a run says of itself in the terminal: the lines at its top, and the table at its end."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from prep.machine.build import build
from prep.machine.cores import cores
from prep.machine.memory import memory
from prep.report.verdict import ModelRun, judge
from prep.sandbox.network_cut import NAMESPACE
from prep.settings import Settings
from prep.stages.side_by_side import slots

STALE = (
    "passed when it was run again, but by the answers that it failed by: the load was not made "
    "again. Run the whole model again."
)


def header_lines(settings: Settings, workers: int = 1) -> list[str]:
    """What is run: the versions, the catalogue, the home, the hub."""
    models = ", ".join(spec.name for spec in settings.models) or "no models"
    tools = " ".join(
        f"{name}-{metadata.version(name)}"
        for name in ("huggingface-hub", "transformers", "optimum-intel", "openvino", "torch")
    )
    network, catalogue = settings.network, settings.catalogue
    hub = "offline" if settings.offline else network.endpoint
    deadline = f"{network.deadline:g} s" if network.deadline else "none"
    share = f", share {settings.shard}" if settings.shard else ""
    return [
        f"model-prep {build()}",
        f"catalogue: {catalogue.path} ({models}){share}, lock {catalogue.lock_path.name}",
        f"home: {settings.home.root}, hub: {hub}",
        f"download: stops after {network.timeout:g} s without progress, deadline {deadline}",
        _loads(workers),
        f"tools: python-{platform.python_version()} {tools}",
    ]


def _loads(workers: int) -> str:
    """How many loads run at once, and what that follows from."""
    found = slots(workers)
    each = f" in each of {workers} workers" if workers > 1 else ""
    threads = f"{found.threads} thread{'' if found.threads == 1 else 's'} each"
    free = f"{memory().free / 1e9:.1f} GB free"
    of = f"{cores()} core{'' if cores() == 1 else 's'}"
    return f"loads: {found.count} side by side{each}, {threads} ({of}, {free})"


def closing_lines(
    settings: Settings, runs: Mapping[str, ModelRun], expected: Mapping[str, list[str]]
) -> list[str]:
    """The closing table: aligned columns, one line a model."""
    rows = [_row(name, run, judge(run, set(expected.get(name, ())))) for name, run in runs.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [f"{name}: {note}" for name, run in runs.items() for note in _notes(run.facts)]
    notes += [
        f"{name}: {len(run.retried)} tests failed first and were run again"
        for name, run in runs.items()
        if run.retried
    ]
    notes += [why for run in runs.values() for why in run.problems if why.endswith(STALE)]
    return [*lines, *notes, f"consumers set HF_HOME={settings.home.root} HF_HUB_OFFLINE=1"]


def _notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is no failure, and what a reader of the verdict should know."""
    if facts.get("goldens") is False:
        yield "no goldens are recorded: judged by properties and by the PyTorch original alone"
    if facts.get("cut") not in (None, NAMESPACE):
        yield f"loaded without a network namespace of its own: {facts['cut']}"
    for precision, made in facts.get("precisions", {}).items():
        if made["tools-differ"]:
            yield f"{precision} was converted with {', '.join(made['tools-differ'])}"
    reasons = [load.get("not-tried") for load in facts.get("loads", {}).values()]
    for reason, count in Counter(filter(None, reasons)).items():
        yield f"{count} load{'' if count == 1 else 's'} not tried: {reason}"
    for label, found in facts.get("interpreters", {}).items():
        untried = [f"{name} ({why})" for name, why in found["not-tried"].items()]
        tried = f"transformers {found['versions'].get('transformers', 'not installed')}"
        yield f"also loaded in {label}, {tried}" + (
            f"; not tried: {', '.join(untried)}" if untried else ""
        )
    if facts.get("cpu_default") not in (None, "f32"):
        yield f"this CPU answers in {facts['cpu_default']} by default; asked in f32 here"
    if facts.get("unused"):
        yield f"files that no loader takes: {', '.join(facts['unused'])}"


def _row(name: str, run: ModelRun, status: str) -> tuple[str, ...]:
    facts = run.facts
    precisions = facts.get("precisions", {})
    made = [precision for precision, entry in precisions.items() if entry["made"]]
    adopted = f", adopted {facts['adopted']} bytes" if facts.get("adopted") else ""
    fetched = f"fetched {facts.get('fetched', 0)} bytes{adopted}"
    done = f"{fetched}, converted {', '.join(made) or 'nothing'}"
    repaired = f", repaired {len(facts['repaired'])}" if facts.get("repaired") else ""
    paths = "  ".join(f"{precision}: {entry['path']}" for precision, entry in precisions.items())
    return name, status, (facts.get("commit") or "")[:12], done + repaired, paths
