"""How many cores a process may use: its affinity, or less where a control group says so."""

import os
from collections.abc import Iterator
from pathlib import Path

from prep.machine.control_groups import CGROUPS, PROC, groups_above, kernel_text


def cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Whole cores, at least one: what a quota gives beyond them comes too rarely to be counted."""
    groups = groups_above("cpu", proc, cgroups)
    quotas = (quota for group, _ in groups for quota in _quota(group))
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def _quota(group: Path) -> Iterator[float]:
    words = kernel_text(group / "cpu.max").split() or [
        *kernel_text(group / "cpu.cfs_quota_us").split(),
        *kernel_text(group / "cpu.cfs_period_us").split(),
    ]
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])  # "max", or -1, is no limit
