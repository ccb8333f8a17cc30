"""What a run says of itself in the terminal: the lines at its top, and the table at its end."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import metadata

from prep.machine.build import build
from prep.machine.cores import cores
from prep.machine.memory import memory
from prep.report.history import longest_text
from prep.report.run_report import LoadNotTried, LoadReport, ModelReport
from prep.report.verdict import ModelRun
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
    settings: Settings, runs: Mapping[str, ModelRun], reports: Mapping[str, ModelReport]
) -> list[str]:
    """The closing table: aligned columns, one line a model."""
    rows = [_row(name, report) for name, report in reports.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [f"{name}: {note}" for name, report in reports.items() for note in _notes(report)]
    notes += [
        f"{name}: {len(run.retried)} tests failed first and were run again"
        for name, run in runs.items()
        if run.retried
    ]
    causes = [cause.text for report in reports.values() for cause in report.causes]
    notes += [text for text in causes if text.endswith(STALE)]
    return [*lines, *notes, f"consumers set HF_HOME={settings.home.root} HF_HUB_OFFLINE=1"]


def _notes(report: ModelReport) -> Iterator[str]:
    """What is no failure, and what a reader of the verdict should know."""
    yield from (f"warning: {text}" for text in report.warnings)
    yield from (f"differs from its last ready run: {text}" for text in report.differs)
    if report.goldens is False:
        yield "no goldens are recorded: judged by properties and by the PyTorch original alone"
    if report.network_cut not in (None, NAMESPACE):
        yield f"loaded without a network namespace of its own: {report.network_cut}"
    for precision, made in report.precisions.items():
        if made.tools_differ:
            yield f"{precision} was converted with {', '.join(made.tools_differ)}"
        if made.no_tokenizer:
            yield f"{precision} has no openvino_tokenizer.xml: {made.no_tokenizer}"
    loads = [load for load in report.loads.values() if isinstance(load, LoadReport)]
    untried = [load.not_tried for load in report.loads.values() if isinstance(load, LoadNotTried)]
    for reason, count in Counter(untried).items():
        yield f"{count} load{'' if count == 1 else 's'} not tried: {reason}"
    for label, found in report.interpreters.items():
        unable = [f"{name} ({why})" for name, why in found.not_tried.items()]
        tried = f"transformers {found.versions.get('transformers', 'not installed')}"
        yield f"also loaded in {label}, {tried}" + (
            f"; not tried: {', '.join(unable)}" if unable else ""
        )
    if report.cpu_inference_default not in (None, "f32"):
        default = report.cpu_inference_default
        yield f"this CPU answers in {default} by default: asked in f32, and once as services run it"
    shorter = {longest_text([load]) for load in loads if load.length_tried != load.length_limit}
    for text in sorted(filter(None, shorter)):
        yield f"asked texts of {text}: one of its whole length would take too long"
    if report.unused_files:
        yield f"files that no loader takes: {', '.join(report.unused_files)}"


def _row(name: str, report: ModelReport) -> tuple[str, ...]:
    made = [precision for precision, conversion in report.precisions.items() if conversion.made]
    adopted = f", adopted {report.adopted_bytes} bytes" if report.adopted_bytes else ""
    fetched = f"fetched {report.fetched_bytes} bytes{adopted}"
    done = f"{fetched}, converted {', '.join(made) or 'nothing'}"
    repaired = f", repaired {len(report.repaired)}" if report.repaired else ""
    paths = "  ".join(f"{precision}: {made.path}" for precision, made in report.precisions.items())
    return name, report.status, (report.commit or "")[:12], done + repaired, paths
