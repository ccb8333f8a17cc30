"""One process at a time: a waiting process names the holder, and no dead process blocks another."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prep.errors import LockTimeout
from prep.home import file_lock
from prep.home.file_lock import describe_holder, lock_stage
from sample_hub.server import Hub
from tests.support.paths import ROOT
from tests.support.runs import environment, sample

HOLD = """
import sys, time
from pathlib import Path
from prep.home import file_lock
from prep.home.file_lock import lock_stage
with lock_stage(Path(sys.argv[1]), print) as note:
    note.record_bytes(2_500_000)
    note._write()
    print("held", note.locked, flush=True)
    time.sleep(float(sys.argv[2]))
"""
NO_FLOCK = """
#include <errno.h>
int flock(int handle, int what) { errno = ENOLCK; return -1; }
"""


@contextmanager
def holder(path: Path, seconds: float, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT), **env),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("held")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_waiting_process_names_the_holder_and_continues_after_it(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        holder(tmp_path / "org--name.fetch", 2) as other,
        lock_stage(tmp_path / "org--name.fetch", said.append),
    ):
        assert other.poll() is not None or other.wait(5) == 0
    assert re.fullmatch(
        rf"waiting for another process: process {other.pid} on \S+, since "
        r"20\d\d-\S+, 2\.5 MB so far",
        said[0],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["org--name.fetch"], "the note is gone"


def test_a_stopped_holder_is_named_and_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lock, "STALE_SECONDS", 1.5)
    with holder(tmp_path / "org--name.fetch", 60) as other:
        other.send_signal(signal.SIGSTOP)
        with (
            pytest.raises(LockTimeout) as caught,
            lock_stage(tmp_path / "org--name.fetch", lambda text: None),
        ):
            pass
    assert re.fullmatch(
        rf"timed out waiting for a lock: org--name\.fetch is held by another process: process "
        rf"{other.pid} on \S+, since \S+, 2\.5 MB so far\. It has not renewed its note for \d s, "
        rf"and we waited \d s\. See what it does, or end it, and run again; the lock file is "
        rf"{tmp_path}/org--name\.fetch\.",
        str(caught.value),
    )


def test_a_holder_that_renews_its_note_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is on silence, not on work."""
    monkeypatch.setattr(file_lock, "STALE_SECONDS", 2.5)
    note = tmp_path / "lock.holder"
    looks = 0

    def renew(text: str) -> None:
        nonlocal looks
        looks += 1
        note.write_text(f"{looks}")

    monkeypatch.setattr(file_lock, "REPORT_SECONDS", 0.5)
    with holder(tmp_path / "lock", 5), lock_stage(tmp_path / "lock", renew):
        assert looks >= 3


def test_lock_and_note_of_a_dead_process_block_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "lock", 60) as other:
        other.kill()
        other.wait()
    assert (tmp_path / "lock.holder").is_file()
    said: list[str] = []
    with lock_stage(tmp_path / "lock", said.append) as note:
        assert note.locked
    assert said == []


def test_work_goes_on_where_the_note_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "lock.holder").mkdir()
    with lock_stage(tmp_path / "lock", print) as note:
        assert note.locked


def test_an_invalid_note_names_no_process() -> None:
    unknown = "another process that left no note"
    assert [describe_holder(text) for text in ("", "{}", "[1]", '{"pid": 1}')] == [unknown] * 4


@pytest.fixture(scope="module")
def no_flock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that takes locks away, as some network file systems do."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("no-flock")
    (folder / "no_flock.c").write_text(NO_FLOCK)
    library = folder / "no_flock.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "no_flock.c")]
    subprocess.run(command, check=True)
    return str(library)


def test_without_locks_nobody_waits(tmp_path: Path, no_flock: str) -> None:
    with (
        holder(tmp_path / "lock", 30, LD_PRELOAD=no_flock),
        holder(tmp_path / "lock", 30, LD_PRELOAD=no_flock),
    ):
        pass


def test_home_without_locks_is_prepared_all_the_same(
    tmp_path: Path, no_flock: str, hub: Hub
) -> None:
    home = tmp_path / "home"
    chosen = ("-m", "pins")
    done = sample(home, *chosen, hub=hub.url, env={"LD_PRELOAD": no_flock})
    assert done.code == 0, done.out
    assert not list((home / "model-prep" / "partial").iterdir())
    assert os.access(home / "model-prep" / "summary.json", os.R_OK)
