"""A hub that answers what no hub would: one of our errors, and nothing outside of the home."""

from pathlib import Path

import pytest

from prep.files.checksum import digest_file
from prep.home.layout import Home
from tests.proofs.fuzz.hub import (
    ASKED_BY,
    LOCKED,
    ROWS,
    SPEC,
    WEIGHTS,
    Do,
    Row,
    between,
    outcome,
)

# One or two of each place, and those that once ended the child without a sentence; all the others
# are proofs.
CHOSEN: tuple[tuple[str, Do], ...] = (
    ("info: tags that are numbers", "ask"),
    ("info: packed a thousandfold", "ask"),
    ("tree: a file that is a list", "ask"),
    ("file: an etag that is a path", "fetch"),
    ("file: a size of 5000 digits", "fetch"),
    ("file: busy by a limit that is none", "access"),
    ("file: no, of a form that is none", "fetch"),
    ("file: a web page by a painted server", "fetch"),
    ("small: another size", "ask"),
    ("bytes: another size", "fetch"),
    ("bytes: a range of 5000 digits", "ask"),
)
OTHERS = [
    pytest.param(str(row), do, marks=pytest.mark.proof)
    for row in ROWS
    for do in ASKED_BY[row.where]
    if (str(row), do) not in CHOSEN
]
ERRORS = ("HubRefused", "ChecksumMismatch", "HubBusy", "NotAHub", "HubUnreachable", "TimedOut")


def tried(tmp_path: Path, name: str, do: Do) -> tuple[str, str]:
    """What becomes of one row: class and text, with the place of the server written as HUB."""
    [row] = [row for row in ROWS if str(row) == name]
    with between() as server:
        kind, text = outcome(server, row, do, tmp_path / "folder")
        hub, cdn = (place.removeprefix("http://") for place in (server.url, server.cdn))
        return kind, text.replace(hub, "HUB").replace(cdn, "CDN")  # each port is any free one


def test_an_unchanged_answer_is_read(tmp_path: Path) -> None:
    with between() as server:
        for do in ("ask", "fetch", "access"):
            assert outcome(server, None, do, tmp_path) == ("read", "")


def test_a_row_that_is_not_met_is_no_test(tmp_path: Path) -> None:
    row = Row(name="nothing", where="bytes", change=lambda answer: answer)
    with between() as server, pytest.raises(AssertionError) as caught:
        outcome(server, row, "fetch", tmp_path)
    assert str(caught.value) == "bytes: nothing was never met by fetch"


@pytest.mark.parametrize(("name", "do"), [*CHOSEN, *OTHERS], ids=str)
def test_an_answer_that_no_hub_gives_is_told_of_or_harmless(
    tmp_path: Path, name: str, do: Do
) -> None:
    kind, text = tried(tmp_path, name, do)
    if kind == "read" and do == "fetch":
        assert LOCKED is not None
        weights = Home(tmp_path / "folder" / "home").snapshot(LOCKED.repo, LOCKED.commit) / WEIGHTS
        wanted = LOCKED.file(WEIGHTS)
        assert wanted is not None
        assert digest_file(weights).sha256 == wanted.sha256
    assert kind in (*ERRORS, "read"), text
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert {path.name for path in (tmp_path / "folder").iterdir()} <= {"home", do}


@pytest.mark.parametrize("where", ["info", "tree"])
def test_checksums_in_capitals_are_those_of_the_lock(tmp_path: Path, where: str) -> None:
    assert tried(tmp_path, f"{where}: checksums in capitals", "ask") == ("read", "")


REFUSED = "Nothing was locked: ask the operator of that hub or mirror, or give another HF_ENDPOINT."
NO_ADDRESS = (
    f"not a hub: HUB redirects to an invalid URL for {SPEC.repo}. Check --hub (HF_ENDPOINT), "
    "the proxy, or whether this network wants a login first."
)
SENTENCES = {
    "info: a license that paints": (
        f"refused by the hub: invalid answers of http://HUB for {SPEC.repo} (1 problem):\n"
        f"  the license is '\\x1b[2Jmit'\n{REFUSED}"
    ),
    "tree: pages without end": (
        f"refused by the hub: HUB lists the files of {SPEC.repo} on more than 200 pages, which no "
        f"model has. {REFUSED}"
    ),
    "tree: a next page that is this one": (
        f"refused by the hub: HUB lists the files of {SPEC.repo} in a loop, and so not all of "
        f"them. {REFUSED}"
    ),
    "file: a place that is none": NO_ADDRESS,
    "file: a place at a port that is none": NO_ADDRESS,
    "file: a place on this disk": NO_ADDRESS,
}


@pytest.mark.parametrize("name", SENTENCES)
def test_what_a_hub_does_wrong_is_one_sentence(tmp_path: Path, name: str) -> None:
    do: Do = "fetch" if name.startswith("file: ") else "ask"
    kind = "NotAHub" if name.startswith("file: ") else "HubRefused"
    assert tried(tmp_path, name, do) == (kind, SENTENCES[name])
