"""A home on a file system that fills up in each stage, and is enlarged: nothing starts over.

And what is written last, on disks with room for some of it: nothing is truncated, nothing is
ready that was not proven.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.home.receipt import NAME
from sample_hub.server import Hub, sample_repos
from tests.proofs.signals.moments import unreadable
from tests.support.runs import SAMPLE, TINY, copy_home, sample, started
from tests.system.test_full_disk import in_full, leftovers
from tests.system.test_full_disk import (
    test_report_that_finds_no_room_is_told_and_not_torn as told_and_not_torn,
)
from tests.unit.deploy.test_ready import gate

FILL = "filler"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 20 MB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all that is left, as somebody else's files would."""
    with (folder / FILL).open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def enlarge(folder: Path) -> None:
    """Make the file system larger; whatever filled it stays."""
    subprocess.run(["mount", "-o", "remount,size=80m", str(folder)], check=True)


def is_partly_there(home: Path) -> bool:
    """Whether there is something to go on from."""
    return any(path.stat().st_size > 20_000 for path in home.glob("model-prep/partial/*"))


@pytest.mark.parametrize(
    ("words", "stage"),
    [("fetching 10 files", "fetch"), ("converting to int8", "convert")],
    ids=["fetch", "convert"],
)
def test_full_disk_is_told_and_the_next_run_goes_on(
    tmp_path: Path, disk: Path, words: str, stage: str
) -> None:
    home, log = disk / "home", tmp_path / "log"
    chosen = ("-m", "pins or conversion", "--models", TINY)
    with Hub(sample_repos(), rate=100_000 if stage == "fetch" else None) as hub:
        args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home, *chosen)
        with started(*args, log=log) as run:
            while words not in log.read_text():
                assert run.poll() is None, log.read_text()
                time.sleep(0.02)
            while stage == "fetch" and not is_partly_there(home):
                assert run.poll() is None, log.read_text()
                time.sleep(0.02)
            fill(disk)
            assert run.wait(timeout=300) == 75, log.read_text()
    said = " ".join(log.read_text().split())
    assert re.search(rf"no space left: {disk} has \d+ bytes free", said), said
    assert "Finished files are kept; free space there and run again." in said
    enlarge(disk)
    with Hub(sample_repos()) as hub:
        done = sample(home, "-m", "pins or conversion", hub=hub.url)
        sent = sum(body.sent for body in hub.bodies("model.safetensors"))
    assert done.code == 0, done.out
    assert sent < 389832, "what came is gone on from"
    assert len(list(home.glob(f"openvino/*/[0-9a-f]*/{NAME}"))) == 1


def test_disk_that_fills_while_publishing(tmp_path: Path, disk: Path) -> None:
    """Full from the moment when the converted files are there, and their receipt is not."""
    home, log = disk / "home", tmp_path / "log"
    with Hub(sample_repos()) as hub:
        chosen = ("-m", "pins or conversion", "--models", TINY)
        args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home, *chosen)
        with started(*args, log=log) as run:
            while not list(home.glob("openvino/*/.int8.*/tokenizer.json")):
                assert run.poll() is None, log.read_text()
                time.sleep(0.01)
            time.sleep(0.2)
            fill(disk)
            assert run.wait(timeout=300) == 75, log.read_text()
    said = " ".join(log.read_text().split())
    assert re.search(rf"no space left: {disk} has \d+ bytes free", said), said
    assert not list(home.glob(f"openvino/*/[0-9a-f]*/{NAME}")), "nothing is called whole"
    enlarge(disk)
    with Hub(sample_repos()) as hub:
        done = sample(home, "-m", "pins or conversion", hub=hub.url)
        assert done.code == 0, done.out
        assert hub.bodies("model.safetensors") == []


@pytest.mark.parametrize("pages", range(0, 40, 2))
def test_whatever_finds_room_is_whole_and_the_rest_is_as_it_was(
    tmp_path: Path, prepared: Path, pages: int
) -> None:
    """All that is written last lies in one folder, which has so many times 4 kB left."""
    home, kept = copy_home(prepared, tmp_path / "home"), tmp_path / "kept"
    state = home / "model-prep"
    names = ("summary.json", "history.jsonl", "ready.json", "consumer.env", "report.html")
    before = {name: (state / name).read_bytes() for name in names}
    junit = state / "junit.xml"
    done = in_full(state, kept, home, "-m", "pins", f"--junitxml={junit}", pages=pages)
    shutil.rmtree(state)
    kept.rename(state)
    after = {name: (state / name).read_bytes() for name in names}
    complete = junit.exists() and all(before[name] != after[name] for name in names[:2])
    assert done.code == (75 if "could not be written" in done.out else 0), done.out
    assert done.code == 75 or complete, done.out
    assert unreadable(home, junit) == []
    assert after["report.html"].rstrip().endswith(b"</html>")
    assert leftovers(state) == []
    assert gate(home, TINY)[0] == 0  # what was proven before still is


@pytest.mark.parametrize("option", ["--summary", "--report"])
def test_summary_or_page_that_finds_no_room(tmp_path: Path, prepared: Path, option: str) -> None:
    told_and_not_torn(tmp_path, prepared, option, "summary and report")


def test_whole_run_that_can_note_nothing_leaves_no_proof(tmp_path: Path, prepared: Path) -> None:
    home, kept = copy_home(prepared, tmp_path / "home"), tmp_path / "kept"
    state = home / "model-prep"
    for name in ("summary.json", "history.jsonl", "ready.json", "consumer.env", "report.html"):
        (state / name).unlink()
    done = in_full(state, kept, home)
    assert done.code == 75, done.out
    assert "could not be written: no space left" in done.out
    shutil.rmtree(state)
    kept.rename(state)
    assert not (state / "ready.json").exists() and not (state / "consumer.env").exists()
    assert gate(home, TINY)[0] == 1
    after = sample(home)
    assert after.code == 0, after.out
    assert gate(home, TINY)[0] == 0
