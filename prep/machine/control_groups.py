"""The control groups above this process, whose smallest limit counts; and what the kernel writes.

Version 2 of the kernel's interface is one tree, version 1 has a tree for each controller.
"""

from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def groups_above(controller: str, proc: Path, cgroups: Path) -> Iterator[tuple[Path, int]]:
    """Each group with the version of its interface, up to the root: a container sees no more."""
    for line in kernel_text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version, trees = 2, [cgroups, cgroups / "unified"]
        elif controller in controllers.split(","):
            version, trees = 1, list({cgroups / controller, cgroups / controllers})
        else:
            continue
        for tree in trees:
            group = tree / path.strip("/")
            while group.is_relative_to(tree):
                yield group, version
                group = group.parent


def kernel_text(path: Path) -> str:
    """A file of the kernel's; empty where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
