"""Tries rows: changes copies of homes, runs the suite on them, and repairs what can be repaired."""

import json
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import cache
from pathlib import Path

from prep.home.layout import Home
from sample_hub.server import Hub
from tests.proofs.matrix.home_copies import (
    BYSTANDER,
    ChangedHome,
    HomeCopies,
    Original,
    Unit,
    bystanders,
    original,
)
from tests.proofs.matrix.row import EVERY_FILE, Row, Target
from tests.proofs.matrix.verdict import Finding, Outcome, failed, judged, read_junit
from tests.support.paths import ROOT
from tests.support.runs import Run, run

NO_HUB = "http://127.0.0.1:9"
MOST = 16  # models in one run: enough to share what is dear
SAMPLES = {"embedding": "tiny-embedding", "reranker": "tiny-reranker", "seq2seq": "tiny-seq2seq"}
# The files of judges that need no load: named, so that nothing else is collected for each model.
CHEAP = tuple(
    str(ROOT / "model_tests" / name)
    for name in ("test_pins.py", "test_cache_layout.py", "test_conversion.py")
)
# Those of them that need no conversion, whose content is measured by answers.
SOURCE = (*CHEAP[:2], "-k", "not converted and not receipt")
OURS = (
    "model-prep",
    "hub/.locks",
    "hub/CACHEDIR.TAG",
)  # what repairing may write beside the models


class Runner:
    """Runs rows on the sample models, or on one model of the project's catalogue.

    Where `judges` are given (`CHEAP`, `SOURCE`), these alone are asked; `repair` runs online as
    well.
    """

    def __init__(
        self,
        scratch: Path,
        *,
        model: str | None = None,
        judges: tuple[str, ...] = (),
        repair: bool = True,
    ) -> None:
        self.copies = HomeCopies(scratch)
        self.model = model
        self.judges = judges
        self.repair = repair
        small = model in (None, *SAMPLES.values())
        self.most = MOST // 2 if not small else 200 if judges else MOST
        self.original = cache(self._original)

    def _original(self, task: str) -> Original:
        return original(self.model or SAMPLES[task])

    def tasks(self, row: Row) -> tuple[str, ...]:
        """The tasks of a row for which there is a model here."""
        if self.model is None:
            return row.tasks
        task = original(self.model).spec.task
        fits = self.model in SAMPLES.values() or row.true
        return tuple(own for own in row.tasks if own == task and fits)

    def prepare(self, rows: Sequence[Row]) -> None:
        """Prepare every model that the rows need, once, before they run side by side."""
        for task in sorted({task for row in rows for task in self.tasks(row)}):
            self.copies.prepared(self.original(task))

    def all(self, rows: Sequence[Row]) -> Iterator[Finding]:
        """Every row's finding, one batch after another."""
        self.prepare(rows)
        for units in self.batches(rows):
            yield from self.try_batch(units)

    def submit(self, rows: Sequence[Row], pool: Executor) -> dict[str, list[Future[list[Finding]]]]:
        """Start every batch; gives for each row's name the batches that have findings of it."""
        self.prepare(rows)
        found: dict[str, list[Future[list[Finding]]]] = defaultdict(list)
        for units in self.batches(rows):
            batch = pool.submit(self.try_batch, units)
            for row in {row.name for unit in units for row in unit.rows}:
                found[row].append(batch)
        return found

    def batches(self, rows: Sequence[Row]) -> list[list[Unit]]:
        """Units that can share a home and a run: the long ones first."""
        alone: list[list[Unit]] = []
        shared: dict[bool, list[Unit]] = {True: [], False: []}
        for unit in self._units(rows):
            if unit.row.scope == "home" or unit.row.expect == "exit 4":
                alone.append([unit])
            else:
                shared[bool(unit.row.damage_repo or unit.row.entry)].append(unit)
        batches = [
            units[start : start + self.most]
            for units in shared.values()
            for start in range(0, len(units), self.most)
        ]
        return [*batches, *alone]

    def _units(self, rows: Sequence[Row]) -> Iterator[Unit]:
        together: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            for task in self.tasks(row):
                name = slug(row.name) + ("" if len(row.tasks) == 1 else f"-{task}")
                if row.together:
                    together.setdefault((row.together, task), []).append(row)
                else:
                    yield Unit(name=name, rows=(row,), task=task)
        for (label, task), some in together.items():
            yield Unit(name=slug(f"{label} {task}"), rows=tuple(some), task=task)

    def try_batch(self, units: list[Unit]) -> list[Finding]:
        """The units' findings; one that cannot be tried at all is found out by itself."""
        try:
            return self._tried(units)
        except Exception as error:
            if len(units) > 1:
                return [finding for unit in units for finding in self.try_batch([unit])]
            why = f"could not be tried: {error!r}"
            return [_untried(row, units[0].name, why) for row in units[0].rows]

    def _tried(self, units: list[Unit]) -> list[Finding]:
        """One changed home, one run offline, and one online for rows that can be repaired."""
        findings: list[Finding] = []
        with self.copies.changed(units, self.original) as changed:
            alone = units[0].row.scope == "home" or units[0].row.expect == "exit 4"
            outcomes = self._offline(changed, alone=alone)
            repaired = self._online(changed, units) if self.repair and not alone else {}
            for unit, target in zip(units, changed.targets, strict=True):
                outcome, not_applied = outcomes[target.name], changed.not_applied.get(target.name)
                if len(unit.rows) > 1 and (
                    not_applied or judged(unit.row, outcome, target.name)[1]
                ):
                    continue  # some row of it is not harmless: which, is found out below
                findings += [
                    _untried(row, unit.name, not_applied)
                    if not_applied
                    else _finding(
                        row,
                        unit,
                        outcome,
                        repaired.get(target.name, ""),
                        repair=target.name in repaired,
                    )
                    for row in unit.rows
                ]
        known = {finding.unit for finding in findings}
        for unit in units:
            if unit.name not in known:
                for row in unit.rows:
                    single = Unit(name=slug(row.name), rows=(row,), task=unit.task)
                    findings += self.try_batch([single])
        return findings

    def _offline(self, changed: ChangedHome, *, alone: bool) -> dict[str, Outcome]:
        first = changed.targets[0]
        top = first.catalogue.parent
        junit, summary = top / "junit.xml", top / "summary.json"
        before = contents(changed.home)
        done = run(
            *("--catalogue", first.catalogue, "--hub", NO_HUB, "--model-home", first.home.root),
            *("--offline", "--no-progress", "--junitxml", junit, "--summary", summary),
            *self.judges,
            env=first.env if alone else None,
            prefix=first.prefix if alone else (),
            timeout=3600,
        )
        after = contents(changed.home)
        wrote = [path for path in after if after[path] != before.get(path)]
        wrote += [path for path in before if path not in after]
        found = read_junit(junit) if junit.is_file() else {}
        models = json.loads(summary.read_text())["models"] if summary.is_file() else {}
        outcomes = {}
        for target in changed.targets:
            failed, passed, seconds = found.get(target.name, ({}, 0, 0.0))
            outcomes[target.name] = Outcome(
                code=done.code if alone else int(bool(failed)),
                failed=failed,
                passed=passed,
                status=models.get(target.name, {}).get("status", "no verdict"),
                seconds=done.seconds if alone else seconds,
                out=done.out if alone or not found else "",
                wrote=tuple(wrote),
            )
        return outcomes

    def _online(self, changed: ChangedHome, units: Sequence[Unit]) -> dict[str, str]:
        """Repair what can be repaired; gives for each model what is wrong with that."""
        if not any(unit.row.expect == "failed" and not unit.row.damage_repo for unit in units):
            return {}
        before = contents(changed.home)
        # What a row itself removed with its folder, repairing cannot have touched.
        left = {
            target.name: [path for path in bystanders(target) if path.is_file()]
            for target in changed.targets
        }
        first = changed.targets[0]
        with Hub(changed.served) as hub:
            done = run(
                *("--catalogue", first.catalogue, "--hub", hub.url),
                *("--model-home", first.home.root, *self.judges),
                timeout=3600,
            )
            fetched = {
                target.name: {
                    request.path.partition(f"/{target.locked.repo}/")[2].removeprefix(
                        f"{target.locked.commit}/"  # of a small file; of a large one, none
                    )
                    for request in hub.requests
                    if request.method == "GET"
                    and request.status in (200, 206)
                    and f"/{target.locked.repo}/" in request.path
                }
                for target in changed.targets
            }
        after = contents(changed.home)
        path = changed.home.state / "summary.json"
        models = json.loads(path.read_text())["models"] if path.is_file() else {}
        wrong = {}
        for unit, target in zip(units, changed.targets, strict=True):
            if unit.row.expect != "failed" or unit.row.damage_repo:
                continue
            entry = models.get(target.name, {})
            common = _bystanders_problem(target, left[target.name])
            if unit.row.online != "failed":
                wrong[target.name] = common or _repair_problem(
                    unit.row,
                    entry,
                    done,
                    fetched[target.name],
                    {file.path for file in target.locked.files},
                    target.name,
                    whole=not self.judges,
                )
            else:
                wrong[target.name] = common or _untouched_problem(target, entry, before, after)
        return wrong


def _untried(row: Row, name: str, why: str) -> Finding:
    """Of a row that showed nothing, which is as bad as one that is missed."""
    return Finding(row=row, unit=name, result=failed(row), why=why, seconds=0.0)


def _finding(row: Row, unit: Unit, outcome: Outcome, repairing: str, *, repair: bool) -> Finding:
    result, why = judged(row, outcome, unit.name)
    if not why and repairing:
        result, why = "missed", f"repairing: {repairing}"
    return Finding(
        row=row,
        unit=unit.name,
        result=result,
        why=why,
        seconds=outcome.seconds,
        failed=tuple(outcome.failed),
        repaired=not why if repair and row.online == "repaired" else None,
        message="\n".join(outcome.failed.values())
        or (outcome.out if row.expect == "exit 4" else ""),
    )


def _repair_problem(
    row: Row,
    entry: dict[str, object],
    done: Run,
    fetched: set[str],
    locked: set[str],
    name: str,
    *,
    whole: bool,
) -> str:
    wanted = row.online if whole else "unchecked"
    if entry.get("status") != wanted:
        return f"status is {entry.get('status')}, wanted {wanted}: {entry.get('problems')}"
    reported = f"[{name}] repairing: " in done.out
    if row.online == "ready":
        return "what is no damage is called repaired" if reported or entry.get("repaired") else ""
    if not entry.get("repaired"):
        return "the report does not say what was wrong"
    if not reported:
        return "it was repaired silently"
    wanted_files = locked if row.fetches == EVERY_FILE else set(row.fetches)
    if fetched != wanted_files:
        return f"fetched {sorted(fetched)}, wanted {sorted(wanted_files)}"
    return ""


def _untouched_problem(
    target: Target, entry: dict[str, object], before: dict[str, object], after: dict[str, object]
) -> str:
    if entry.get("status") != "failed":
        return f"status is {entry.get('status')}, wanted failed"
    own = (str(target.repo.relative_to(target.home.root)),)
    own += (str(target.conversions.relative_to(target.home.root)),)
    gone = [
        path
        for path, was in before.items()
        if path.startswith(own) and after.get(path) != was and not is_folder(was)
    ]
    return f"what does not repair was touched: {', '.join(gone[:3])}" if gone else ""


def _bystanders_problem(target: Target, left: Sequence[Path]) -> str:
    """Somebody's files that were there before the run: they are as they were."""
    for path in left:
        if not path.is_file() or path.read_text(encoding="utf-8") != BYSTANDER:
            return f"somebody's {target.home.shown(path)} was touched"
    return ""


def contents(home: Home) -> dict[str, object]:
    """Every path of a home with its kind, mode, size, date and target: equal means untouched."""
    found: dict[str, object] = {}
    for path in sorted(home.root.rglob("*")) if home.root.is_dir() else ():
        name = path.relative_to(home.root).as_posix()
        if name.startswith(OURS):
            continue
        status = path.lstat()
        link = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
        date = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        found[name] = (status.st_mode, size, date, link)
    return found


def is_folder(noted: object) -> bool:
    """Whether that was a folder."""
    return isinstance(noted, tuple) and stat.S_ISDIR(noted[0])


def slug(name: str) -> str:
    """A row's name as a model's: letters, digits and hyphens."""
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())
