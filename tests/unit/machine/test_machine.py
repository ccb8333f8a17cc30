"""What a report says of the machine, and that it is the same every time."""

import os
import platform

from prep.machine.machine import this_machine


def test_the_machine_is_named() -> None:
    here = this_machine()
    assert here == this_machine()
    assert here.processor
    assert here.cores == len(os.sched_getaffinity(0))
    assert (here.kernel, here.python) == (platform.release(), platform.python_version())
