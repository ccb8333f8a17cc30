"""From a run to its reports: `summary.json`, merged run by run, and all that is derived from it."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prep.errors import Exit, PathOccupied
from prep.files.reader import Unreadable, read_json
from prep.files.typed import plain, read, read_or_none
from prep.home.file_lock import lock_file
from prep.home.layout import make_folder, now, write_text
from prep.machine.build import build
from prep.machine.disk import FULL
from prep.machine.machine import this_machine
from prep.report import history, materials, metrics, page, trend, verdict_xml
from prep.report.older_versions import SUMMARY_BEFORE, models_of
from prep.report.run_report import GREEN, VERSION, ModelReport, RunReport, Status
from prep.report.verdict import ModelRun, merged
from prep.settings import Settings

NUMBERS = re.compile(r"\[\s+(?:(?:-?\d[\d.e+-]*|null),?\s+)+\]")


def model_report(run: ModelRun, status: Status, settings: Settings, name: str) -> ModelReport:
    """One model in this run. What the stages noted is checked here, and typed from here on."""
    spec = next(spec for spec in settings.models if spec.name == name)
    locked = settings.lock.get(name)
    facts = run.facts
    bounds = settings.questions_of(spec).agreement
    failed = {load: {"failed": line} for load, line in run.loads.items()}
    return read(
        ModelReport,
        {
            "status": status,
            "at": now(),
            "model-prep": build().record(),
            "entry": locked.digest if locked else None,
            "asked": settings.asked_of(spec),
            "home": str(settings.home.root),
            "wanted-precisions": spec.precisions,
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
            "loads": {**failed, **facts.get("loads", {})},
            "answers": facts.get("answers", {}),
            "network-cut": facts.get("cut"),
            "interpreters": facts.get("interpreters", {}),
            "cpu-inference-default": facts.get("cpu_default"),
            "goldens": facts.get("goldens"),
            "versions": facts.get("versions", {}),
            "machine": plain(this_machine()),
            "repaired": facts.get("repaired", ()),
            "moved-ref": facts.get("moved_ref"),
            "unused-files": facts.get("unused", ()),
            "tests": plain(run.counts(run.tests)),
            "checks": plain(run.reports()),
            "causes": plain(list(run.causes.values())),
            "warnings": (),
            "last-ready": None,
            "differs": (),
        },
    )


def write_reports(
    settings: Settings, fresh: Mapping[str, ModelReport], exit_code: int, began: float
) -> RunReport:
    """Merge this run into the summary, add to the history, and write what is derived from both.

    All under one lock, so that they agree where runs end at once. An entry that is not as this
    version writes it is no verdict that anybody could read. `began` is when the run did, in seconds
    since the epoch. Where no summary is to be written, the reports are of this run alone.
    """
    path = settings.summary
    if path is None:
        whole = _run_report(settings, fresh, exit_code, began)
        _write_derived(settings, whole, [])
        return whole
    make_folder(path.parent)
    with lock_file(Path(f"{path}.lock")):
        earlier = earlier_models(path)
        past: list[history.Line] = []
        with contextlib.suppress(OSError):  # adding to it ends the run by the same error
            past = history.read(path.with_name(history.NAME))
        models, lines = dict(earlier), []
        for name, report in fresh.items():
            compared = _compared(name, report, earlier.get(name), past)
            lines.append(history.line(name, compared, exit_code))
            models[name] = merged(earlier.get(name), compared)
        whole = _run_report(settings, models, exit_code, began)
        write_text(path, _rendered(whole))
        try:
            past = history.append(path.with_name(history.NAME), past, lines)
            _write_derived(settings, whole, past)
        except (OSError, PathOccupied) as error:
            with contextlib.suppress(OSError):  # the run ends by this error: so must the summary
                write_text(path, _rendered(replace(whole, exit=exit_unwritten(exit_code, error))))
            raise
        return whole


def exit_unwritten(code: int, error: Exception) -> int:
    """The exit code of a run whose reports could not be written: who reads them would be misled."""
    full = isinstance(error, OSError) and error.errno in FULL
    return code or int(Exit.TRANSIENT if full else 1)


def _run_report(
    settings: Settings, models: Mapping[str, ModelReport], exit_code: int, began: float
) -> RunReport:
    return RunReport(
        model_prep=build(),
        began=datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        at=now(),
        exit=exit_code,
        home=str(settings.home.root),
        catalogue=settings.catalogue.path.name,
        hub=settings.network.endpoint,
        offline=settings.offline,
        models=models,
    )


def _compared(
    name: str, report: ModelReport, earlier: ModelReport | None, past: Sequence[history.Line]
) -> ModelReport:
    """With what is to be said of its past; where it is not ready, where it last was."""
    before = None if report.status in GREEN else trend.last_ready(earlier)
    falls = trend.falls(name, report, past)
    return replace(
        report,
        precisions={
            precision: replace(made, fell=precision in falls)
            for precision, made in report.precisions.items()
        },
        warnings=tuple(falls.values()),
        last_ready=before,
        differs=tuple(trend.differences(before, report)) if before else (),
    )


def _write_derived(settings: Settings, whole: RunReport, past: Sequence[history.Line]) -> None:
    """The page, the verdict for dashboards, metrics, bill of materials: where each is wanted."""
    derived: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (settings.report, lambda: page.render(whole, past, settings.questions)),
        (settings.verdict_xml, lambda: verdict_xml.render(whole)),
        (settings.metrics, lambda: metrics.render(whole)),
        (settings.bom, lambda: materials.render(whole, settings.lock, settings.home)),
    )
    for path, render in derived:
        if path is not None:
            write_text(path, render())


def _rendered(whole: RunReport) -> str:
    """As JSON that people can read: a row of numbers is one line."""
    text = json.dumps(plain(whole), indent=1, ensure_ascii=False)
    return NUMBERS.sub(lambda row: " ".join(row[0].split()), text) + "\n"


def earlier_models(path: Path) -> dict[str, ModelReport]:
    """The models of the file that is there; one that cannot be read is replaced."""
    try:
        data = read_json(path)
    except (OSError, Unreadable):
        return {}
    models = models_of(data, "summary-version", VERSION, SUMMARY_BEFORE)
    return {
        name: report
        for name, model in models.items()
        if (report := read_or_none(ModelReport, model)) is not None
    }
