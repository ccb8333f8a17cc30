"""`--dry-run`: the plan of a run, from sizes and receipts; nothing is digested, nothing written.

The same preflight as a real run's says whether it can work; the hub is asked only where something
is to be fetched. Times are what the same work took here before, or unknown. `docs/plan.schema.json`
describes the plan for programs.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.errors import Exit, TransientError
from prep.files.fields import MOST_SECONDS, is_count, is_seconds
from prep.files.reader import Unreadable, read_json
from prep.files.tree import megabytes
from prep.home.layout import Home
from prep.home.receipt import Receipt, read_receipt
from prep.settings import Settings
from prep.stages.plan import CONVERTS, plan_source
from prep.stages.preflight import (
    Findings,
    Need,
    Obstacle,
    find_obstacles,
    gather,
    needs_of,
    quick_plan,
)
from prep.tasks.registry import TASKS
from prep.verify.conversion import check_conversion
from prep.verify.source import check_source

VERSION = 2
HEAD = ("model", "revision", "there", "fetch", "precision", "action", "on disk", "time", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """One precision: what is done, and the bytes of disk, seconds and bytes of memory it takes.

    `known_from` says whether they are from a ``receipt`` in this home, or ``computed`` from the
    lock's sizes, which gives no time; None where they are not known.
    """

    precision: str
    action: str
    reason: str
    bytes: int | None
    seconds: float | None
    memory: int | None
    known_from: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model. `fetch_bytes` the hub has to send, `adopt_bytes` lie in the home under other
    names; `missing` are path and size of the files to be fetched or adopted, `without` the
    consumers of its task that the lock or the entry leaves out."""

    name: str
    repo: str
    task: str
    commit: str
    files: int
    bytes: int
    missing: tuple[dict[str, Any], ...]
    fetch_bytes: int
    adopt_bytes: int
    fetch_seconds: float | None
    ref: dict[str, str | None] | None
    opened: tuple[str, ...]
    without: tuple[str, ...]
    precisions: tuple[PrecisionPlan, ...]


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Print the plan; 0 if it can work, 1 if not, 75 where only the hub is unreachable."""
    needs = needs_of(settings)
    problems: list[Obstacle] = []
    plans = [_model(settings, spec, needs, problems) for spec in settings.models]
    findings = gather(
        settings,
        () if settings.offline else needs,
        scratch,
        say=lambda text: sys.stderr.write(f"{text}\n"),
    )
    if not settings.offline:
        problems += find_obstacles(needs, findings)
    code = _code(problems, findings)
    if settings.as_json:
        content = _as_json(settings, plans, problems, findings, code)
        write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    else:
        write("".join(f"{line}\n" for line in _as_text(settings, plans, problems, findings)))
    return code


def _code(problems: Sequence[Obstacle], findings: Findings) -> int:
    """75 only where the hub is the one problem: a disk that is too small stays so."""
    if not problems:
        return 0
    errors = findings.refusals.values()
    transient = {str(error) for error in errors if isinstance(error, TransientError)}
    return int(Exit.TRANSIENT) if all(problem.text in transient for problem in problems) else 1


def _model(
    settings: Settings, spec: ModelSpec, needs: Sequence[Need], problems: list[Obstacle]
) -> ModelPlan:
    """What a run would do for one model; appends to `problems` what no run can repair."""
    locked = settings.locked(spec)
    also = settings.lock.paths_of(locked.repo, locked.commit)
    state = check_source(settings.home, locked, also_locked=also, deep=False)
    plan = plan_source(locked, state)
    need = next((need for need in needs if need.model == spec.name), None)

    def add_problem(text: str) -> None:
        problems.append(Obstacle(models=(spec.name,), text=text, transient=False))

    for problem in plan.unrepairable:
        add_problem(" ".join(str(problem).split()))
    if settings.offline and not plan.nothing_to_do:
        add_problem("its files are not what the lock says; --offline repairs nothing")
    fetch = need.fetch if need else 0
    tried = TASKS[spec.task].consumers_named(settings.consumers_of(spec))
    return ModelPlan(
        name=spec.name,
        repo=locked.repo,
        task=spec.task,
        commit=locked.commit,
        files=len(locked.files),
        bytes=locked.bytes,
        missing=tuple({"path": file.path, "size": file.size} for file in plan.fetch),
        fetch_bytes=fetch,
        adopt_bytes=need.adopt if need else 0,
        fetch_seconds=_fetch_seconds(settings, spec.name, fetch),
        ref={"from": state.ref, "to": locked.commit} if plan.move_ref else None,
        opened=tuple(f"{problem.path}  ({problem.detail})" for problem in plan.open),
        without=tuple(each.name for each in TASKS[spec.task].consumers if each not in tried),
        precisions=tuple(
            _precision(settings, spec, locked, precision, need, add_problem)
            for precision in settings.precisions_of(spec)
        ),
    )


def _precision(
    settings: Settings,
    spec: ModelSpec,
    locked: LockedModel,
    precision: str,
    need: Need | None,
    add_problem: Callable[[str], None],
) -> PrecisionPlan:
    home = settings.home
    if settings.offline:  # its own receipt counts, whatever the tools here are
        at = home.stable(locked.repo, precision)
        stable = check_conversion(home, locked, precision, at=at, deep=False)
        if not stable.sound:
            add_problem(f"{precision} is missing or corrupt; --offline makes none")
        action, reason = ("keep", "as its receipt says") if stable.sound else ("lacks", "")
        return _plan(precision, action, reason, stable.receipt if stable.sound else None)
    decided, stable, made = quick_plan(home, spec, locked, precision)
    if decided.action not in CONVERTS:
        kept = stable if decided.action in ("keep", "open") else made
        return _plan(precision, decided.action, decided.reason, kept.receipt)
    earlier = _earlier_receipt(home, locked, precision)
    plan = _plan(precision, decided.action, decided.reason, earlier, work=True)
    makes = need.make if need and plan.known_from is None else ()
    for make in makes:
        if make.precision == precision:
            return replace(plan, bytes=make.bytes, memory=make.memory, known_from="computed")
    return plan


def _plan(
    precision: str, action: str, reason: str, receipt: Receipt | None, work: bool = False
) -> PrecisionPlan:
    """What a receipt says; only where something is made does it take time and memory."""
    made = receipt.made if receipt and work else {}
    return PrecisionPlan(
        precision=precision,
        action=action,
        reason=reason,
        bytes=receipt.bytes if receipt else None,
        seconds=made.get("seconds") if is_seconds(made.get("seconds")) else None,
        memory=made.get("peak-bytes") if is_count(made.get("peak-bytes")) else None,
        known_from="receipt" if receipt else None,
    )


def _earlier_receipt(home: Home, locked: LockedModel, precision: str) -> Receipt | None:
    """The receipt of an earlier conversion of the same files to that precision, by other tools."""
    source = {file.path: file.sha256 for file in locked.files}
    for folder in sorted(home.conversions(locked.repo).glob("[0-9a-f]*")):
        try:
            receipt = read_receipt(folder)
        except Unreadable:
            continue
        if receipt.recipe.precision == precision and dict(receipt.recipe.source) == source:
            return receipt
    return None


def _fetch_seconds(settings: Settings, name: str, size: int) -> float | None:
    """The time for so many bytes when the model was fetched into this home; None: it never was."""
    if size == 0:
        return 0.0
    try:
        entry = read_json(settings.home.state / "summary.json")["models"][name]
        seconds = round(float(entry["seconds"]) * size / int(entry["fetched-bytes"]), 2)
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError):
        return None
    return seconds if 0 <= seconds < MOST_SECONDS else None


def _as_json(
    settings: Settings,
    plans: Sequence[ModelPlan],
    problems: Sequence[Obstacle],
    findings: Findings,
    code: int,
) -> dict[str, Any]:
    """The plan for programs. Sizes are bytes, times seconds."""
    return {
        "plan-version": VERSION,
        "home": str(settings.home.root),
        "catalogue": settings.catalogue.path.name,
        "hub": None if settings.offline else settings.network.endpoint,
        "digested": False,
        "exit": code,
        "free-bytes": findings.home.free,
        "free-memory-bytes": findings.memory.free,
        "problems": [asdict(problem) for problem in problems],
        "models": [_with_dashes(asdict(plan)) for plan in plans],
    }


def _with_dashes(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of a plan as keys of JSON."""
    precisions = content.pop("precisions", None)
    keys = {key.replace("_", "-"): value for key, value in content.items()}
    return keys if precisions is None else {**keys, "precisions": [*map(_with_dashes, precisions)]}


def _as_text(
    settings: Settings, plans: Sequence[ModelPlan], problems: Sequence[Obstacle], findings: Findings
) -> Iterator[str]:
    """The table, the details behind its numbers, and the problems."""
    yield f"plan for {settings.home.root} (from sizes and receipts; not digested)"
    yield ""
    rows = [HEAD, *(row for plan in plans for row in _rows(plan))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    yield ""
    for plan in plans:
        yield from _details(plan)
    fetch, adopt = sum(plan.fetch_bytes for plan in plans), sum(plan.adopt_bytes for plan in plans)
    precisions = [precision for plan in plans for precision in plan.precisions]
    made = sum(each.bytes or 0 for each in precisions if each.action in CONVERTS)
    yield (
        f"to fetch: {fetch} bytes; to adopt: {adopt} bytes; to convert: {made} bytes; free on the "
        f"home's disk: {findings.home.free} bytes"
    )
    for problem in problems:
        yield f"cannot work: {problem}"


def _rows(plan: ModelPlan) -> Iterator[tuple[str, ...]]:
    there = f"{plan.files - len(plan.missing)} of {plan.files} files"
    fetch = megabytes(plan.fetch_bytes) if plan.fetch_bytes else "nothing"
    action = "fetch" if plan.missing else "keep"
    yield (
        *(plan.name, plan.commit[:12], there, fetch, "original", action),
        *(megabytes(plan.bytes), _seconds(plan.fetch_seconds), ""),
    )
    for precision in plan.precisions:
        memory = _about(precision.memory, precision) if precision.memory is not None else ""
        took = _seconds(precision.seconds) if precision.action in CONVERTS else "0 s"
        size = _about(precision.bytes, precision) if precision.bytes is not None else "unknown"
        yield ("", "", "", "", precision.precision, precision.action, size, took, memory)


def _details(plan: ModelPlan) -> Iterator[str]:
    """What the table does not show; nothing for a model that is complete and read by all."""
    lines = [f"fetch    {file['path']}  {file['size']} bytes" for file in plan.missing]
    lines += [f"open     {opened}" for opened in plan.opened]
    if plan.ref:
        old = plan.ref["from"]
        lines.append("write    refs/main" + (f"  (is {old!r})" if old else ""))
    lines += [
        f"{precision.action:<8} {precision.precision}  ({precision.reason})"
        for precision in plan.precisions
        if precision.action != "keep"
    ]
    if plan.without:
        lines.append(f"not read by {', '.join(plan.without)}")
    if lines:
        yield f"{plan.name}  {plan.repo}"
        yield from (f"  {line}" for line in lines)
        yield ""


def _about(count: int, plan: PrecisionPlan) -> str:
    """The size, marked where it is computed and not from a receipt."""
    return f"{'~' * (plan.known_from == 'computed')}{megabytes(count)}"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.0f} s"
