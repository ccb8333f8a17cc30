"""What a run said of each model, and what that means for a row. Reads and decides, runs nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from tests.proofs.matrix.row import Row

Result = Literal["killed", "missed", "accepted", "false alarm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model's part of a run: `failed` maps each judge that failed by itself to its message.

    `status` is the summary's; `seconds` are those of the model's tests. `wrote` names what an
    offline run changed in the home, which must be nothing.
    """

    code: int
    failed: Mapping[str, str]
    passed: int
    status: str
    seconds: float
    out: str = ""
    wrote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of a row; `why` says what is wrong with that, empty where nothing is."""

    row: Row
    unit: str
    result: Result
    why: str
    seconds: float
    failed: tuple[str, ...] = ()
    repaired: bool | None = None
    message: str = field(default="", repr=False)


def read_junit(path: Path) -> dict[str, tuple[dict[str, str], int, float]]:
    """Per model: the judges that failed by themselves with their messages, passed, seconds."""
    found: dict[str, tuple[dict[str, str], int, float]] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        judge, _, rest = case.attrib["name"].partition("[")
        model, _, more = rest.rstrip("]").partition(":")
        if aspect := re.search(r"-(weights|tokenizer|agreement)$", more):
            judge = f"{judge}[{aspect[1]}]"
        failed, passed, seconds = found.get(model, ({}, 0, 0.0))
        bad = [*case.findall("failure"), *case.findall("error")]
        for element in bad:
            text = element.text or element.attrib.get("message", "")
            failed[judge] = "\n".join(filter(None, [failed.get(judge), text]))
        passed += not bad and case.find("skipped") is None
        found[model] = (failed, passed, seconds + float(case.attrib["time"]))
    return found


def judged(row: Row, outcome: Outcome, name: str) -> tuple[Result, str]:
    """Whether the row was seen as it must be, else why not."""
    if outcome.wrote:
        return failed(row), f"an offline run wrote into the home: {', '.join(outcome.wrote[:3])}"
    if row.expect == "passed":
        if outcome.failed:
            judge, message = next(iter(outcome.failed.items()))
            return "false alarm", f"{judge}: {message}"
        if outcome.code != 0 or outcome.status not in ("ready", "unchecked") or not outcome.passed:
            return "false alarm", (
                f"exit {outcome.code}, {outcome.status}, {outcome.passed} passed: {outcome.out}"
            )
        return "accepted", ""
    if row.expect == "exit 4":
        if outcome.code != 4:
            return "missed", f"exit {outcome.code}, wanted 4: {outcome.out[-300:]}"
        if row.file.endswith(".toml") and not _remedy(outcome.out):
            return "missed", f"does not say what to do: {outcome.out}"
        return _names_file(row, outcome.out)
    if not outcome.failed:
        return "missed", f"nothing failed: exit {outcome.code}, {outcome.status}"
    if unseen := [judge for judge in row.seen_by if judge not in outcome.failed]:
        return "missed", f"not seen by {', '.join(unseen)}, but by {', '.join(outcome.failed)}"
    if others := [judge for judge in outcome.failed if judge not in (*row.seen_by, *row.may_see)]:
        return "missed", f"failed for another reason: {others[0]}: {outcome.failed[others[0]]}"
    for judge in row.seen_by:
        if why := _no_help(outcome.failed[judge], name):
            return "missed", f"{judge}: {why}"
    return _names_file(row, "\n".join(outcome.failed[judge] for judge in row.seen_by))


def failed(row: Row) -> Result:
    return "false alarm" if row.expect == "passed" else "missed"


def _names_file(row: Row, message: str) -> tuple[Result, str]:
    """Whether what was said names the file or setting, and holds the row's words."""
    if not row.file:
        return "missed", "the row names no file or setting that the message must name"
    said = " ".join(message.split())
    wanted = [" ".join(words.split()) for words in (row.file, *row.words)]
    if lacking := [words for words in wanted if words not in said]:
        return "missed", f"the message lacks {lacking}: {message}"
    return "killed", ""


def _no_help(message: str, name: str) -> str:
    """What a message lacks: the model, or what to do, which is its last line, a sentence."""
    if name not in message:
        return f"does not name the model {name}: {message}"
    return "" if _remedy(message).endswith(".") else f"does not say what to do: {message}"


def _remedy(message: str) -> str:
    """The last line, where it is none of the problems', or itself says what would help."""
    last = message.strip().splitlines()[-1]
    return "" if last.startswith("  ") and "; allow it there" not in last else last
