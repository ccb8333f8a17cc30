"""The ledger gives back what was noted, whatever else happened to the file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prep.home.layout import Home
from prep.home.ledger import read_ledger
from tests.support.small_homes import COMMIT, REPO


def test_the_ledger_gives_back_what_was_noted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert read_ledger(home).lines == ()
    home.note_placed("file", home.snapshot(REPO, COMMIT) / "a\nb.json", size=7, repo=REPO)
    home.note_placed("ref", home.ref(REPO), commit=COMMIT)
    now = datetime.now(UTC)
    times = [datetime.fromisoformat(line["at"]) for line in read_ledger(home).lines]
    assert all(now - timedelta(minutes=1) <= at <= now for at in times)
    noted = [
        {key: value for key, value in line.items() if key != "at"}
        for line in read_ledger(home).lines
    ]
    assert noted == [
        {
            "what": "file",
            "path": f"hub/models--acme--tiny/snapshots/{COMMIT}/a\nb.json",
            "size": 7,
            "repo": REPO,
        },
        {"what": "ref", "path": "hub/models--acme--tiny/refs/main", "commit": COMMIT},
    ]


@pytest.mark.parametrize("tail", [b'{"what": "fi', b'{"what": "\xc3', b"\x00\x00\n"])
def test_a_torn_line_of_the_ledger_takes_no_other_with_it(tmp_path: Path, tail: bytes) -> None:
    """Neither the one before nor the one that a later run writes."""
    home = Home(tmp_path)
    home.note_placed("before", tmp_path)
    with home.ledger.open("ab") as ledger:
        ledger.write(tail)
    assert [line["what"] for line in read_ledger(home).lines] == ["before"]
    home.note_placed("after", tmp_path)
    assert [line["what"] for line in read_ledger(home).lines] == ["before", "after"]


def test_a_whole_line_without_its_newline_counts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.note_placed("before", tmp_path)
    home.ledger.write_bytes(home.ledger.read_bytes().rstrip(b"\n"))
    home.note_placed("after", tmp_path)
    assert [line["what"] for line in read_ledger(home).lines] == ["before", "after"]
    assert len([json.loads(line) for line in home.ledger.read_text().splitlines()]) == 2
