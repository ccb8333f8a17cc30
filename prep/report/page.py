"""`report.html`: the summary and the history as one page that needs nothing else; see the template.

Here the facts become what the template shows: sentences, groups, shares. Everything that it shows
is escaped there.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, StrictUndefined

from prep.process.progress import span
from prep.report import page_colours
from prep.report.history import Line, longest_text
from prep.report.run_report import (
    ORIGINAL,
    Cause,
    ConversionReport,
    LoadFailed,
    LoadNotTried,
    LoadReport,
    ModelReport,
    RunReport,
    weights_and_consumer,
)
from prep.tasks.question_sets import Questions, Table
from prep.tasks.registry import TASKS

TEMPLATE = Path(__file__).with_name("page.html.j2")
MOST_BYTES = 300_000
UNTRIED = ("not tried: ", "not reached: ")
RUNS, PROBLEMS, LETTERS = 24, 12, 4000  # how much of the past, of problems and of each is shown
WORST_FIRST = ("failed", "transient", "unchecked", "repaired", "ready")
MARKS = {"ready": "✓", "repaired": "✚", "failed": "✗", "transient": "↻", "unchecked": "–"}
MEANINGS = {
    "ready": "everything the suite has for it passed",
    "repaired": "ready, after damage that was found and repaired",
    "failed": "a failure that stays until somebody acts",
    "transient": "only transient failures: run again",
    "unchecked": "the run left checks out",
}
EXITS = {
    0: "every chosen model passed every chosen check",
    1: "what failed stays so until somebody acts; the card of the model says what to do",
    2: "stopped by Ctrl-C",
    3: "an error inside the suite",
    5: "nothing was checked",
    75: "every failure is transient: run again",
    143: "stopped by SIGTERM",
}
STAGES = {
    "importing": "import libraries",
    "fetched": "fetch and digest",
    "converted": "convert and check",
    "loaded": "load and answer",
    "interpreter": "ask an interpreter",
}


def render(run: RunReport, past: Sequence[Line], questions: Mapping[str, Questions]) -> str:
    """The page of the summary and the history; with less detail where it would be too large.

    `questions` are those of each model, by its name.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    view = {
        "run": run,
        "models": [
            {"number": number, **_model(name, entry, run, past, questions.get(name))}
            for number, (name, entry) in enumerate(run.models.items(), 1)
        ],
        "timeline": _timeline(run),
        "palette": page_colours.PALETTE,
        "statuses": list(MARKS),
        "marks": MARKS,
        "meanings": MEANINGS,
        "stages": STAGES,
        **_headline(run),
    }
    page = ""
    for detail in (2, 1, 0):
        page = template.render(view, detail=detail)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _headline(run: RunReport) -> dict[str, str]:
    """The verdict in one look: a sentence, and the status whose colour it has."""
    counts = Counter[str](model.status for model in run.models.values())
    total, code = sum(counts.values()), run.exit
    meaning = EXITS.get(code, "see the terminal")
    if code in (2, 3, 5, 143):
        return {
            "headline": meaning[:1].upper() + meaning[1:],
            "tone": "unchecked",
            "meaning": meaning,
        }
    tone = next((status for status in WORST_FIRST if counts[status]), "unchecked")
    count = counts[tone]
    some = "The model" if total == 1 else f"{count} of {total} models"
    every, repaired = (
        ("The model is ready", "and was repaired")
        if total == 1
        else (f"All {total} models are ready", f"{count} of them repaired")
    )
    sentence = {
        "failed": f"{some} failed",
        "transient": f"{some} failed with transient errors: run again",
        "unchecked": f"{some} {'is' if count == 1 else 'are'} not wholly checked",
        "repaired": f"{every}, {repaired}",
        "ready": every,
    }[tone]
    return {"headline": sentence, "tone": tone, "meaning": meaning}


def _model(
    name: str, model: ModelReport, run: RunReport, past: Sequence[Line], questions: Questions | None
) -> dict[str, Any]:
    sizes = _sizes(model)
    return {
        **{field.name: getattr(model, field.name) for field in dataclasses.fields(model)},
        "name": name,
        "earlier": model.at < run.began,
        "sizes": sizes,
        "consumers": _consumers(model.loads),
        "not_tried": Counter(
            load.not_tried for load in model.loads.values() if isinstance(load, LoadNotTried)
        ),
        "answers": _answers(model, questions),
        "lowest": max(
            (row for row in sizes if row["used"] is not None),
            key=lambda row: row["used"],
            default=None,
        ),
        "measure": TASKS[model.task].measure,
        "problem_list": [_problem(cause) for cause in model.causes[:PROBLEMS]],
        "more_problems": max(0, len(model.causes) - PROBLEMS),
        "repaired_list": [" ".join(text.split())[:LETTERS] for text in model.repaired[:PROBLEMS]],
        "past": _past([line for line in past if line.model == name][-RUNS:]),
    }


def _problem(cause: Cause) -> dict[str, Any]:
    """One banner: the message, and what failed by it."""
    first, _, rest = cause.text[:LETTERS].strip().partition("\n")
    count = f"{len(cause.tests)} test{'' if len(cause.tests) == 1 else 's'}"
    failed = f"Failed {count} of: {', '.join(cause.checks)}" if cause.tests else ""
    return {"first": first, "rest": rest, "kind": cause.kind, "failed": failed}


def _sizes(model: ModelReport) -> list[dict[str, Any]]:
    """The original and each precision: bytes, and how much of the allowed difference is used."""
    rows: list[dict[str, Any]] = [
        {"label": ORIGINAL, "bytes": model.bytes, "used": None, "conversion": None}
    ]
    for precision, made in model.precisions.items():
        used = _used(model.task, made)
        rows.append({"label": precision, "bytes": made.bytes, "used": used, "conversion": made})
    most = max([row["bytes"] or 0 for row in rows] + [1])
    return [{**row, "share": 100 * (row["bytes"] or 0) / most} for row in rows]


def _used(task: str, made: ConversionReport) -> float | None:
    """The difference to the original, of what the bound allows, in percent."""
    if made.agreement is None:
        return None
    pair = (made.agreement, made.agreement_bound)
    difference, allowed = map(TASKS[task].measure.difference, pair)
    return 100 * difference / allowed if allowed else (0.0 if difference <= 0 else 999.0)


def _consumers(
    loads: Mapping[str, LoadReport | LoadNotTried | LoadFailed],
) -> list[dict[str, Any]]:
    """The loads of each consumer, precision and interpreter together, made or not."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, load in loads.items():
        weights, consumer = weights_and_consumer(name)
        parts = name.split(":")[2 if weights != ORIGINAL else 1 :]
        way, *more = parts or [""]
        made = load if isinstance(load, LoadReport) else None
        why = ""
        if isinstance(load, LoadNotTried):
            why = f"not tried: {load.not_tried}"
        elif isinstance(load, LoadFailed):
            why = load.failed
        group = groups.setdefault((consumer, weights), [])
        group.append({"id": name, "way": way, "more": more, "made": made, "why": why})
    return [
        {
            "consumer": consumer,
            "precision": weights,
            "loads": group,
            "tried": sum(load["made"] is not None for load in group),
            "failed": any(load["why"] and not load["why"].startswith(UNTRIED) for load in group),
            "ways": list(dict.fromkeys(load["way"] for load in group)),
            "cache_dir": _tried(group, "cache_dir"),
            "other": _tried(group, "other"),
            "read_only": _tried(group, "read-only"),
            "latency": _median(load["made"].latency for load in group if load["made"]),
            "seconds": _median(load["made"].seconds for load in group if load["made"]),
            "longest": longest_text(load["made"] for load in group if load["made"]),
            "peak": max((load["made"].peak_bytes for load in group if load["made"]), default=0),
        }
        for (consumer, weights), group in groups.items()
    ]


def _tried(loads: Sequence[Mapping[str, Any]], how: str) -> str:
    """Whether one of them was made like that; empty where none is meant to be."""
    meant = [load for load in loads if how in load["more"]]
    if not meant or any(load["made"] for load in meant):
        return "yes" if meant else ""
    why: str = meant[0]["why"]
    return why.partition(":")[0] if why.startswith(UNTRIED) else "failed"


def _answers(model: ModelReport, questions: Questions | None) -> dict[str, Any] | None:
    """Heat maps or texts; None where the questions are not those that were asked."""
    if not model.answers or questions is None:
        return None
    table = questions.table()
    if not table.columns:
        if any(len(texts) != len(table.labels) for texts in model.answers.values()):
            return None
        rows = [
            {"prompt": label, "texts": [texts[place] for texts in model.answers.values()]}
            for place, label in enumerate(table.labels)
        ]
        return {"kind": "texts", "columns": list(model.answers), "rows": rows}
    maps = [
        {
            "label": label,
            "rows": _heat_rows([row for row in rows if not isinstance(row, str)], table),
        }
        for label, rows in model.answers.items()
        if [len(row) for row in rows] == [len(row) for row in table.cells]
        and not any(isinstance(row, str) for row in rows)
    ]
    return {"kind": "numbers", "table": table, "maps": maps} if maps else None


def _heat_rows(values: Sequence[Sequence[float | None]], table: Table) -> list[dict[str, Any]]:
    known = [value for row in values for value in row if value is not None]
    least, most = table.range or (min(known, default=0), max(known, default=1))
    rows = []
    for label, row, texts, framed in zip(
        table.labels, values, table.cells, table.framed, strict=True
    ):
        painted = []
        for place, (value, text) in enumerate(zip(row, texts, strict=True)):
            ground, ink = page_colours.heat(least if value is None else value, least, most)
            cell = {"value": value, "text": text, "ground": ground, "ink": ink}
            painted.append({**cell, "own": place in framed})
        rows.append({"label": label, "cells": painted})
    return rows


def _past(lines: Sequence[Line]) -> dict[str, Any] | None:
    """The last runs of a model: status, time, agreement, latency, memory."""
    if not lines:
        return None
    seconds = [round(sum(line.seconds.values()), 1) for line in lines]
    series: dict[str, list[float | None]] = {"time": [*seconds]}
    units = {"time": " s"}
    for name, unit, scale, values in (
        ("agreement", "", 1, [line.agreement for line in lines]),
        ("answer of", " ms", 1e3, [line.answer_seconds for line in lines]),
        ("memory of", " MB", 1e-6, [line.peak_bytes for line in lines]),
    ):
        for key in sorted({key for value in values for key in value}):
            found = [value.get(key) for value in values]
            series[f"{name} {key}"] = [
                None if value is None else float(f"{value * scale:.6g}") for value in found
            ]
            units[f"{name} {key}"] = unit
    runs = [
        {"at": line.at, "status": line.status, "seconds": took}
        for line, took in zip(lines, seconds, strict=True)
    ]
    sparks = [
        {**_spark(values), "label": key, "unit": units[key]}
        for key, values in series.items()
        if sum(value is not None for value in values) > 1
    ]
    return {"runs": runs, "sparks": sparks}


def _spark(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "lines": page_colours.sparkline(values, 200, 28),
        "least": min(known),
        "most": max(known),
        "last": known[-1],
    }


def _timeline(run: RunReport) -> dict[str, Any] | None:
    """The models of this run side by side in time."""
    began = datetime.fromisoformat(run.began)
    rows: list[dict[str, Any]] = []
    whole = 0.0
    for name, model in run.models.items():
        if not model.timeline or model.at < run.began:
            continue
        offset = (datetime.fromisoformat(model.timeline.began) - began).total_seconds()
        stretches = model.timeline.stretches
        whole = max([whole, offset, *(offset + s.at + s.seconds for s in stretches)])
        totals = Counter(model.timeline.seconds())
        rows.append({"name": name, "totals": totals, "offset": max(0.0, offset), "bars": stretches})
    if whole <= 0:
        return None
    for row in rows:
        row["bars"] = page_colours.bars(row["bars"], row["offset"], whole)
    used = [stage for stage in STAGES if any(row["totals"][stage] for row in rows)]
    return {"whole": span(whole), "stages": used, "rows": rows}


def _median(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return median(known) if known else None
