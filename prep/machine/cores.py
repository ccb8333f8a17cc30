"""How many cores a process may use: its affinity, or less where a control group says so."""

import os
from collections.abc import Iterator
from pathlib import Path

from prep.machine.memory import CGROUPS, PROC


def cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Whole cores, at least one: what a quota gives beyond them comes too rarely to be counted."""
    quota = min(_quotas(proc, cgroups), default=float("inf"))
    return max(1, int(min(len(os.sched_getaffinity(0)), quota)))


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """The cores that each control group above us gives; in version 1 they have a tree of theirs."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            trees = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            trees = [cgroups / "cpu", cgroups / controllers]
        else:
            continue
        for tree in trees:
            group = tree / path.strip("/")
            while group.is_relative_to(tree):
                yield from _quota(group)
                group = group.parent


def _quota(group: Path) -> Iterator[float]:
    words = _text(group / "cpu.max").split() or [
        *_text(group / "cpu.cfs_quota_us").split(),
        *_text(group / "cpu.cfs_period_us").split(),
    ]
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])  # "max", or -1, is no limit


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
