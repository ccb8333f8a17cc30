"""One at a time: a file lock around each stage of each repository, with a wait that is seen."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from prep.errors import Waiting
from prep.layout import make_folder

SAY_SECONDS = 10
GIVE_UP_SECONDS = 3600


@contextlib.contextmanager
def held(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock `path`; while another process has it, say so now and then.

    The kernel frees it when its holder dies. Raises `Waiting` after `GIVE_UP_SECONDS`.
    """
    make_folder(path.parent)
    lock = FileLock(path, mode=0o666)
    began = said = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            now = time.monotonic()
            if said == began or now - said > SAY_SECONDS:
                said = now
                say(f"waiting for another process that works on it ({path.name})")
            if now - began > GIVE_UP_SECONDS:
                raise Waiting(
                    f"{path.name}: another process has held this for {now - began:.0f} s. See what "
                    f"it does, or end it, and run again; the lock file is {path}."
                ) from None
    try:
        yield
    finally:
        lock.release()
