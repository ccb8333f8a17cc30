"""A control group that is too small: the kernel's kill is reported with the limit, as transient."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample_hub.server import Hub
from tests.support.runs import SAMPLE, TINY, command, environment, sample

GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group for memory (version 1) of our own; needs root."""
    folder = GROUPS / f"model-prep-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("needs root and control groups for memory")
    yield folder
    folder.rmdir()


def test_converter_that_the_kernel_kills_is_told_with_its_limit(
    tmp_path: Path, hub: Hub, group: Path
) -> None:
    home, limit = tmp_path / "home", 3 << 30
    chosen = ("-m", "pins or conversion", "--models", TINY)
    args = ("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home, *chosen)
    (group / "memory.limit_in_bytes").write_text(str(limit))
    script = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
    with subprocess.Popen(
        ["sh", "-c", script, str(group), *command(*args)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        out = ""
        for line in run.stdout:
            out += line
            if "importing the libraries" in line:  # from now on there is less than that takes
                usage = int((group / "memory.usage_in_bytes").read_text())
                (group / "memory.limit_in_bytes").write_text(str(max(usage, 120 << 20)))
    assert run.returncode == 75, out
    said = " ".join(out.split())
    assert ": out of memory: the control" in said
    assert re.search(rf"group {group} allows \d+ bytes; at most \d+ were used", said), said
    after = sample(home, "-m", "pins or conversion", hub=hub.url)
    assert after.code == 0, after.out
