"""A process that the kernel kills, and a disk that is full by another name, are told as such."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prep.errors import DiskFull, HomeNotWritable
from prep.machine.disk import disk_of, hidden_full, storage_error
from prep.machine.memory import Memory
from prep.process.child import PARENT, Child, killed
from sample_hub.server import Hub, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, started
from tests.system.test_signals import wait_for

GROUP = Memory(free=0, limit=500, bound="the control group /job", peak=499, kills=1)


def test_kill_for_memory_names_limit_and_peak() -> None:
    assert killed(GROUP, 0) == (
        "the kernel killed the process (SIGKILL), because memory ran out: the control group /job "
        "allows 500 bytes; at most 499 were used, and 0 are free. What is finished is kept. Raise "
        "that limit, or prepare fewer models at once, and run again."
    )


def test_kill_of_unknown_cause_is_told_as_likely() -> None:
    assert killed(GROUP, 1).startswith(
        "the process was killed (SIGKILL), most often because memory ran out: the control group"
    )


def test_child_whose_parent_died_while_it_imported_does_nothing(tmp_path: Path) -> None:
    """The kernel tells of a parent's death only those who asked before; here it is long gone."""
    made = tmp_path / "made"
    script = f"from prep.process.child import die_with_parent as d; d(); open({str(made)!r}, 'w')"
    env = {**os.environ, PARENT: "1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not made.exists()


def test_child_knows_who_started_it(tmp_path: Path) -> None:
    script = (
        "from prep.process.child import die_with_parent\n"
        """die_with_parent(); print('{"order": 0, "result": 1}')"""
    )
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    child = Child([sys.executable, "-c", script], env, tmp_path / "log")
    with child.exchange("starting") as answer:
        assert answer(60) == {"order": 0, "result": 1}
    child.stop()


def test_full_disk_names_place_and_what_is_free(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "not" / "there"))
    known = storage_error(error)
    assert isinstance(known, DiskFull)
    place = disk_of(tmp_path).place
    assert str(known).startswith(f"The disk is full: {place} has ")
    assert str(known).endswith(
        "bytes free (No space left on device). Finished files are kept; make room there and run "
        "again."
    )
    assert isinstance(storage_error(OSError(errno.EROFS, "Read-only file system")), HomeNotWritable)
    assert storage_error(OSError(errno.EIO, "Input/output error")) is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Check 'ostream' failed: basic_ios::clear: iostream error"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["quota", "openvino", "safetensors"],
)
def test_full_disk_is_recognised_behind_a_librarys_error(tmp_path: Path, error: Exception) -> None:
    assert isinstance(hidden_full(error, tmp_path), DiskFull)
    assert hidden_full(ValueError("another"), tmp_path) is None


def test_worker_that_is_killed_is_its_models_failure_that_can_pass(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Hub(sample_repos(), rate=50_000) as hub:
        args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", tmp_path / "home")
        with started(*args, "-n", "2", "-m", "pins and not conversion", log=log) as run:
            wait_for(log, "fetching ", within=200)
            time.sleep(0.5)
            [worker, *_] = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            os.kill(int(worker), signal.SIGKILL)
            assert run.wait(timeout=400) == 75, log.read_text()
    said = " ".join(log.read_text().split())
    assert ": the worker gw" in said
    assert "was killed (SIGKILL), most often because memory ran out: this machine allows" in said
