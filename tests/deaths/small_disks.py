"""A home on a file system that fills up in each stage, and is enlarged: nothing starts over."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.receipt import NAME
from sample_hub.server import Hub, sample_repos
from tests.runs import SAMPLE, TINY, sample, started

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
    assert re.search(rf"The disk is full: {disk} has \d+ bytes free \(", said), said
    assert "Finished files are kept; make room there and run again." in said
    enlarge(disk)
    with Hub(sample_repos()) as hub:
        done = sample(home, "-m", "pins or conversion", hub=hub.url)
        sent = sum(one.sent for one in hub.bodies("model.safetensors"))
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
    assert re.search(rf"The disk is full: {disk} has \d+ bytes free \(", said), said
    assert not list(home.glob(f"openvino/*/[0-9a-f]*/{NAME}")), "nothing is called whole"
    enlarge(disk)
    with Hub(sample_repos()) as hub:
        done = sample(home, "-m", "pins or conversion", hub=hub.url)
        assert done.code == 0, done.out
        assert hub.bodies("model.safetensors") == []
