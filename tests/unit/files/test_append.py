"""What several processes write at once holds all that they wrote, whole, in one piece each."""

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from prep.errors import PathOccupied
from prep.files import append
from prep.files.append import append_lines
from prep.report import history
from prep.report.ready_file import _seal
from tests.support.paths import ROOT
from tests.support.writers import LEAST, LENGTHS, PROCESSES
from tests.unit.home.test_file_lock import NO_FLOCK

SECONDS = "0.4"


def hammered(kind: str, folder: Path, **env: str) -> dict[str, int]:
    """How often each of the processes wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.writers", kind, str(folder), SECONDS],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    assert len(counts) == PROCESSES
    assert min(counts.values()) >= LEAST
    return counts


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line of the file, each of which must be whole."""
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text[:-1].split(b"\n")]


def test_eight_processes_write_the_ledger(tmp_path: Path) -> None:
    counts = hammered("ledger", tmp_path)
    lines = lines_of(tmp_path / "model-prep" / "placed.jsonl")
    assert sorted(line["path"] for line in lines) == sorted(
        f"{name}-{number}" for name, count in counts.items() for number in range(count)
    )
    for line in lines:
        assert len(line["more"]) == LENGTHS[int(line["path"].rpartition("-")[2]) % 2]


def test_eight_processes_append_events(tmp_path: Path) -> None:
    counts = hammered("events", tmp_path)
    numbers: dict[str, list[int]] = {name: [] for name in counts}
    for line in lines_of(tmp_path / "events.jsonl"):
        numbers[line["who"]].append(line["number"])
        assert len(line["more"]) == LENGTHS[line["number"] % 2]
    assert numbers == {name: list(range(count)) for name, count in counts.items()}


def test_eight_processes_write_equal_reports(tmp_path: Path) -> None:
    counts = hammered("report", tmp_path)
    whole = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert {name: model["files"] for name, model in whole["models"].items()} == {
        name: count - 1 for name, count in counts.items()
    }
    lines = lines_of(tmp_path / "history.jsonl")
    assert min(sum(counts.values()), history.KEPT) <= len(lines) <= history.MOST
    for name, count in counts.items():  # of each the newest, in their order
        own = [line["exit"] for line in lines if line["model"] == name]
        assert own == [number % 2 for number in range(count)][count - len(own) :]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"writer-\d", page)) == set(counts)
    names = {"summary.json", "summary.json.lock", "history.jsonl", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_eight_processes_write_what_consumers_read(tmp_path: Path) -> None:
    counts = hammered("ready", tmp_path)
    state = tmp_path / "model-prep"
    whole = json.loads((state / "ready.json").read_text(encoding="utf-8"))
    assert set(whole["models"]) == set(counts)
    assert whole["seal"] == _seal(whole["models"])
    env = (state / "consumer.env").read_text(encoding="utf-8")
    assert env.splitlines()[1:] == [
        f"HF_HOME={tmp_path}",
        "HF_HUB_OFFLINE=1",
        "TRANSFORMERS_OFFLINE=1",
    ]
    assert {path.name for path in state.iterdir()} == {
        "ready.json",
        "ready.json.lock",
        "consumer.env",
    }


def test_eight_holders_leave_one_whole_note(tmp_path: Path) -> None:
    """As where locks do nothing: in two containers both may even have one number."""
    seen: list[str] = []
    done = threading.Event()
    note = tmp_path / "org--name.fetch.holder"

    def read() -> None:
        while not done.is_set():
            if note.exists():
                seen.append(note.read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    counts = hammered("note", tmp_path)
    done.set()
    reader.join()
    pids = {json.loads(text)["pid"] for text in seen}
    assert 1 < len(pids) <= len(counts)
    assert [path.name for path in tmp_path.iterdir()] == [note.name]


@pytest.fixture(scope="module")
def no_flock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file system without locks, as `flock` tells of it."""
    folder = tmp_path_factory.mktemp("no-flock")
    source, library = folder / "no_flock.c", folder / "no_flock.so"
    source.write_text(NO_FLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


def test_without_locks_no_line_is_lost_either(tmp_path: Path, no_flock: str) -> None:
    counts = hammered("ledger", tmp_path, LD_PRELOAD=no_flock)
    path = tmp_path / "model-prep" / "placed.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    assert len(lines) == sum(counts.values())


@pytest.mark.parametrize(
    ("there", "then"),
    [
        (b"", b"one\ntwo\n"),
        (b"old\n", b"old\none\ntwo\n"),
        (b"torn", b"torn\none\ntwo\n"),
        (b"\xff", b"\xff\none\ntwo\n"),
        (b"\n", b"\none\ntwo\n"),
    ],
    ids=["empty", "whole", "torn", "no text", "an empty line"],
)
def test_a_line_never_runs_into_what_was_there(tmp_path: Path, there: bytes, then: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(there)
    append_lines(path, ["one", "two"])
    assert path.read_bytes() == then
    append_lines(path, [])
    assert path.read_bytes() == then


NO_ROOM = """
import resource, sys
from pathlib import Path
from prep.files import append
from prep.files.append import append_lines
append_lines(Path(sys.argv[1]), ["one"])
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # the kernel writes a part first, as on a disk
try:
    append_lines(Path(sys.argv[1]), ["x" * 20])
except OSError as error:
    print(error.strerror, error.filename == sys.argv[1])
"""


def test_a_line_that_does_not_fit_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "File too large True\n"
    assert path.read_bytes() == b"one\n"


def test_a_lock_that_is_kept_is_waited_for_and_then_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "LOCK_SECONDS", 0.05)
    path = tmp_path / "lines"
    path.write_bytes(b"one\n")
    with path.open("rb") as theirs:  # who may read it may lock it
        fcntl.flock(theirs, fcntl.LOCK_EX)
        append_lines(path, ["two"])
    assert path.read_bytes() == b"one\n\ntwo\n"


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_regular_file_is_not_appended_to(tmp_path: Path, what: str) -> None:
    path = tmp_path / "lines"
    path.mkdir() if what == "folder" else os.mkfifo(path)
    with pytest.raises(PathOccupied) as caught:
        append_lines(path, ["one"])
    assert str(caught.value) == (
        f"path occupied: {path} is no regular file, and lines must be appended to it. Nothing was "
        "removed: move it away, and run again."
    )
