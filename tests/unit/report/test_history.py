"""The history: a line a run, never torn into the next, never endless."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prep.files.typed import plain
from prep.report import history
from prep.report.history import Line
from tests.support.reports import AT, model_report

REPORT = model_report()


def numbered(first: int, count: int = 1) -> list[Line]:
    made = history.line("tiny", REPORT, 0)
    return [replace(made, exit=number) for number in range(first, first + count)]


def append(path: Path, lines: list[Line]) -> list[Line]:
    """As a run does, under the lock of the summary."""
    return history.append(path, history.read(path), lines)


def test_a_line_sums_up_a_run() -> None:
    line = history.line("tiny", REPORT, 0)
    assert line.versions is not None and len(line.versions) == 12
    assert replace(line, versions=None) == Line(
        at=AT,
        model="tiny",
        status="ready",
        exit=0,
        entry=REPORT.entry,
        seconds={"fetched": 10.0, "loaded": 20.0},
        agreement={"int8": 0.995},
        versions=None,
        answer_seconds={
            "original transformers": 0.0075,
            "int8 optimum-intel": 1.5,
            "int8 optimum-intel in search": 1.5,
        },
        peak_bytes={
            "original transformers": 410_000_000,
            "int8 optimum-intel": 460_000_000,
            "int8 optimum-intel in search": 1,
        },
    )
    other = history.line("tiny", replace(REPORT, versions={"torch": "3"}), 0)
    assert other.versions != line.versions
    bare = history.line("tiny", replace(REPORT, versions={}, timeline=None), 75)
    assert (bare.versions, bare.seconds, bare.exit) == (None, {}, 75)
    int8 = replace(REPORT.precisions["int8"], fell=True)
    assert history.line("tiny", replace(REPORT, precisions={"int8": int8}), 0).fell == ("int8",)


def test_a_line_of_an_older_version_has_no_latency(tmp_path: Path) -> None:
    line = plain(numbered(0)[0])
    for key in ("answer-seconds", "peak-bytes", "fell"):
        del line[key]
    (tmp_path / "history.jsonl").write_text(json.dumps(line) + "\n")
    [known] = history.read(tmp_path / "history.jsonl")
    assert (known.agreement, known.answer_seconds, known.fell) == ({"int8": 0.995}, {}, ())


def test_lines_are_added_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert history.read(path) == []
    assert append(path, numbered(0)) == numbered(0)
    assert append(path, numbered(1)) == numbered(0, 2)
    assert history.read(path) == numbered(0, 2)


@pytest.mark.parametrize("torn", [b'{"model": "ti', b"\xff", b"[]\n", b"null", b'{"x": 1}\n'])
def test_a_torn_line_is_passed_over_and_stays_alone(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "history.jsonl"
    append(path, numbered(0))
    with path.open("ab") as file:
        file.write(torn)
    assert append(path, numbered(1)) == numbered(0, 2)
    assert history.read(path) == numbered(0, 2)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append(path, numbered(0, history.MOST))
    assert len(history.read(path)) == history.MOST
    kept = append(path, numbered(history.MOST))
    assert kept == numbered(history.MOST + 1 - history.KEPT, history.KEPT)
    assert history.read(path) == kept
    assert len(path.read_text(encoding="utf-8").splitlines()) == history.KEPT
