"""The memory that a process may have: the machine's, or less in a control group."""

from pathlib import Path

from prep.machine.memory import Memory, memory
from tests.support.small_homes import write_bytes


def machine(root: Path, **files: str) -> Memory:
    """The memory of a machine whose /proc and /sys/fs/cgroup hold these files."""
    write_bytes(
        root / "proc/meminfo", b"MemTotal: 8000 kB\nMemAvailable: 6000 kB\nSwapFree: 0 kB\n"
    )
    for path, text in files.items():
        write_bytes(root / path, text.encode())
    return memory(root / "proc", root / "cgroup")


def test_memory_without_a_control_group_is_the_machines(tmp_path: Path) -> None:
    assert machine(tmp_path, **{"proc/vmstat": "oom_kill 2\n"}) == Memory(
        free=6000 << 10, limit=8000 << 10, bound="this machine", kills=2
    )


def test_memory_is_limited_by_the_smallest_group_above(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/jobs/one\n",
            "cgroup/jobs/one/memory.max": "max\n",
            "cgroup/jobs/memory.max": "5000000\n",
            "cgroup/jobs/memory.current": "4000000\n",
            "cgroup/jobs/memory.stat": "anon 1\ninactive_file 500000\n",
            "cgroup/jobs/memory.peak": "4500000\n",
            "cgroup/jobs/memory.events": "oom 3\noom_kill 1\n",
        },
    )
    bound = f"the control group {tmp_path}/cgroup/jobs"
    assert found == Memory(free=1500000, limit=5000000, bound=bound, peak=4500000, kills=1)


def test_memory_of_version_1_in_a_container_is_that_of_its_root(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        **{
            "proc/self/cgroup": "4:cpu,memory:/docker/abc\n1:cpu:/x\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": "3000000\n",
            "cgroup/memory/memory.usage_in_bytes": "2000000\n",
            "cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000\n",
            "cgroup/memory/memory.max_usage_in_bytes": "2900000\n",
            "cgroup/memory/memory.oom_control": "oom_kill_disable 0\noom_kill 4\n",
        },
    )
    bound = f"the control group {tmp_path}/cgroup/memory"
    assert found == Memory(free=1100000, limit=3000000, bound=bound, peak=2900000, kills=4)
    no_limit = {"cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine(tmp_path, **no_limit).bound == "this machine"
