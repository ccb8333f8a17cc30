"""The benchmark's arithmetic, table and JSON; that every part is listed, and the quickest runs."""

import json
from pathlib import Path

import pytest

from benchmarks import bench, figures
from benchmarks.figures import Row

RATIO = Row(part="a", what="x", unit="s", ours=[3, 1, 2], peer="p", theirs=[1, 1, 4], at_most=1.8)
ABSOLUTE = Row(part="b", what="y", unit="MB/s", ours=[150], at_most=144, at_least=True)
PAGE = "# P\n\n<!-- measured -->\nold\n<!-- end -->\n\nend\n"


def test_a_ratio_is_that_of_the_medians() -> None:
    assert (RATIO.figure, RATIO.reached) == (2.0, False)


def test_a_bound_is_the_least_where_the_row_says_so() -> None:
    assert (ABSOLUTE.figure, ABSOLUTE.reached) == (150, True)


def test_the_table_has_medians_and_spread() -> None:
    assert figures.table(row.record() for row in (RATIO, ABSOLUTE)).splitlines()[2:] == [
        "x (s)|2.0 (1.0–3.0)|p 1.0 (1.0–4.0)|2.00|1.8|missed",
        "y (MB/s)|150.0|||144|",
    ]


def test_a_part_that_is_measured_again_replaces_its_rows_alone(tmp_path: Path) -> None:
    to, page = tmp_path / "reports" / "bench.json", tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    figures.write([RATIO, ABSOLUTE], {"cpus": 2}, "make bench", to, page)
    again = Row(part="b", what="z", unit="s", ours=[1], at_most=2)
    figures.write([again], {"cpus": 2}, "make bench", to, page)
    assert [row["what"] for row in json.loads(to.read_text())["rows"]] == ["x", "z"]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# P\n\n<!-- measured -->\nwhat|")
    assert text.endswith("Machine: cpus: 2. Command: `make bench`.\n<!-- end -->\n\nend\n")
    figures.write([again], {"cpus": 4}, "make bench", to, page)
    assert [row["what"] for row in json.loads(to.read_text())["rows"]] == ["z"]


def test_every_part_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(bench.PARTS)


def test_the_quickest_part_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few entries; figures are written, and none is held to its bound."""
    monkeypatch.setattr(bench, "ENTRIES", 2)
    to, page = tmp_path / "bench.json", tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    asked = ["relock", "--times", "1", "--folder", str(tmp_path)]
    assert bench.main([*asked, "--json", str(to), "--page", str(page)]) == 0
    rows = json.loads(to.read_text(encoding="utf-8"))["rows"]
    assert [row["part"] for row in rows] == ["relock"] * 3
    assert all(row["ours"][0] > 0 for row in rows)
