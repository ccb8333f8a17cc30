"""However a run ends, its exit code says it, its children are gone, and the home is resumable."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sample_hub.server import Hub, sample_repos
from tests.runs import SAMPLE, sample, started, status


def wait_for(log: Path, words: str, within: float = 60) -> None:
    """Wait until the run has printed the words."""
    ends = time.monotonic() + within
    while words not in log.read_text():
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.05)


def wait_for_part(home: Path, run: subprocess.Popen[bytes], within: float = 60) -> None:
    """Wait until there is something to go on from: on a busy machine, clocks say nothing."""
    ends = time.monotonic() + within
    partial = home / "model-prep" / "partial"
    while not any(path.stat().st_size > 20_000 for path in partial.glob("*")):
        assert run.poll() is None and time.monotonic() < ends
        time.sleep(0.05)


def group(pid: int) -> list[int]:
    """All living descendants of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *group(child)]
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 2)], ids=["TERM", "INT"]
)
def test_signal_ends_the_run_and_its_children_and_the_next_run_goes_on(
    tmp_path: Path, workers: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    home, junit = tmp_path / "home", tmp_path / "junit.xml"
    with Hub(sample_repos(), rate=50_000) as hub:
        args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home)
        log = tmp_path / "log"
        with started(*args, f"--junitxml={junit}", *workers, log=log) as run:
            wait_for_part(home, run)
            children = group(run.pid)
            assert children
            began = time.monotonic()
            run.send_signal(number)
            while left := [pid for pid in children if is_alive(pid)]:
                assert time.monotonic() - began < 2, left
                time.sleep(0.01)
            gone = time.monotonic() - began
            assert run.wait(timeout=30) == code, log.read_text()
            over = time.monotonic() - began
            sys.stdout.write(f"children gone after {gone:.2f} s, all over after {over:.2f} s\n")
            assert over < 10
        assert junit.is_file() and "tests=" in junit.read_text(), log.read_text()
    with Hub(sample_repos()) as hub:
        after = sample(home, "-m", "pins and not conversion", hub=hub.url)
        assert after.code == 0, after.out
        fetched = sum(request.sent for request in hub.bodies("model.safetensors"))
        assert fetched < 389832, "what came before is gone on from"


def test_killed_run_leaves_a_home_that_the_next_completes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Hub(sample_repos(), rate=100_000) as hub:
        args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home)
        with started(*args, log=tmp_path / "log") as run:
            wait_for_part(home, run)
            children = group(run.pid)
            run.kill()
            run.wait()
            time.sleep(0.5)
            assert [pid for pid in children if is_alive(pid)] == []
    assert not list(home.rglob("refs/main")), "nothing is called whole that is not"
    with Hub(sample_repos()) as hub:
        after = sample(home, hub=hub.url)
        assert after.code == 0, after.out
        assert sum(one.sent for one in hub.bodies("model.safetensors")) < 389832
    assert status(home) == "ready"
    assert not list((home / "model-prep" / "partial").iterdir())
