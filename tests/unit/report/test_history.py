"""The history: a line a run, never torn into the next, never endless."""

from pathlib import Path
from typing import Any

import pytest

from prep.report import history

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
    entry = history.line("tiny", ENTRY, 0)
    return [{**entry, "exit": number} for number in range(first, first + count)]


def test_a_line_sums_up_a_run() -> None:
    entry = history.line("tiny", ENTRY, 0)
    versions = entry.pop("versions")
    assert len(versions) == 12
    assert entry == {
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
