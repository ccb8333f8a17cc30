"""`history.jsonl`: a line for each model of each run, beside the summary; see `docs/reports.md`."""

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

from prep.files.append import append_lines
from prep.files.reader import Unreadable, parse_json, read_lines
from prep.files.typed import Count, Number, Seconds, Texts, Time, plain, read_or_none
from prep.home.layout import write_text
from prep.report import older_versions
from prep.report.run_report import LoadReport, ModelReport, Status, weights_and_consumer

NAME = "history.jsonl"
KEPT, MOST = 300, 400  # lines: when there are more than the most, the newest of them are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the history keeps of one model in one run; the last three may be missing."""

    at: Annotated[Time, "end of the run, UTC"]
    model: str
    status: Annotated[Status, "of this run, also where the summary keeps an earlier verdict"]
    exit: Count
    entry: str | None
    seconds: Annotated[Mapping[str, Seconds], "by stage"]
    agreement: Annotated[Mapping[str, Number], "by precision"]
    versions: Annotated[str | None, "twelve digits of the sha256 of the library versions"]
    answer_seconds: Annotated[Mapping[str, Seconds], "one answer, by weights and consumer"] = field(
        default_factory=dict
    )
    peak_bytes: Annotated[Mapping[str, Count], "memory of a load, by weights and consumer"] = field(
        default_factory=dict
    )
    fell: Annotated[Texts, "precisions whose agreement fell"] = ()


def line(name: str, report: ModelReport, exit_code: int) -> Line:
    """What the history keeps of this run of a model."""
    versions = json.dumps(dict(report.versions), sort_keys=True).encode()
    groups = by_consumer(report)
    return Line(
        at=report.at,
        model=name,
        status=report.status,
        exit=exit_code,
        entry=report.entry,
        seconds=report.timeline.seconds() if report.timeline else {},
        agreement={
            precision: made.agreement
            for precision, made in report.precisions.items()
            if made.agreement is not None
        },
        versions=hashlib.sha256(versions).hexdigest()[:12] if report.versions else None,
        answer_seconds={
            " ".join(group): latency
            for group, loads in groups.items()
            if (latency := answer_seconds(loads)) is not None
        },
        peak_bytes={
            " ".join(group): max(load.peak_bytes for load in loads)
            for group, loads in groups.items()
        },
        fell=tuple(precision for precision, made in report.precisions.items() if made.fell),
    )


def by_consumer(report: ModelReport) -> dict[tuple[str, str], list[LoadReport]]:
    """The loads that were made, by weights and consumer."""
    groups: dict[tuple[str, str], list[LoadReport]] = {}
    for name, load in report.loads.items():
        if isinstance(load, LoadReport):
            groups.setdefault(weights_and_consumer(name), []).append(load)
    return groups


def answer_seconds(loads: Iterable[LoadReport]) -> float | None:
    """The median time of one answer, None where no load was asked alone."""
    known = [load.latency for load in loads if load.latency is not None]
    return median(known) if known else None


def append(path: Path, known: Sequence[Line], fresh: Iterable[Line]) -> list[Line]:
    """Add to the file, whose lock the caller holds and of which `known` was read; gives all.

    A line that a full disk has torn is passed over, and never runs into the next.
    """
    fresh = list(fresh)
    whole = [*known, *fresh]
    if len(whole) > MOST:
        whole = whole[-KEPT:]
        write_text(path, "".join(f"{_text(line)}\n" for line in whole))
    else:
        append_lines(path, [_text(line) for line in fresh])
    return whole


def read(path: Path) -> list[Line]:
    """The lines that can be read, oldest first; none where there is no file."""
    found: deque[Line] = deque(maxlen=MOST)
    try:
        for text in read_lines(path):
            with contextlib.suppress(Unreadable):
                if line := read_or_none(Line, older_versions.renamed(parse_json(text))):
                    found.append(line)
    except FileNotFoundError:
        return []
    return list(found)


def _text(line: Line) -> str:
    return json.dumps(plain(line), ensure_ascii=False)


def longest_text(loads: Iterable[LoadReport]) -> str | None:
    """Its length in tokens and the limit, as ``512 of 8192 tokens``."""
    asked = [load for load in loads if load.length_tried is not None]
    return f"{asked[0].length_tried} of {asked[0].length_limit} tokens" if asked else None
