"""However a run ends, its exit code says it, its children are gone, and the home is resumable."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.lock import read_lock
from sample_hub.server import Hub, sample_repos
from tests.proofs.signals.moments import BOUND, WORKERS, problems_of, run_until, take
from tests.support.runs import (
    FILES_ONLY,
    SAMPLE,
    TINY,
    Run,
    descendants,
    environment,
    other_suite,
    process,
    sample,
    sample_args,
    start,
    started,
    status,
    wait_until,
)

SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 2)], ids=["TERM", "INT"]
)


def is_partly_there(home: Path) -> bool:
    """Whether there is something to go on from: on a busy machine, clocks say nothing."""
    locked = read_lock(SAMPLE.with_name("models.lock.toml")).get(TINY)
    assert locked is not None
    weights = locked.file("model.safetensors")
    assert weights is not None
    partial = home / "model-prep" / "partial" / weights.sha256
    return partial.is_file() and partial.stat().st_size > 20_000


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
@SIGNALS
def test_signal_ends_the_run_and_its_children_and_the_next_run_goes_on(
    tmp_path: Path, workers: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    home, junit = tmp_path / "home", tmp_path / "junit.xml"
    with Hub(sample_repos(), rate=50_000) as hub:
        args = sample_args(home, f"--junitxml={junit}", *workers, hub=hub.url, models=None)
        log = tmp_path / "log"
        with started(*args, log=log) as run:
            wait_until(lambda: is_partly_there(home), log, run, within=60)
            children = descendants(run.pid)
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
        after = sample(home, *FILES_ONLY, hub=hub.url)
        assert after.code == 0, after.out
        fetched = sum(request.sent for request in hub.bodies("model.safetensors"))
        assert fetched < 389832, "what came before is gone on from"


def test_killed_run_leaves_a_home_that_the_next_completes(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    with Hub(sample_repos(), rate=100_000) as hub:
        args = sample_args(home, hub=hub.url, models=None)
        with started(*args, log=log) as run:
            wait_until(lambda: is_partly_there(home), log, run, within=60)
            children = descendants(run.pid)
            run.kill()
            run.wait()
            time.sleep(0.5)
            assert [pid for pid in children if is_alive(pid)] == []
    assert not list(home.rglob("refs/main")), "nothing is called whole that is not"
    with Hub(sample_repos()) as hub:
        after = sample(home, hub=hub.url)
        assert after.code == 0, after.out
        assert sum(body.sent for body in hub.bodies("model.safetensors")) < 389832
    assert status(home) == "ready"
    assert not list((home / "model-prep" / "partial").iterdir())


# Notes when the first signal came, by the machine's clock.
SEND = """
def send(number):
    if not os.path.exists("sent"):
        with open("sent", "w") as file:
            file.write(str(time.monotonic()))
    os.kill(os.getpid(), number)

"""


def suite_without_a_model(folder: Path, tests: str, conftest: str = "") -> list[str]:
    """The command of pytest in another repository, whose tests need no model."""
    # Without hypothesis, whose plugin imports all of its library while a run ends.
    without = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:pytest_cov")
    catalogue = ("--offline", "--catalogue", str(SAMPLE), "--models", TINY)
    command = other_suite(folder, tests, conftest, "import os, signal, threading, time\n" + SEND)
    return [*command, *without, *catalogue, "--model-home", str(folder / "home")]


def run_of(folder: Path, tests: str, conftest: str = "", *args: str) -> Run:
    """A run of such tests to its end; its seconds are those from the first signal on."""
    done = process(*suite_without_a_model(folder, tests, conftest), *args, cwd=folder, timeout=120)
    seconds = time.monotonic() - float((folder / "sent").read_text())
    return replace(done, seconds=seconds)


@SIGNALS
def test_signal_while_reports_are_written_leaves_them_whole(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    again = f"def pytest_sessionfinish():\n    send({number:d})\n"
    junit = f"--junitxml={tmp_path / 'junit.xml'}"
    done = run_of(tmp_path, "def test_mine():\n    pass\n", again, junit)
    assert done.code == 0, done.out
    assert 'tests="1"' in (tmp_path / "junit.xml").read_text()

    (tmp_path / "junit.xml").unlink()
    (tmp_path / "sent").unlink()
    first = f"def test_mine():\n    send({number:d})\n    time.sleep(30)\n"
    done = run_of(tmp_path, first, again, junit)
    assert done.code == code, done.out
    assert 'tests="0"' in (tmp_path / "junit.xml").read_text()


@SIGNALS
def test_exception_that_python_ignores_is_raised_again(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    tests = f"""
class Lost:
    def __del__(self):
        send({number:d})

def test_mine():
    Lost()
    time.sleep(30)
"""
    done = run_of(tmp_path, tests)
    assert "Exception ignored in" in done.out
    assert done.code == code, done.out
    assert done.seconds < BOUND


def test_run_that_hangs_after_a_signal_ends_by_force_and_tells_where(tmp_path: Path) -> None:
    hangs = """
def pytest_sessionfinish():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()  # the line it stands at
"""
    tests = f"def test_mine():\n    send({signal.SIGTERM:d})\n"
    done = run_of(tmp_path, tests, hangs)
    assert done.code == 143, done.out
    assert done.seconds < BOUND
    assert (
        "SIGTERM: the run did not end within 8 s and was ended by force; what is finished is "
        "kept, reports may be missing. Please report where it stood:\n"
    ) in done.out
    conftest = (tmp_path / "conftest.py").read_text().splitlines()
    line = next(n for n, text in enumerate(conftest, 1) if "the line it stands at" in text)
    assert f'/conftest.py", line {line} in pytest_sessionfinish' in done.out


def test_worker_leaves_sigterm_to_its_controller(tmp_path: Path) -> None:
    tests = f"""
def test_mine():
    assert "PYTEST_XDIST_WORKER" in os.environ
    send({signal.SIGTERM:d})
    time.sleep(0.1)
"""
    done = run_of(tmp_path, tests, "", "-n", "1")
    assert done.code == 0, done.out


def test_ctrl_c_at_a_debuggers_prompt_is_for_the_debugger(tmp_path: Path) -> None:
    tests = "def test_mine():\n    breakpoint()\n    time.sleep(0)\n"
    command = suite_without_a_model(tmp_path, tests)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=out, **pipes) as run,
    ):
        assert run.stdin is not None
        try:
            wait_until(lambda: "(Pdb)" in log.read_text(), log, within=60)
            run.send_signal(signal.SIGINT)
            wait_until(lambda: "--KeyboardInterrupt--" in log.read_text(), log, within=60)
            time.sleep(3)  # longer than a lost exception is left alone
            run.stdin.write(b"c\n")
            run.stdin.close()
            assert run.wait(timeout=30) == 0, log.read_text()
        finally:
            run.kill()


@pytest.mark.parametrize(
    ("words", "args", "number", "group"),
    [
        ("importing the libraries", WORKERS, signal.SIGTERM, True),
        ("converting to int8", (), signal.SIGINT, False),
        ("test_consumer_loads", WORKERS, signal.SIGINT, True),
        ("test_consumer_loads", (), signal.SIGTERM, False),
    ],
    ids=["import", "convert", "load-two-workers", "load"],
)
def test_nothing_is_left_of_a_run_and_nothing_is_damaged(
    tmp_path: Path,
    interrupted: Path,
    words: str,
    args: tuple[str, ...],
    number: signal.Signals,
    group: bool,
) -> None:
    """The signal comes twice; each of these runs goes on in the home that the last one left."""
    if words == "converting to int8":
        take(interrupted, "conversion")
    chosen = ("--hub", "sample", "--models", TINY, f"--model-home={interrupted}")
    junit = f"--junitxml={tmp_path / 'junit.xml'}"
    ended = run_until(
        (*chosen, junit, *args),
        tmp_path,
        lambda said, gone: words in said,
        number,
        group=group,
        again=0.2,
    )
    assert ended.sent and ended.handled
    assert problems_of(ended, number, interrupted, tmp_path, lacked=False) == [], ended.out


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that is handed from one to the next."""
    return tmp_path_factory.mktemp("interrupted") / "home"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 2), (signal.SIGTERM, 143)])
def test_signals_that_keep_coming_leave_the_exit_code(
    tmp_path: Path, interrupted: Path, number: signal.Signals, code: int
) -> None:
    """Until the process is gone: Python's last steps have no handler any more."""
    chosen = ("--hub", "sample", "--models", TINY, f"--model-home={interrupted}", *WORKERS)
    log = tmp_path / "log"
    begun = start("-v", *chosen, log=log, session=True)
    try:
        wait_until(lambda: "test_name_leads" in log.read_text(), log, begun, within=60)
        while begun.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(begun.pid, number)
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(begun.pid, signal.SIGKILL)
    assert begun.wait() == code, log.read_text()
