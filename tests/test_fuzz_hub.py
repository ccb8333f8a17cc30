"""A hub that answers what no hub would: one of our errors, and nothing outside of the home."""

from pathlib import Path

import pytest

from prep.digest import digest_file
from prep.fetch import _unlike_a_hub
from prep.layout import Home
from tests.fuzz.hub import LOCKED, ROWS, SPEC, WEIGHTS, Row, between, outcome

CHOSEN = ("no size", "none of them", "an etag that is a path", "a size of 10**30", "another size")
TOLD = ("HubRefused", "WrongBytes", "HubBusy", "NotAHub")
by_row = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name in CHOSEN], ids=lambda row: str(row.name)
)


@by_row
def test_an_answer_that_no_hub_gives_is_told_of_or_harmless(tmp_path: Path, row: Row) -> None:
    with between() as server:
        kind, text = outcome(server, row, tmp_path / "folder")
    if kind == "read":
        assert LOCKED is not None
        weights = Home(tmp_path / "folder" / "home").snapshot(LOCKED.repo, LOCKED.commit) / WEIGHTS
        wanted = LOCKED.file(WEIGHTS)
        assert wanted is not None
        assert digest_file(weights).sha256 == wanted.sha256
    else:
        assert kind in TOLD, text
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert {path.name for path in (tmp_path / "folder").iterdir()} <= {"home", "fetch", "ask"}


def test_what_a_lock_cannot_hold_is_not_taken(tmp_path: Path) -> None:
    [row] = [row for row in ROWS if row.name == "a license that paints"]
    with between() as server:
        kind, text = outcome(server, row, tmp_path)
    assert kind == "HubRefused"
    assert text == (
        f"{server.url} answered what no hub answers of {SPEC.repo} (1 problem):\n"
        "  the license is '\\x1b[2Jmit'\n"
        "Nothing was locked: ask the keeper of that hub or mirror, or give another HF_ENDPOINT."
    )


def test_every_part_of_the_hubs_answer_is_looked_at() -> None:
    right = {"commit": "c" * 40, "head": "c" * 40, "license": "mit", "files": []}
    file = {"path": "config.json", "size": 7}
    assert list(_unlike_a_hub({**right, "files": [file]})) == []
    wrong = {
        "commit": None,
        "head": "../x",
        "license": "a\nb",
        "files": [{**file, "size": -1}, {**file, "size": "7"}, {**file, "path": "a\0"}],
    }
    assert list(_unlike_a_hub(wrong)) == [
        "the commit is None",
        "the head is '../x'",
        "the license is 'a\\nb'",
        "'config.json' has -1 bytes",
        "'config.json' has '7' bytes",
        "a file is named 'a\\x00'",
    ]
