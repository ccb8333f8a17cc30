"""The cores that a process may use: those of its affinity, or fewer by a control group's quota."""

import os
from pathlib import Path

import pytest

from prep.machine.cores import cores
from tests.support.small_homes import write_bytes

V2, V1 = "0::/jobs/one\n", "4:cpu,cpuacct:/jobs/one\n0::/x\n"


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight cores, all of them ours."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def machine(root: Path, **files: str) -> int:
    """The cores of a machine whose /proc and /sys/fs/cgroup hold these files."""
    for path, text in files.items():
        write_bytes(root / path, text.encode())
    return cores(root / "proc", root / "cgroup")


def test_without_a_control_group_they_are_those_of_the_affinity(tmp_path: Path) -> None:
    assert machine(tmp_path) == 8


def test_affinity_counts_where_it_is_less_than_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    files = {"proc/self/cgroup": V2, "cgroup/cpu.max": "400000 100000\n"}
    assert machine(tmp_path, **files) == 1


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("150000 50000", 3),
        ("1600000 100000", 8),
        ("200000 0", 8),
        ("", 8),
        ("nonsense", 8),
    ],
)
def test_quota_of_version_2_gives_whole_cores_and_at_least_one(
    tmp_path: Path, quota: str, count: int
) -> None:
    files = {"proc/self/cgroup": V2, "cgroup/jobs/one/cpu.max": f"{quota}\n"}
    assert machine(tmp_path, **files) == count


def test_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": V2,
        "cgroup/jobs/one/cpu.max": "600000 100000\n",
        "cgroup/jobs/cpu.max": "300000 100000\n",
        "cgroup/cpu.max": "max 100000\n",
        "cgroup/other/cpu.max": "100000 100000\n",
    }
    assert machine(tmp_path, **files) == 3


@pytest.mark.parametrize("tree", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("200000", 2)])
def test_quota_of_version_1_is_in_a_tree_of_its_own(
    tmp_path: Path, tree: str, quota: str, count: int
) -> None:
    files = {
        "proc/self/cgroup": V1,
        f"cgroup/{tree}/jobs/one/cpu.cfs_quota_us": f"{quota}\n",
        f"cgroup/{tree}/jobs/one/cpu.cfs_period_us": "100000\n",
        "cgroup/memory/jobs/one/cpu.max": "100000 100000\n",
    }
    assert machine(tmp_path, **files) == count


def test_container_of_version_1_sees_its_group_as_the_trees_root(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:cpu:/docker/abc\n",
        "cgroup/cpu/cpu.cfs_quota_us": "300000\n",
        "cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert machine(tmp_path, **files) == 3
