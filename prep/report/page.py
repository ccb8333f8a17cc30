"""`report.html`: the summary and the history as one page that needs nothing else; see the template.

Here the facts become what the template shows: sentences, groups, shares. Everything that it shows
is escaped there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, StrictUndefined

from prep.process.progress import span
from prep.report import page_colours
from prep.tasks.precisions import PRECISIONS
from prep.tasks.question_sets import Questions, Table
from prep.tasks.registry import TASKS

TEMPLATE = Path(__file__).with_name("page.html.j2")
MOST_BYTES = 300_000
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


def render(
    run: Mapping[str, Any],
    past: Sequence[Mapping[str, Any]],
    questions: Mapping[str, Questions],
) -> str:
    """The page for what `write_summary` gave; with less detail where it would be too large.

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
            for number, (name, entry) in enumerate(run["models"].items(), 1)
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


def _headline(run: Mapping[str, Any]) -> dict[str, str]:
    """The verdict in one look: a sentence, and the status whose colour it has."""
    counts = Counter(model["status"] for model in run["models"].values())
    total, code = sum(counts.values()), run["exit"]
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
    name: str,
    entry: Mapping[str, Any],
    run: Mapping[str, Any],
    past: Sequence[Mapping[str, Any]],
    questions: Questions | None,
) -> dict[str, Any]:
    problems = [text[:LETTERS].strip() for text in entry["problems"]]
    sizes = _sizes(entry)
    return {
        **entry,
        "name": name,
        "earlier": entry["at"] < run["began"],
        "sizes": sizes,
        "consumers": _consumers(entry["loads"]),
        "not_tried": Counter(
            load["not-tried"] for load in entry["loads"].values() if "not-tried" in load
        ),
        "answers": _answers(entry, questions),
        "lowest": max(
            (row for row in sizes if row["used"] is not None),
            key=lambda row: row["used"],
            default=None,
        ),
        "measure": TASKS[entry["task"]].measure if entry["task"] in TASKS else None,
        "problem_list": [text.partition("\n")[::2] for text in problems[:PROBLEMS]],
        "more_problems": max(0, len(problems) - PROBLEMS),
        "repaired_list": [
            " ".join(text.split())[:LETTERS] for text in entry["repaired"][:PROBLEMS]
        ],
        "past": _past(line for line in past if line["model"] == name),
    }


def _sizes(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The original and each precision: bytes, and how much of the allowed difference is used."""
    rows = [{"label": "original", "bytes": entry["bytes"], "used": None, "made": None}]
    for precision, made in entry["precisions"].items():
        rows.append({"label": precision, **made, "used": _used(entry["task"], made)})
    most = max([row["bytes"] or 0 for row in rows] + [1])
    return [{**row, "share": 100 * (row["bytes"] or 0) / most} for row in rows]


def _used(task: str, made: Mapping[str, Any]) -> float | None:
    """The difference to the original, of what the bound allows, in percent."""
    agreement, bound = made.get("agreement"), made.get("agreement-bound")
    if agreement is None or bound is None or task not in TASKS:
        return None
    difference, allowed = map(TASKS[task].measure.difference, (agreement, bound))
    return 100 * difference / allowed if allowed else (0.0 if difference <= 0 else 999.0)


def _consumers(loads: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The loads of each consumer, precision and interpreter together."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for name, took in loads.items():
        parts = name.split(":")
        precision = parts.pop(0) if parts[0] in PRECISIONS else "original"
        consumer, way, *more = [*parts, ""][: max(2, len(parts))]
        python = next((part[7:] for part in more if part.startswith("python=")), "")
        load = {"id": name, "way": way, "more": more, **took}
        groups.setdefault((python, precision, consumer), []).append(load)
    return [
        {
            "python": python,
            "precision": precision,
            "consumer": consumer,
            "loads": made,
            "tried": sum("seconds" in load for load in made),
            "ways": list(dict.fromkeys(load["way"] for load in made)),
            "cache_dir": _tried(made, "cache_dir"),
            "other": _tried(made, "other"),
            "read_only": _tried(made, "read-only"),
            "latency": _median(load.get("latency") for load in made),
            "seconds": _median(load.get("seconds") for load in made),
            "peak": max((load.get("peak-bytes", 0) for load in made), default=0),
        }
        for (python, precision, consumer), made in groups.items()
    ]


def _tried(loads: Sequence[Mapping[str, Any]], how: str) -> str:
    """Whether one of them was made like that; empty where none is meant to be."""
    meant = [load for load in loads if how in load["more"]]
    if not meant:
        return ""
    return "yes" if any("seconds" in load for load in meant) else "not tried"


def _answers(entry: Mapping[str, Any], questions: Questions | None) -> dict[str, Any] | None:
    """Heat maps or texts; None where the questions are not those that were asked."""
    given = entry["answers"]
    if not given or questions is None:
        return None
    table = questions.table()
    if not table.columns:
        if any(len(texts) != len(table.labels) for texts in given.values()):
            return None
        rows = [
            {"prompt": label, "texts": [texts[place] for texts in given.values()]}
            for place, label in enumerate(table.labels)
        ]
        return {"kind": "texts", "columns": list(given), "rows": rows}
    maps = [
        {"label": label, "rows": _heat_rows(values, table)}
        for label, values in given.items()
        if [len(row) for row in values] == [len(row) for row in table.cells]
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


def _past(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The last runs of a model: status, time, agreement."""
    runs = [
        {
            "at": line["at"],
            "status": line["status"],
            "seconds": round(sum(line["seconds"].values()), 1),
            "agreement": line["agreement"],
        }
        for line in lines
    ][-RUNS:]
    if not runs:
        return None
    precisions = sorted({precision for run in runs for precision in run["agreement"]})
    agreement = {
        precision: [run["agreement"].get(precision) for run in runs] for precision in precisions
    }
    return {
        "runs": runs,
        "seconds": _spark([run["seconds"] for run in runs]),
        "agreement": {precision: _spark(values) for precision, values in agreement.items()},
    }


def _spark(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "lines": page_colours.sparkline(values, 200, 28),
        "least": min(known),
        "most": max(known),
        "last": known[-1],
    }


def _timeline(run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The models of this run side by side in time."""
    began = datetime.fromisoformat(run["began"])
    rows: list[dict[str, Any]] = []
    whole = 0.0
    for name, entry in run["models"].items():
        if not entry["timeline"] or entry["at"] < run["began"]:
            continue
        offset = (datetime.fromisoformat(entry["timeline"]["began"]) - began).total_seconds()
        stretches = entry["timeline"]["stretches"]
        whole = max([whole, offset, *(offset + s["at"] + s["seconds"] for s in stretches)])
        totals: Counter[str] = Counter()
        for stretch in stretches:
            totals[stretch["stage"]] += stretch["seconds"]
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
