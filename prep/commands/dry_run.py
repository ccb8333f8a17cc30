"""`--dry-run`: the plan of a run, from sizes and receipts; nothing is digested, nothing written.

The same preflight as a real run's says whether it can work; the hub is asked only where something
is to be fetched. Times are what the same work took here before, or unknown. `docs/plan.schema.json`
describes the plan for programs.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.convert import conversion
from prep.errors import Exit, TransientError
from prep.files.fields import MOST_SECONDS, is_count, is_seconds
from prep.files.reader import Unreadable, read_json
from prep.home.layout import Home
from prep.home.receipt import Receipt, read_receipt
from prep.settings import Settings
from prep.stages.plan import plan_conversion, plan_source
from prep.stages.preflight import Facts, Need, Obstacle, judge, look, needs_of
from prep.verify.conversion import check_conversion
from prep.verify.source import check_source

VERSION = 2
HEAD = ("model", "revision", "there", "fetch", "precision", "action", "on disk", "time", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """One precision: what is done, and bytes of disk, seconds and bytes of memory that it takes.

    `known_from` says whether these are those of a ``receipt`` in this home, or ``computed`` from
    the lock's sizes, which gives no time; None of what is only known when it is made.
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
    """One model. `fetch` counts the bytes that the hub has to send, `adopt` those that lie in the
    home under other names; `files` are what is to be fetched or adopted, as path and size."""

    name: str
    repo: str
    task: str
    commit: str
    locked_files: int
    locked_bytes: int
    files: tuple[tuple[str, int], ...]
    fetch: int
    adopt: int
    seconds: float | None
    ref: tuple[str | None, str] | None
    opened: tuple[str, ...]
    precisions: tuple[PrecisionPlan, ...]


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Print the plan; 0 if it can work, 1 if not, 75 where it is only the hub that is not there."""
    needs = needs_of(settings)
    problems: list[Obstacle] = []
    plans = [_model(settings, spec, needs, problems) for spec in settings.models]
    facts = look(settings, () if settings.offline else needs, scratch, _to_stderr)
    if not settings.offline:
        problems += judge(needs, facts)
    code = _code(problems, facts)
    if settings.as_json:
        data = _as_json(settings, plans, problems, facts, code)
        write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    else:
        write("".join(f"{line}\n" for line in _as_text(settings, plans, problems, facts)))
    return code


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _code(problems: Sequence[Obstacle], facts: Facts) -> int:
    """75 only where nothing but the hub is in the way: a disk that is too small stays so."""
    if not problems:
        return 0
    absent = {str(error) for error in facts.refusals.values() if isinstance(error, TransientError)}
    return int(Exit.TRANSIENT) if all(problem.text in absent for problem in problems) else 1


def _model(
    settings: Settings, spec: ModelSpec, needs: Sequence[Need], problems: list[Obstacle]
) -> ModelPlan:
    """What a run would do for one model; notes what no run can repair."""
    locked = settings.lock.get(spec.name)
    assert locked is not None, "settings were held against the lock"
    also = settings.lock.paths_of(locked.repo, locked.commit)
    state = check_source(settings.home, locked, also_locked=also, deep=False)
    plan = plan_source(locked, state)
    need = next((need for need in needs if need.model == spec.name), None)

    def stuck(text: str) -> None:
        problems.append(Obstacle(models=(spec.name,), text=text, transient=False))

    for problem in plan.unrepairable:
        stuck(" ".join(str(problem).split()))
    if settings.offline and not plan.nothing_to_do:
        stuck("its files are not as they must be; --offline repairs nothing")
    fetch = need.fetch if need else 0
    return ModelPlan(
        name=spec.name,
        repo=locked.repo,
        task=spec.task,
        commit=locked.commit,
        locked_files=len(locked.files),
        locked_bytes=locked.bytes,
        files=tuple((file.path, file.size) for file in plan.fetch),
        fetch=fetch,
        adopt=need.adopt if need else 0,
        seconds=_fetch_seconds(settings, spec.name, fetch),
        ref=(state.ref, locked.commit) if plan.move_ref else None,
        opened=tuple(f"{problem.path}  ({problem.detail})" for problem in plan.open),
        precisions=tuple(
            _precision(settings, spec, locked, precision, need, stuck)
            for precision in settings.precisions_of(spec)
        ),
    )


def _precision(
    settings: Settings,
    spec: ModelSpec,
    locked: LockedModel,
    precision: str,
    need: Need | None,
    stuck: Callable[[str], None],
) -> PrecisionPlan:
    home = settings.home
    at = home.stable(locked.repo, precision)
    stable = check_conversion(home, locked, precision, at=at, deep=False)
    if settings.offline:  # judged by its own receipt, whatever the tools here are
        if not stable.sound:
            stuck(f"{precision} is not there whole; --offline makes none")
        action, reason = ("keep", "as its receipt says") if stable.sound else ("lacks", "")
        return _plan(precision, action, reason, stable.receipt if stable.sound else None)
    recipe = conversion.recipe_for(locked, spec.task, precision)
    place = home.conversions(locked.repo) / recipe.digest
    made = check_conversion(home, locked, precision, at=place, wanted=recipe, deep=False)
    decided = plan_conversion(recipe, stable, made)
    if decided.action not in ("convert", "convert again"):
        kept = stable if decided.action in ("keep", "open") else made
        return _plan(precision, decided.action, decided.reason, kept.receipt)
    if (receipt := _receipt(home, locked, precision)) is not None:
        return _plan(precision, decided.action, decided.reason, receipt, work=True)
    make = next((work for work in (need.make if need else ()) if work.precision == precision), None)
    return PrecisionPlan(
        precision=precision,
        action=decided.action,
        reason=decided.reason,
        bytes=make.bytes if make else None,
        seconds=None,
        memory=make.memory if make else None,
        known_from="computed" if make else None,
    )


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


def _receipt(home: Home, locked: LockedModel, precision: str) -> Receipt | None:
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
    """What as many bytes took when the model was fetched into this home; None: it never was."""
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
    facts: Facts,
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
        "free-bytes": facts.home.free,
        "free-memory-bytes": facts.memory.free,
        "problems": [asdict(problem) for problem in problems],
        "models": [
            {
                "name": plan.name,
                "repo": plan.repo,
                "task": plan.task,
                "commit": plan.commit,
                "files": plan.locked_files,
                "bytes": plan.locked_bytes,
                "missing": [{"path": path, "size": size} for path, size in plan.files],
                "fetch-bytes": plan.fetch,
                "adopt-bytes": plan.adopt,
                "fetch-seconds": plan.seconds,
                "ref": {"from": plan.ref[0], "to": plan.ref[1]} if plan.ref else None,
                "opened": list(plan.opened),
                "precisions": [
                    {key.replace("_", "-"): value for key, value in asdict(precision).items()}
                    for precision in plan.precisions
                ],
            }
            for plan in plans
        ],
    }


def _as_text(
    settings: Settings, plans: Sequence[ModelPlan], problems: Sequence[Obstacle], facts: Facts
) -> Iterator[str]:
    """The table, what is behind its numbers, and what is in the way."""
    yield f"plan for {settings.home.root} (from sizes and receipts; not digested)"
    yield ""
    rows = [HEAD, *(row for plan in plans for row in _rows(plan))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    yield ""
    for plan in plans:
        yield from _details(plan)
    fetch, adopt = sum(plan.fetch for plan in plans), sum(plan.adopt for plan in plans)
    made = sum(
        precision.bytes or 0
        for plan in plans
        for precision in plan.precisions
        if _is_made(precision)
    )
    yield (
        f"to fetch: {fetch} bytes; to adopt: {adopt} bytes; to convert: {made} bytes; free on the "
        f"home's disk: {facts.home.free} bytes"
    )
    for problem in problems:
        yield f"cannot work: {problem}"


def _rows(plan: ModelPlan) -> Iterator[tuple[str, ...]]:
    there = f"{plan.locked_files - len(plan.files)} of {plan.locked_files} files"
    came = _megabytes(plan.fetch) if plan.fetch else "nothing"
    yield (
        *(plan.name, plan.commit[:12], there, came, "original", "fetch" if plan.files else "keep"),
        *(_megabytes(plan.locked_bytes), _seconds(plan.seconds), ""),
    )
    for precision in plan.precisions:
        memory = _about(precision.memory, precision) if precision.memory is not None else ""
        took = _seconds(precision.seconds) if _is_made(precision) else "0 s"
        size = _about(precision.bytes, precision) if precision.bytes is not None else "unknown"
        yield ("", "", "", "", precision.precision, precision.action, size, took, memory)


def _details(plan: ModelPlan) -> Iterator[str]:
    """What the table has no room for; nothing for a model that is all there."""
    lines = [f"fetch    {path}  {size} bytes" for path, size in plan.files]
    lines += [f"open     {opened}" for opened in plan.opened]
    if plan.ref:
        lines.append(
            f"write    refs/main  (is {plan.ref[0]!r})" if plan.ref[0] else "write    refs/main"
        )
    lines += [
        f"{precision.action:<8} {precision.precision}  ({precision.reason})"
        for precision in plan.precisions
        if precision.action != "keep"
    ]
    if lines:
        yield f"{plan.name}  {plan.repo}"
        yield from (f"  {line}" for line in lines)
        yield ""


def _is_made(plan: PrecisionPlan) -> bool:
    return plan.action.startswith("convert")


def _about(count: int, plan: PrecisionPlan) -> str:
    """The size, with a mark where it is computed and not from a receipt."""
    return f"{'~' * (plan.known_from == 'computed')}{_megabytes(count)}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.0f} s"
