"""What counts as progress, and what does not count at all."""

import time

import pytest

from prep.errors import TimedOut
from prep.fetch.timer import ProgressTimer
from prep.process.child import MINIMUM_RATE


def timer(timeout: float) -> ProgressTimer:
    return ProgressTimer(timeout, None, lambda event: None)


def test_time_of_our_own_disk_does_not_count() -> None:
    ours = timer(0.8)
    with ours.paused():
        time.sleep(1)
    ours.check("x")
    assert ours.remaining() > 0
    time.sleep(1)
    with ours.paused():
        pass
    with pytest.raises(TimedOut, match=r"^timed out: x: no progress for 0\.8 s"):
        ours.check("x")


def test_too_few_bytes_are_no_progress_and_steps_are() -> None:
    ours = timer(1)
    for _ in range(6):
        time.sleep(0.2)
        ours.received(MINIMUM_RATE // 20)
    with pytest.raises(TimedOut):
        ours.check("x")
    ours.step()
    ours.check("x")
    time.sleep(0.8)
    ours.received(MINIMUM_RATE * 2)
    assert ours.remaining() > 0.7
