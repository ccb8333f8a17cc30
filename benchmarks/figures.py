"""What a benchmark found: rows with medians and spread, as JSON and as a table for a page."""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECTION = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one part, with its peer's where it has one; values in the order of the runs.

    `at_most` bounds the median, or the ratio of the medians where there is a peer; `at_least` turns
    the bound round. None: the figure is only shown.
    """

    part: str
    what: str
    unit: str
    ours: Sequence[float]
    at_most: float | None
    peer: str = ""
    theirs: Sequence[float] = ()
    at_least: bool = False

    @property
    def figure(self) -> float:
        """What is held against the bound."""
        median = statistics.median(self.ours)
        return median / statistics.median(self.theirs) if self.theirs else median

    @property
    def reached(self) -> bool:
        """Whether the bound is kept; where there is none, it is."""
        if self.at_most is None:
            return True
        return self.figure >= self.at_most if self.at_least else self.figure <= self.at_most

    def record(self) -> dict[str, Any]:
        """As the JSON file has it."""
        return {
            "part": self.part,
            "what": self.what,
            "unit": self.unit,
            "ours": [round(value, 3) for value in self.ours],
            "peer": self.peer,
            "theirs": [round(value, 3) for value in self.theirs],
            "figure": round(self.figure, 3),
            "bound": self.at_most,
            "reached": self.reached,
        }


def spread(values: Sequence[float]) -> str:
    """Median with least and greatest, where these are apart; nothing where there are none."""
    if not values:
        return ""
    median = statistics.median(values)
    if max(values) - min(values) < abs(median) / 100:
        return f"{median:.1f}"
    return f"{median:.1f} ({min(values):.1f}–{max(values):.1f})"


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """A table of Markdown; what is to be reached is the ratio where a peer was measured."""
    lines = ["what|here|peer|ratio|to reach|", "---|---|---|---|---|---"]
    for record in records:
        theirs, bound = spread(record["theirs"]), record["bound"]
        cells = (
            f"{record['what']} ({record['unit']})",
            spread(record["ours"]),
            f"{record['peer']} {theirs}".strip(),
            f"{record['figure']:.2f}" if theirs else "",
            f"{bound:g}" if bound is not None else "",
            "" if record["reached"] else "missed",
        )
        lines.append("|".join(cells))
    return "\n".join(lines)


def merged(
    older: Iterable[Mapping[str, Any]], newer: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Rows of parts that were not measured again stay."""
    again = {record["part"] for record in newer}
    return [*(record for record in older if record["part"] not in again), *newer]


def write(
    rows: Sequence[Row], machine: Mapping[str, Any], command: str, to: Path, page: Path
) -> None:
    """Write the JSON file, and the table into the page between its two comments.

    Older rows of the JSON file stay where they were measured on the same machine.
    """
    newer = [row.record() for row in rows]
    older: list[Mapping[str, Any]] = []
    if to.exists():
        before = json.loads(to.read_text(encoding="utf-8"))
        older = before["rows"] if before["machine"] == machine else []
    records = merged(older, newer)
    found = {"machine": machine, "command": command, "rows": records}
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    where = ", ".join(f"{key}: {value}" for key, value in machine.items())
    text = f"{table(records)}\n\nMachine: {where}. Command: `{command}`.\n"
    old = page.read_text(encoding="utf-8")
    page.write_text(SECTION.sub(lambda match: match[1] + text + match[2], old), encoding="utf-8")
