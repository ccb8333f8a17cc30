"""What changed since: a fall of agreement over time, and what differs from the last ready run."""

from collections.abc import Sequence
from importlib import metadata
from statistics import median

from prep.machine.machine import Machine
from prep.report.history import Line
from prep.report.run_report import GREEN, LastReady, ModelReport
from prep.tasks.registry import TASKS

RECENT, COMPARED, LEAST = 30, 10, 3  # runs of a model: looked at, compared with, and needed
# Of the difference that the bound allows. Measured again on one thread and on two, with AVX2 and
# with SSE4.1 alone, conversions of three tasks had the same agreement in six digits; this is above
# what rounding moves (0.0002 of a cosine), and far below what a bound lets pass.
FLOOR = 0.02


def falls(name: str, report: ModelReport, past: Sequence[Line]) -> dict[str, str]:
    """By precision, that its agreement fell by more than it varied in the last ready runs.

    Only runs of the same lock entry count, and none whose agreement had fallen already: a fall is
    reported until it is gone, the entry changes, or all recent runs have it.
    """
    found = {}
    measure = TASKS[report.task].measure
    recent = [line for line in past if line.model == name and line.entry == report.entry]
    for precision, made in report.precisions.items():
        before = [
            line.agreement[precision]
            for line in recent[-RECENT:]
            if line.status in GREEN and precision in line.agreement and precision not in line.fell
        ][-COMPARED:]
        if made.agreement is None or len(before) < LEAST:
            continue
        differences = [measure.difference(value) for value in before]
        fall = measure.difference(made.agreement) - median(differences)
        floor = FLOOR * measure.difference(made.agreement_bound)
        if fall > max(max(differences) - min(differences), floor):
            found[precision] = (
                f"agreement of {precision} fell: {measure.sentence} is {made.agreement}, and was "
                f"{min(before)} to {max(before)} in the last {len(before)} ready runs; the bound "
                f"is {made.agreement_bound}. Compare versions and machine with those runs."
            )
    return found


def last_ready(earlier: ModelReport | None) -> LastReady | None:
    """Where the model was last ready, by what the summary holds of it."""
    if earlier is None or earlier.status not in GREEN:
        return earlier.last_ready if earlier else None
    return LastReady(
        at=earlier.at,
        entry=earlier.entry,
        commit=earlier.commit,
        precisions=earlier.wanted_precisions,
        consumers=earlier.wanted_consumers,
        versions=earlier.versions,
        machine=earlier.machine,
    )


def differences(before: LastReady, now: ModelReport) -> list[str]:
    """What is not as it was, each in a line: lock, catalogue, versions, machine."""
    lines = []
    if before.entry != now.entry:
        lines.append(_change("lock: commit", before.commit, now.commit))
    for what, was, wanted in (
        ("precisions", before.precisions, now.wanted_precisions),
        ("consumers", before.consumers or ("all",), now.wanted_consumers or ("all",)),
    ):
        if was != wanted:
            lines.append(_change(f"catalogue: {what}", ", ".join(was), ", ".join(wanted)))
    versions = now.versions or {name: _installed(name) for name in before.versions}
    for package in sorted({*before.versions, *versions}):
        then, here = before.versions.get(package, "none"), versions.get(package, "none")
        if then != here:
            lines.append(_change(f"version: {package}", then, here))
    if before.machine and now.machine:
        for field in Machine.__slots__:
            old, new = getattr(before.machine, field), getattr(now.machine, field)
            if old != new:
                lines.append(_change(f"machine: {field}", old, new))
    return lines


def _change(what: str, was: object, now: object) -> str:
    return f"{what} {was} → {now}" if was != now else f"{what} {now}, other files or terms"


def _installed(package: str) -> str:
    """The version here of a package that no load of this run reported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
