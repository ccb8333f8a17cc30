"""Records in `older/` were written before the statuses had today's names: they are read, and true.

They are of summary.json 2, ready.json 1 and receipts that name no version of model-prep.
"""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prep.home.layout import Home
from prep.home.ledger import read_ledger
from prep.home.receipt import read_receipt
from prep.machine.build import build
from prep.report import history
from prep.report.older_versions import renamed, upgraded
from prep.report.ready_file import write_for_consumers
from prep.report.run_report import Status
from prep.report.summary import model_report, write_reports
from prep.report.verdict import ModelRun
from tests.support.small_homes import tiny
from tests.support.small_settings import settings_for
from tests.unit.deploy.test_ready import LONG_AGO, gate

OLDER = Path(__file__).with_name("older")
TODAY = {"tiny": "repaired", "second": "failed", "third": "transient"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What a home of the older version holds beside the model `tiny`."""
    made = tiny(tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    made.home.state.mkdir()
    for name in ("summary.json", "history.jsonl", "ready.json"):
        shutil.copy(OLDER / name, made.home.state / name)
    return made.home.state


def written(state: Path, status: Status, name: str = "tiny") -> dict[str, Any]:
    """The summary after a run of today."""
    path = state / "summary.json"
    settings = settings_for(state.parent, tiny(state.parent / "other").locked)
    fresh = model_report(ModelRun(), status, settings, "tiny")
    write_reports(replace(settings, summary=path), {name: fresh}, 0, 0.0)
    past = history.read(state / "history.jsonl")
    assert [line.status for line in past[:3]] == list(TODAY.values())
    written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return written


def test_a_summary_is_written_anew_with_todays_words(state: Path) -> None:
    whole = written(state, "ready", "new")
    models = whole["models"]
    assert whole["summary-version"] == 4
    assert {name: models[name]["status"] for name in TODAY} == TODAY
    assert models["tiny"]["repaired"] == ["changed  config.json"]
    assert models["tiny"]["model-prep"] is None
    [cause] = models["second"]["causes"]
    assert (cause["kind"], cause["error"], cause["text"]) == ("permanent", "", "second: wrong")
    assert models["new"]["model-prep"] == whole["model-prep"] == build().record()


def test_the_verdict_of_an_older_summary_stands_over_a_run_that_left_checks_out(
    state: Path,
) -> None:
    data = json.loads((state / "summary.json").read_text())
    data["models"]["tiny"]["home"] = str(state.parent)
    (state / "summary.json").write_text(json.dumps(data))
    assert written(state, "unchecked")["models"]["tiny"]["status"] == "repaired"


def test_older_words_in_a_record_of_today_are_no_verdict(state: Path) -> None:
    text = (state / "summary.json").read_text()
    (state / "summary.json").write_text(text.replace('-version": 2', '-version": 4'))
    assert list(written(state, "ready", "new")["models"]) == ["new"]


def test_the_history_is_read_in_todays_words() -> None:
    lines = history.read(OLDER / "history.jsonl")
    assert {line.model: line.status for line in lines} == TODAY


def test_the_gate_accepts_an_older_proof_and_sees_damage(state: Path) -> None:
    code, out = gate(state.parent)
    assert (code, "tiny: ready, proven" in out) == (0, True), out
    (state.parent / "hub" / "models--acme--tiny" / "refs" / "main").unlink()
    assert gate(state.parent)[0] == 1


@pytest.mark.parametrize(("status", "code"), [("unchecked", 0), ("failed", 1)])
def test_an_older_proof_stands_until_a_run_says_otherwise(
    state: Path, status: Status, code: int
) -> None:
    settings = settings_for(state.parent, tiny(state.parent / "other").locked)
    assert write_for_consumers(settings, {"tiny": status}, 0) == []
    data = json.loads((state / "ready.json").read_text())
    kept = "repaired" if status == "unchecked" else "failed"
    assert (data["ready-version"], data["models"]["tiny"]["status"]) == (2, kept)
    assert gate(state.parent)[0] == code


def test_an_older_receipt_is_still_whole(tmp_path: Path) -> None:
    shutil.copy(OLDER / "receipt.json", tmp_path / "receipt.json")
    receipt = read_receipt(tmp_path)
    assert "model-prep" not in receipt.made
    assert receipt.render() == (OLDER / "receipt.json").read_text()


def test_an_older_ledger_says_what_was_placed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.state.mkdir()
    line = {"at": "2026-01-01T00:00:00+00:00", "catalogue": "/srv/models.toml"}
    line |= {"path": "hub/models--acme--tiny/blobs/aa", "repo": "acme/tiny", "what": "blob"}
    home.ledger.write_text(json.dumps(line, sort_keys=True) + "\n")
    assert read_ledger(home).of("acme/tiny", "blob") == [line]


@pytest.mark.parametrize("record", [None, [], "healed", 7, {}, {"status": ["red"]}, {"status": 1}])
def test_what_is_no_record_stays_so(record: object) -> None:
    assert renamed(record) == record
    assert upgraded(record) == (
        {"model-prep": None, **record} if isinstance(record, dict) else record
    )


def test_a_summary_of_version_3_is_read_too(state: Path) -> None:
    """It had today's statuses, `problems`, and a latency of every load."""
    data = json.loads((state / "summary.json").read_text())
    models = {name: renamed(model) for name, model in data["models"].items()}
    third = {"model-prep": build().record()}
    data |= {"summary-version": 3, "models": {name: {**m, **third} for name, m in models.items()}}
    (state / "summary.json").write_text(json.dumps(data))
    found = written(state, "ready", "new")["models"]
    assert {name: found[name]["status"] for name in TODAY} == TODAY
    assert found["tiny"]["model-prep"] == build().record()
    assert [cause["text"] for cause in found["second"]["causes"]] == ["second: wrong"]
