"""Which machine this is, as far as answers and times may depend on it."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prep.files.typed import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Compared by word: another processor, kernel or number of cores is another machine."""

    processor: Annotated[str, "model of the CPU"]
    cores: Annotated[Count, "usable by this process"]
    kernel: str
    python: str


def this_machine() -> Machine:
    """The machine that runs this process."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return Machine(
        processor=found[1].strip() if found else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
    )
