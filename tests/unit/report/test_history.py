"""The history: a line a run, never torn into the next, never endless; and when stages worked."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from prep.report import history
from prep.stages import clock
from prep.stages.clock import Clock
from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.registry import TASKS

ENTRY: dict[str, Any] = {
    "at": "2026-01-01T00:00:00+00:00",
    "status": "ready",
    "entry": "e",
    "timeline": {
        "began": "x",
        "stretches": [
            {"stage": "loaded", "which": "a", "at": 0.0, "seconds": 1.5},
            {"stage": "loaded", "which": "b", "at": 2.0, "seconds": 2.0},
            {"stage": "fetched", "which": "", "at": 4.0, "seconds": 0.5},
        ],
    },
    "precisions": {"int8": {"agreement": 0.99}, "fp16": {"agreement": None}},
    "versions": {"torch": "2"},
}


def numbered(first: int, count: int = 1) -> list[dict[str, Any]]:
    told = history.line("tiny", ENTRY, 0)
    return [{**told, "exit": number} for number in range(first, first + count)]


def test_a_line_sums_up_a_run() -> None:
    told = history.line("tiny", ENTRY, 0)
    versions = told.pop("versions")
    assert len(versions) == 12
    assert told == {
        "at": "2026-01-01T00:00:00+00:00",
        "model": "tiny",
        "status": "ready",
        "exit": 0,
        "entry": "e",
        "seconds": {"loaded": 3.5, "fetched": 0.5},
        "agreement": {"int8": 0.99},
    }
    other = history.line("tiny", {**ENTRY, "versions": {"torch": "3"}}, 0)
    assert other["versions"] != versions
    bare = history.line("tiny", {**ENTRY, "versions": {}, "timeline": None}, 75)
    assert (bare["versions"], bare["seconds"], bare["exit"]) == (None, {}, 75)


def test_lines_are_added_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert history.read(path) == []
    assert history.append(path, numbered(0)) == numbered(0)
    assert history.append(path, numbered(1)) == numbered(0, 2)
    assert history.read(path) == numbered(0, 2)


@pytest.mark.parametrize("torn", [b'{"model": "ti', b"\xff", b"[]\n", b"null", b'{"x": 1}\n'])
def test_a_torn_line_is_passed_over_and_stays_alone(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "history.jsonl"
    history.append(path, numbered(0))
    with path.open("ab") as file:
        file.write(torn)
    assert history.append(path, numbered(1)) == numbered(0, 2)
    assert history.read(path) == numbered(0, 2)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history.append(path, numbered(0, history.MOST))
    assert len(history.read(path)) == history.MOST
    kept = history.append(path, numbered(history.MOST))
    assert kept == numbered(history.MOST + 1 - history.KEPT, history.KEPT)
    assert history.read(path) == kept
    assert len(path.read_text(encoding="utf-8").splitlines()) == history.KEPT


def stretches(made: Clock) -> list[tuple[str, str]]:
    return [(fact["stage"], fact["which"]) for fact in made.facts()["stretches"]]


def test_a_stage_that_asks_for_another_stops_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    made = Clock()
    with made.running("loaded", "a"):
        now[0] += 1
        with made.running("fetched"):
            now[0] += 2
        now[0] += 3
    now[0] += 9
    with made.running("loaded", "b"):
        now[0] += clock.LEAST_SECONDS / 2
    facts = made.facts()
    assert facts["began"] == "1970-01-01T00:16:40.000+00:00"
    assert facts["stretches"] == [
        {"stage": "loaded", "which": "a", "at": 0.0, "seconds": 1.0},
        {"stage": "fetched", "which": "", "at": 1.0, "seconds": 2.0},
        {"stage": "loaded", "which": "a", "at": 3.0, "seconds": 3.0},
    ]


def test_loads_of_one_consumer_are_one_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.5]
    monkeypatch.setattr(time, "time", lambda: now[0])
    made = Clock()
    for which, pause in (("a", 0.5), ("a", 0.5), ("b", 5.0), ("b", 0.0)):
        with made.running("loaded", which):
            now[0] += 1
        now[0] += pause
    assert stretches(made) == [("loaded", "a"), ("loaded", "b"), ("loaded", "b")]


def test_a_stage_that_fails_has_worked_as_well() -> None:
    made = Clock()
    with pytest.raises(ValueError, match="x"), made.running("fetched"):
        time.sleep(clock.LEAST_SECONDS * 2)
        raise ValueError("x")
    assert stretches(made) == [("fetched", "")]


@pytest.mark.parametrize("task", ["embedding", "reranker", "seq2seq"])
def test_answers_that_make_no_sense_are_not_shown(task: str) -> None:
    facts: dict[str, object] = {"vectors": {}, "logits": [], "written": []}
    assert TASKS[task].questions().answers(facts) is None


def test_what_is_not_finite_is_null() -> None:
    questions = TASKS["embedding"].questions()
    assert isinstance(questions, EmbeddingQuestions)
    vectors = {text: [1.0, 0.0] for text in questions.plain()["texts"]}
    vectors[questions.related[0].related] = [float("nan"), 1.0]
    rows = questions.answers({"vectors": vectors})
    assert rows is not None
    assert rows[0][:2] == [None, 1.0]
    json.dumps(rows, allow_nan=False)
