"""`history.jsonl`: a line for each model of each run, beside the summary; see `docs/reports.md`."""

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from prep.files.append import append_lines
from prep.files.fields import (
    is_count,
    is_number,
    is_seconds,
    is_text,
    is_time,
    mapped,
    maybe,
    one_of,
    record,
)
from prep.files.reader import Unreadable, parse_json, read_lines
from prep.home.layout import write_text
from prep.report import older_versions
from prep.report.verdict import Status

NAME = "history.jsonl"
KEPT, MOST = 300, 400  # lines: when there are more than the most, the newest of them are kept


is_line = record(
    {
        "at": is_time,
        "model": is_text,
        "status": one_of(*get_args(Status)),
        "exit": is_count,
        "entry": maybe(is_text),
        "seconds": mapped(is_seconds),
        "agreement": mapped(is_number),
        "versions": maybe(is_text),
    }
)
"""Whether a line of the history is as `line` makes it."""


def line(name: str, entry: Mapping[str, Any], exit_code: int) -> dict[str, Any]:
    """What the history keeps of one model in one run. Times are seconds."""
    seconds: dict[str, float] = {}
    for stretch in (entry["timeline"] or {}).get("stretches", ()):
        stage = stretch["stage"]
        seconds[stage] = round(seconds.get(stage, 0.0) + stretch["seconds"], 2)
    versions = json.dumps(entry["versions"], sort_keys=True).encode()
    return {
        "at": entry["at"],
        "model": name,
        "status": entry["status"],
        "exit": exit_code,
        "entry": entry["entry"],
        "seconds": seconds,
        "agreement": {
            precision: made["agreement"]
            for precision, made in entry["precisions"].items()
            if made.get("agreement") is not None
        },
        "versions": hashlib.sha256(versions).hexdigest()[:12] if entry["versions"] else None,
    }


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add to the file, whose lock the caller holds; gives all that it then holds, oldest first.

    A line that a full disk has torn is passed over, and never runs into the next.
    """
    known = read(path)
    fresh = [dict(line) for line in lines]
    whole = [*known, *fresh]
    if len(whole) > MOST:
        whole = whole[-KEPT:]
        write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in whole))
    else:
        append_lines(path, [json.dumps(line, ensure_ascii=False) for line in fresh])
    return whole


def read(path: Path) -> list[dict[str, Any]]:
    """The lines that can be read, oldest first; none where there is no file."""
    found: deque[dict[str, Any]] = deque(maxlen=MOST)
    try:
        for line in read_lines(path):
            with contextlib.suppress(Unreadable):
                data = older_versions.renamed(parse_json(line))
                if isinstance(data, dict) and is_line(data):
                    found.append(data)
    except FileNotFoundError:
        return []
    return list(found)
