"""How much memory a process may have: the machine's, or less where a control group says so.

Containers, services and CI jobs run in control groups; the smallest limit on the way up counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prep.machine.control_groups import CGROUPS, PROC, groups_above, kernel_text

UNLIMITED = 1 << 60  # version 1 writes "no limit" as a number near the largest


# The files of a control group that hold its limit, use, peak and kills.
VERSION_1 = (
    *("memory.limit_in_bytes", "memory.usage_in_bytes"),
    *("memory.max_usage_in_bytes", "memory.oom_control"),
)
VERSION_2 = ("memory.max", "memory.current", "memory.peak", "memory.events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes. `free` is what can still be allocated below `limit`; `bound` says whose limit that is.

    `peak` is the most that was used below that limit, None where the kernel does not say; `kills`
    counts the processes that it killed out of memory.
    """

    free: int
    limit: int
    bound: str
    peak: int | None = None
    kills: int = 0


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory:
    """The limit that leaves the least, of the machine and every control group above us."""
    return min(_limits(proc, cgroups), key=lambda limit: limit.free)


def _limits(proc: Path, cgroups: Path) -> Iterator[Memory]:
    kilobytes = _table(proc / "meminfo")
    yield Memory(
        free=(kilobytes["MemAvailable:"] + kilobytes.get("SwapFree:", 0)) << 10,
        limit=kilobytes["MemTotal:"] << 10,
        bound="this machine",
        kills=_table(proc / "vmstat").get("oom_kill", 0),
    )
    for group, version in groups_above("memory", proc, cgroups):
        if limit := _limit(group, VERSION_2 if version == 2 else VERSION_1):
            yield limit


def _limit(group: Path, files: tuple[str, ...]) -> Memory | None:
    limit, used, peak = (_number(group / name) for name in files[:3])
    if limit is None or limit >= UNLIMITED:
        return None
    stat = _table(group / "memory.stat")  # the kernel frees inactive pages of files on demand
    cached = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    return Memory(
        free=max(0, limit - max(0, (used or 0) - cached)),
        limit=limit,
        bound=f"the control group {group}",
        peak=peak,
        kills=_table(group / files[3]).get("oom_kill", 0),
    )


def _number(path: Path) -> int | None:
    """The one number of a file; None where there is no file, or it says "max"."""
    text = kernel_text(path).strip()
    return int(text) if text.isdecimal() else None


def _table(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    lines = (line.split() for line in kernel_text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
