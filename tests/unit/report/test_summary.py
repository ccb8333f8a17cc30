"""The summary keeps verdicts, and says all that a run knows of a model."""

import dataclasses
import errno
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.lock import Lock, LockedModel
from prep.errors import PathOccupied
from prep.machine.build import build
from prep.report.summary import entry, exit_unwritten, write_summary
from prep.report.verdict import ModelRun, judge
from tests.support.small_homes import COMMIT, OTHER_COMMIT, SOURCE, locked_model
from tests.support.small_settings import settings_for
from tests.unit.report.test_verdict import ALL, run


def summarized(
    path: Path, locked: LockedModel, model_run: ModelRun, code: int = 0
) -> dict[str, Any]:
    """Judge the run, merge it into the file, and give what the file then says of the model."""
    settings = settings_for(path.parent, locked)
    fresh = entry(model_run, judge(model_run, ALL), settings, "tiny")
    whole, _ = write_summary(path, settings, {"tiny": fresh}, code, began=0.0)
    assert json.loads(path.read_text(encoding="utf-8")) == whole
    said: dict[str, Any] = whole["models"]["tiny"]
    return said


def test_the_summary_keeps_a_verdict_over_an_unchecked_run(tmp_path: Path) -> None:
    path = tmp_path / "model-prep" / "summary.json"
    first = summarized(path, locked_model(), run("passed", "passed"))
    assert (first["status"], first["tests"]["passed"]) == ("ready", 2)
    assert summarized(path, locked_model(), run("passed")) == first
    relocked = summarized(path, locked_model(commit=OTHER_COMMIT), run("passed"))
    assert (relocked["status"], relocked["commit"]) == ("unchecked", OTHER_COMMIT)
    failed = summarized(path, locked_model(commit=OTHER_COMMIT), run("passed", "failed"), 1)
    assert (failed["status"], failed["tests"]["failed"]) == ("failed", 1)


def test_the_summary_keeps_models_that_were_not_run(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    settings = settings_for(tmp_path, locked_model())
    fresh = entry(run(), "ready", settings, "tiny")
    write_summary(path, settings, {"other": fresh}, 0, began=0.0)
    whole, _ = write_summary(path, settings, {"tiny": {**fresh, "status": "failed"}}, 1, began=0.0)
    statuses = {name: model["status"] for name, model in whole["models"].items()}
    assert statuses == {"other": "ready", "tiny": "failed"}
    assert whole["exit"] == 1
    nothing, _ = write_summary(path, settings, {}, 0, began=0.0)
    assert nothing["models"] == whole["models"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b'{"summary-version": 0, "models": {"x": {}}}'),
        b'{"summary-version": 3, "models": {"x": {"status": "ready"}}}',
    ],
    ids=str,
)
def test_a_summary_that_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    summarized(path, locked_model(), run())
    assert list(json.loads(path.read_text(encoding="utf-8"))["models"]) == ["tiny"]


def test_an_entry_tells_all_that_the_run_knows(tmp_path: Path) -> None:
    same = {
        "seconds": 1.5,
        "timeline": {"began": "then", "stretches": []},
        "loads": {"transformers:name": {"seconds": 0.5}},
        "answers": {"original": [[1.0]]},
        "goldens": "none recorded",
        "versions": {"torch": "2"},
        "repaired": ["corrupt config.json"],
    }
    facts = {
        **same,
        "fetched": 7,
        "adopted": 5,
        "precisions": {"int8": {"bytes": 9}},
        "cut": "network namespace",
        "moved_ref": ("old", "new"),
        "unused": ["README.md"],
    }
    settings = settings_for(tmp_path, locked_model())
    written = entry(run("passed", **facts), "unchecked", settings, "tiny")
    assert datetime.fromisoformat(written.pop("at")).utcoffset() == timedelta(0)
    assert written == {
        "status": "unchecked",
        "model-prep": build().record(),
        "entry": locked_model().digest,
        "home": str(settings.home.root),
        "wanted-precisions": ["int8"],
        "wanted-consumers": None,
        "repo": "acme/tiny",
        "task": "embedding",
        "why": "x",
        "commit": COMMIT,
        "license": "mit",
        "files": len(SOURCE),
        "bytes": locked_model().bytes,
        "fetched-bytes": 7,
        "adopted-bytes": 5,
        **same,
        "precisions": {"int8": {"bytes": 9, "agreement-bound": 0.99}},
        "network-cut": "network namespace",
        "interpreters": {},
        "cpu-inference-default": None,
        "moved-ref": ("old", "new"),
        "unused-files": ["README.md"],
        "tests": {"passed": 1, "failed": 0, "not-reached": 0, "not-tried": 0},
        "problems": [],
    }


def test_an_entry_that_was_never_locked_says_so(tmp_path: Path) -> None:
    settings = dataclasses.replace(settings_for(tmp_path, locked_model()), lock=Lock())
    written = entry(run("transient"), "transient", settings, "tiny")
    wanted = {"entry": None, "commit": None, "license": None, "files": 0, "bytes": 0}
    assert wanted.items() <= written.items()
    assert written["tests"] == {"passed": 0, "failed": 1, "not-reached": 0, "not-tried": 0}


def test_every_run_is_in_the_history_beside_the_summary(tmp_path: Path) -> None:
    """One that checked not everything, too: the summary keeps the verdict before."""
    path = tmp_path / "elsewhere" / "summary.json"
    summarized(path, locked_model(), run("passed", "passed"))
    assert summarized(path, locked_model(), run("passed"), 2)["status"] == "ready"
    text = (path.parent / "history.jsonl").read_text(encoding="utf-8")
    lines = map(json.loads, text.splitlines())
    written = [(line["model"], line["status"], line["exit"]) for line in lines]
    assert written == [("tiny", "ready", 0), ("tiny", "unchecked", 2)]


def test_an_entry_counts_what_was_not_reached_apart(tmp_path: Path) -> None:
    failed = run("failed", "transient")
    failed.not_reached, failed.problems = 1, ["why"]
    written = entry(failed, "failed", settings_for(tmp_path, locked_model()), "tiny")
    assert written["tests"] == {"passed": 0, "failed": 1, "not-reached": 1, "not-tried": 0}
    assert written["problems"] == ["why"]


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
    settings = settings_for(tmp_path, locked_model())
    fresh = entry(run("passed", "passed"), "ready", settings, "tiny")
    path, report = tmp_path / "summary.json", tmp_path / "report.html"
    with pytest.raises((OSError, PathOccupied)):
        write_summary(path, settings, {"tiny": fresh}, 0, 0.0, report)
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
