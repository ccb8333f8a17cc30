"""`--dry-run`: the plan of a run, from sizes and receipts; nothing is digested, nothing written."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from prep import convert, fetch
from prep.catalogue import ModelSpec
from prep.errors import WrongRequest
from prep.plan import plan_conversion, plan_source
from prep.settings import Settings
from prep.verify import look_at_conversion, look_at_source


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Print what a run would do; 0 if it can work, 1 if not; raises where no hub answers."""
    if settings.as_json:
        raise WrongRequest("--dry-run=json is not built yet: --dry-run prints text.")
    to_fetch = 0
    stuck = []
    write(f"plan for {settings.home.root} (from sizes and receipts; not digested)\n")
    for spec in settings.models:
        lines, bytes_wanted, problems = _model(settings, spec)
        to_fetch += bytes_wanted
        stuck += problems
        write(f"\n{spec.name}  {spec.repo}\n")
        for line in [*lines, *problems]:
            write(f"  {line}\n")
    free = _free(settings.home.root)
    write(f"\nto fetch: {to_fetch} bytes; free on the home's disk: {free} bytes\n")
    if to_fetch > free:
        stuck.append(f"the disk lacks {to_fetch - free} bytes for the fetched files alone")
    elif to_fetch and not stuck and not settings.offline:
        fetch.reach(settings.network, scratch=scratch, say=lambda text: write(f"{text}\n"))
    for problem in stuck:
        write(f"cannot work: {problem}\n")
    return 1 if stuck else 0


def _model(settings: Settings, spec: ModelSpec) -> tuple[list[str], int, list[str]]:
    """What to print for one model, how many bytes it needs, and what makes it impossible."""
    locked = settings.lock.get(spec.name)
    assert locked is not None, "settings were held against the lock"
    also = settings.lock.paths_of(locked.repo, locked.commit)
    state = look_at_source(settings.home, locked, also_locked=also, deep=False)
    plan = plan_source(locked, state)
    kept = len(locked.files) - len(plan.fetch)
    lines = [
        f"commit   {locked.commit}",
        f"keep     {kept} of {len(locked.files)} files, {locked.bytes - plan.bytes} bytes",
        *(f"fetch    {file.path}  {file.size} bytes" for file in plan.fetch),
    ]
    problems = [f"{spec.name}: {problem}" for problem in plan.left]
    lines += [f"open     {problem.path}  ({problem.detail})" for problem in plan.open]
    if settings.offline and not plan.idle:
        problems.append(f"{spec.name}: its files are not as they must be; --offline mends nothing")
    if plan.move_ref:
        lines.append(
            f"write    refs/main (is {state.ref!r})" if state.ref else "write    refs/main"
        )
    for precision in settings.precisions_of(spec):
        at = settings.home.stable(locked.repo, precision)
        stable = look_at_conversion(settings.home, locked, precision, at=at, deep=False)
        if settings.offline:  # judged by its own receipt, whatever the tools here are
            if stable.sound:
                lines.append(f"keep     {precision}  (as its receipt says)")
            else:
                problems.append(
                    f"{spec.name}: {precision} is not there whole; --offline makes none"
                )
            continue
        recipe = convert.recipe_for(locked, spec.task, precision)
        place = settings.home.conversions(locked.repo) / recipe.digest
        made = look_at_conversion(
            settings.home, locked, precision, at=place, wanted=recipe, deep=False
        )
        decided = plan_conversion(recipe, stable, made)
        lines.append(f"{decided.action:<8} {precision}  ({decided.because})")
    return lines, plan.bytes, problems


def _free(path: Path) -> int:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(os.fspath(there)).free
