"""The summary keeps verdicts, and says all that a run knows of a model."""

import errno
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from prep.catalogue.lock import Lock, LockedModel
from prep.errors import PathOccupied
from prep.files.typed import Misfit, plain, read
from prep.machine.build import build
from prep.machine.machine import this_machine
from prep.report.run_report import ModelReport, RunReport
from prep.report.summary import exit_unwritten, model_report, write_reports
from prep.report.verdict import ModelRun, judge
from prep.settings import Settings
from tests.support.reports import AT, FACTS
from tests.support.reports import model_report as made_report
from tests.support.small_homes import COMMIT, OTHER_COMMIT, SOURCE, locked_model
from tests.support.small_settings import settings_for
from tests.unit.report.test_verdict import ALL, run


def settings_at(path: Path, locked: LockedModel | None = None, **more: Any) -> Settings:
    """Settings of a run that writes its summary there."""
    return replace(settings_for(path.parent, locked or locked_model()), summary=path, **more)


def summarized(path: Path, locked: LockedModel, made: ModelRun, code: int = 0) -> ModelReport:
    """Judge the run, merge it into the file, and give what the file then says of the model."""
    settings = settings_at(path, locked)
    fresh = model_report(made, judge(made, ALL), settings, "tiny")
    whole = write_reports(settings, {"tiny": fresh}, code, began=0.0)
    assert read(RunReport, json.loads(path.read_text(encoding="utf-8"))) == whole
    return whole.models["tiny"]


def test_the_summary_keeps_a_verdict_over_an_unchecked_run(tmp_path: Path) -> None:
    path = tmp_path / "model-prep" / "summary.json"
    first = summarized(path, locked_model(), run("passed", "passed"))
    assert (first.status, first.tests.passed) == ("ready", 2)
    assert summarized(path, locked_model(), run("passed")) == first
    relocked = summarized(path, locked_model(commit=OTHER_COMMIT), run("passed"))
    assert (relocked.status, relocked.commit) == ("unchecked", OTHER_COMMIT)
    failed = summarized(path, locked_model(commit=OTHER_COMMIT), run("passed", "failed"), 1)
    assert (failed.status, failed.tests.failed) == ("failed", 1)


def test_the_summary_keeps_models_that_were_not_run(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "summary.json")
    fresh = model_report(run(), "ready", settings, "tiny")
    write_reports(settings, {"other": fresh}, 0, began=0.0)
    whole = write_reports(settings, {"tiny": replace(fresh, status="failed")}, 1, began=0.0)
    statuses = {name: model.status for name, model in whole.models.items()}
    assert statuses == {"other": "ready", "tiny": "failed"}
    assert whole.exit == 1
    assert write_reports(settings, {}, 0, began=0.0).models == whole.models


def test_a_failed_model_names_what_differs_from_its_last_ready_run(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    first = summarized(path, locked_model(), run("passed", "passed", versions={"torch": "1"}))
    assert (first.last_ready, first.differs) == (None, ())
    other = locked_model(commit=OTHER_COMMIT)
    for _ in range(2):  # it is remembered over failed runs
        failed = summarized(path, other, run("failed", versions={"torch": "2"}), 1)
        assert failed.last_ready is not None and failed.last_ready.at == first.at
        assert failed.differs == (
            f"lock: commit {COMMIT} → {OTHER_COMMIT}",
            "version: torch 1 → 2",
        )
    again = summarized(path, other, run("passed", "passed", versions={"torch": "2"}))
    assert (again.last_ready, again.differs) == (None, ())


def test_all_reports_are_written_from_the_merged_summary(tmp_path: Path) -> None:
    """Shards write one after the other: each leaves the reports of all."""
    paths = {name: tmp_path / name for name in ("report", "verdict_xml", "metrics", "bom")}
    settings = settings_at(tmp_path / "summary.json", **paths)
    fresh = model_report(run("passed", "passed"), "ready", settings, "tiny")
    write_reports(settings, {"one": fresh}, 0, began=0.0)
    write_reports(settings, {"two": fresh}, 0, began=0.0)
    suites = ET.parse(paths["verdict_xml"]).getroot().iter("testsuite")
    assert [suite.get("name") for suite in suites] == ["one", "two"]
    metrics = paths["metrics"].read_text(encoding="utf-8")
    assert metrics.count("model_prep_ready{") == 2
    assert "All 2 models are ready" in paths["report"].read_text(encoding="utf-8")
    assert paths["metrics"].stat().st_mode & 0o777 == 0o644
    assert '"bomFormat": "CycloneDX"' in paths["bom"].read_text(encoding="utf-8")


def test_reports_without_a_summary_are_of_this_run(tmp_path: Path) -> None:
    settings = replace(settings_at(tmp_path / "x"), summary=None, verdict_xml=tmp_path / "v.xml")
    fresh = model_report(run("passed", "passed"), "ready", settings, "tiny")
    write_reports(settings, {"tiny": fresh}, 0, began=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["v.xml"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b'{"summary-version": 0, "models": {"x": {}}}'),
        b'{"summary-version": 4, "models": {"x": {"status": "ready"}}}',
    ],
    ids=str,
)
def test_a_summary_that_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    summarized(path, locked_model(), run())
    assert list(json.loads(path.read_text(encoding="utf-8"))["models"]) == ["tiny"]


NOT_ASKED = dict.fromkeys(("latency", "length-tried", "length-limit"))


def test_a_model_tells_all_that_the_run_knows() -> None:
    written = plain(made_report("unchecked"))
    assert re.fullmatch(r"[0-9a-f]{64}", written.pop("asked"))
    assert written == {
        "status": "unchecked",
        "at": AT,
        "model-prep": build().record(),
        "entry": locked_model().digest,
        "home": "/srv/home",
        "wanted-precisions": ["int8"],
        "wanted-consumers": None,
        "repo": "acme/tiny",
        "task": "embedding",
        "why": "x",
        "commit": COMMIT,
        "license": "mit",
        "files": len(SOURCE),
        "bytes": locked_model().bytes,
        "fetched-bytes": 7_000_000,
        "adopted-bytes": 2_000_000,
        **{key: FACTS[key] for key in ("seconds", "timeline", "answers", "goldens")},
        "loads": {
            name: load if "not-tried" in load else {**NOT_ASKED, **load}
            for name, load in FACTS["loads"].items()
        },
        "precisions": {
            "int8": {**FACTS["precisions"]["int8"], "agreement-bound": 0.99, "fell": False}
            | {"no-tokenizer": None}
        },
        "network-cut": "seccomp filter",
        "interpreters": FACTS["interpreters"],
        "cpu-inference-default": None,
        "versions": {"torch": "2.0"},
        "machine": plain(this_machine()),
        "repaired": [],
        "moved-ref": ["old", "new"],
        "unused-files": ["README.md"],
        "tests": {"passed": 1, "failed": 0, "not-reached": 0, "not-tried": 0},
        "checks": {
            "pins": {"passed": 1, "failed": 0, "not-reached": 0, "not-tried": 0}
            | {"seconds": 0.0, "cause": None}
        },
        "causes": [],
        "warnings": [],
        "last-ready": None,
        "differs": [],
    }


def test_what_a_stage_noted_wrong_is_an_error_of_ours() -> None:
    with pytest.raises(Misfit, match="seconds"):
        made_report(seconds="long")


def test_a_model_that_was_never_locked_says_so(tmp_path: Path) -> None:
    settings = replace(settings_for(tmp_path, locked_model()), lock=Lock())
    written = model_report(run("transient"), "transient", settings, "tiny")
    assert (written.entry, written.commit, written.license) == (None, None, None)
    assert (written.files, written.bytes, written.tests.failed) == (0, 0, 1)


def test_every_run_is_in_the_history_beside_the_summary(tmp_path: Path) -> None:
    """One that checked not everything, too: the summary keeps the verdict before."""
    path = tmp_path / "elsewhere" / "summary.json"
    summarized(path, locked_model(), run("passed", "passed"))
    assert summarized(path, locked_model(), run("passed"), 2).status == "ready"
    text = (path.parent / "history.jsonl").read_text(encoding="utf-8")
    lines = map(json.loads, text.splitlines())
    written = [(line["model"], line["status"], line["exit"]) for line in lines]
    assert written == [("tiny", "ready", 0), ("tiny", "unchecked", 2)]


def test_the_summary_holds_no_token_and_can_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "model-prep" / "summary.json"
    before = os.umask(0o077)
    try:
        summarized(path, locked_model(), run("passed", "passed"))
    finally:
        os.umask(before)
    assert "hf_secret" not in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("taken", ["report.html", "history.jsonl"])
def test_the_summary_says_so_where_page_or_history_could_not_be_written(
    tmp_path: Path, taken: str
) -> None:
    (tmp_path / taken).mkdir()
    path = tmp_path / "summary.json"
    settings = settings_at(path, report=tmp_path / "report.html")
    fresh = model_report(run("passed", "passed"), "ready", settings, "tiny")
    with pytest.raises((OSError, PathOccupied)):
        write_reports(settings, {"tiny": fresh}, 0, 0.0)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert (whole["exit"], whole["models"]["tiny"]["status"]) == (1, "ready")


@pytest.mark.parametrize(
    ("code", "error", "ends_by"),
    [
        (0, OSError(errno.ENOSPC, "full"), 75),
        (0, OSError(errno.EACCES, "closed"), 1),
        (0, PathOccupied("a folder"), 1),
        (1, OSError(errno.ENOSPC, "full"), 1),
        (75, OSError(errno.EACCES, "closed"), 75),
        (143, OSError(errno.ENOSPC, "full"), 143),
    ],
    ids=str,
)
def test_a_run_without_its_reports_has_failed(code: int, error: Exception, ends_by: int) -> None:
    assert exit_unwritten(code, error) == ends_by
