"""`summary.json`: every model's verdict, merged run by run; docs/reports.md explains its keys."""

import contextlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prep.errors import Exit, PathOccupied
from prep.files.reader import Unreadable, read_json
from prep.home.file_lock import lock_file
from prep.home.layout import make_folder, now, write_text
from prep.machine.build import build
from prep.machine.disk import FULL
from prep.report import history, page
from prep.report.older_versions import SUMMARY_BEFORE, models_of
from prep.report.summary_entry import is_entry
from prep.report.verdict import ModelRun, Status, merged
from prep.settings import Settings

VERSION = 3
NUMBERS = re.compile(r"\[\s+(?:(?:-?\d[\d.e+-]*|null),?\s+)+\]")


def entry(run: ModelRun, status: Status, settings: Settings, name: str) -> dict[str, Any]:
    """One model's entry. Sizes are bytes, times seconds."""
    spec = next(spec for spec in settings.models if spec.name == name)
    locked = settings.lock.get(name)
    facts = run.facts
    bounds = settings.questions_of(spec).agreement
    return {
        "status": status,
        "at": now(),
        "model-prep": build().record(),
        "entry": locked.digest if locked else None,
        "home": str(settings.home.root),
        "wanted-precisions": list(spec.precisions),
        "wanted-consumers": list(spec.consumers) if spec.consumers else None,
        "repo": spec.repo,
        "task": spec.task,
        "why": spec.why,
        "commit": locked.commit if locked else None,
        "license": locked.license if locked else None,
        "files": len(locked.files) if locked else 0,
        "bytes": locked.bytes if locked else 0,
        "fetched-bytes": facts.get("fetched", 0),
        "adopted-bytes": facts.get("adopted", 0),
        "seconds": facts.get("seconds"),
        "timeline": facts.get("timeline"),
        "precisions": {
            precision: {**made, "agreement-bound": bounds[precision]}
            for precision, made in facts.get("precisions", {}).items()
        },
        "loads": facts.get("loads", {}),
        "answers": facts.get("answers", {}),
        "network-cut": facts.get("cut"),
        "interpreters": facts.get("interpreters", {}),
        "cpu-inference-default": facts.get("cpu_default"),
        "goldens": facts.get("goldens"),
        "versions": facts.get("versions", {}),
        "repaired": facts.get("repaired", []),
        "moved-ref": facts.get("moved_ref"),
        "unused-files": facts.get("unused", []),
        "tests": {
            "passed": run.count("passed"),
            "failed": run.count("failed") + run.count("transient") - run.not_reached,
            "not-reached": run.not_reached,
            "not-tried": run.count("not tried"),
        },
        "problems": run.problems,
    }


def write_summary(
    path: Path,
    settings: Settings,
    entries: Mapping[str, Mapping[str, Any]],
    exit_code: int,
    began: float,
    report: Path | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Merge this run into the file, add to the history, and write both as the page `report`.

    All under one lock, so that the three agree where runs end at once. An entry that is
    not as this version writes it is no verdict that anybody could read. `began` is when the run
    did, in seconds since the epoch. Gives what was written, and the history.
    """
    make_folder(path.parent)
    with lock_file(Path(f"{path}.lock")):
        earlier = earlier_entries(path)
        models = dict(earlier)
        for name, fresh in entries.items():
            models[name] = dict(merged(earlier.get(name), fresh))
        whole = {
            "summary-version": VERSION,
            "model-prep": build().record(),
            "began": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
            "at": now(),
            "exit": exit_code,
            "home": str(settings.home.root),
            "catalogue": settings.catalogue.path.name,
            "hub": settings.network.endpoint,
            "offline": settings.offline,
            "models": models,
        }
        write_text(path, _rendered(whole))
        lines = [history.line(name, entry, exit_code) for name, entry in entries.items()]
        try:
            past = history.append(path.with_name(history.NAME), lines)
            if report is not None:
                write_text(report, page.render(whole, past, settings.questions))
        except (OSError, PathOccupied) as error:
            with contextlib.suppress(OSError):  # the run ends by this error: so must the summary
                write_text(path, _rendered(whole | {"exit": exit_unwritten(exit_code, error)}))
            raise
        return whole, past


def exit_unwritten(code: int, error: Exception) -> int:
    """The exit code of a run whose reports could not be written: who reads them would be misled."""
    full = isinstance(error, OSError) and error.errno in FULL
    return code or int(Exit.TRANSIENT if full else 1)


def _rendered(whole: Mapping[str, Any]) -> str:
    """As JSON that people can read: a row of numbers is one line."""
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    return NUMBERS.sub(lambda row: " ".join(row[0].split()), text) + "\n"


def earlier_entries(path: Path) -> dict[str, Any]:
    """The models of the file that is there; one that cannot be read is replaced."""
    try:
        data = read_json(path)
    except (OSError, Unreadable):
        return {}
    models = models_of(data, "summary-version", VERSION, SUMMARY_BEFORE)
    return {name: model for name, model in models.items() if is_entry(model)}
