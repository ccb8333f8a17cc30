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
    for one in (entry["timeline"] or {}).get("stretches", ()):
        seconds[one["stage"]] = round(seconds.get(one["stage"], 0.0) + one["seconds"], 2)
    versions = json.dumps(entry["versions"], sort_keys=True).encode()
    return {
        "at": entry["at"],
        "model": name,
        "status": entry["status"],
        "exit": exit_code,
        "entry": entry["entry"],
        "seconds": seconds,
        "agreement": {
            precision: one["agreement"]
            for precision, one in entry["precisions"].items()
            if one.get("agreement") is not None
        },
        "versions": hashlib.sha256(versions).hexdigest()[:12] if entry["versions"] else None,
    }


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add to the file, whose lock the caller holds; gives all that it then holds, oldest first.

    A line that a full disk has torn is passed over, and never runs into the next.
    """
    known = read(path)
    fresh = [dict(one) for one in lines]
    whole = [*known, *fresh]
    if len(whole) > MOST:
        whole = whole[-KEPT:]
        write_text(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in whole))
    else:
        append_lines(path, [json.dumps(one, ensure_ascii=False) for one in fresh])
    return whole


def read(path: Path) -> list[dict[str, Any]]:
    """The lines that can be read, oldest first; none where there is no file."""
    found: deque[dict[str, Any]] = deque(maxlen=MOST)
    try:
        for one in read_lines(path):
            with contextlib.suppress(Unreadable):
                data = parse_json(one)
                if is_line(data):
                    found.append(data)
    except FileNotFoundError:
        return []
    return list(found)
