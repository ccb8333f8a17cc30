"""The whole suite on machines that allow less: an ordinary user's, and in Docker's containers.

What cannot be tried there is reported, and the verdict rests on what can.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.restricted import (
    AS_USER,
    BECOME,
    EXEC,
    IN_DOCKER,
    IN_DOCKER_AS_USER,
    MOUNTS,
    OPENED,
    USER,
    open_folder,
)
from tests.support.runs import SAMPLE, TINY, command, environment, summary

NEEDS_ROOT = "needs root"
LOADS = 12
# As another user, on a read-only mount, five of them.
CASES = {
    AS_USER: ("network namespace", 5),
    IN_DOCKER: ("seccomp filter", 5),
    IN_DOCKER_AS_USER: ("seccomp filter", 5),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights away from itself")
@pytest.mark.parametrize("on", CASES)
def test_suite_is_green_and_says_what_was_not_tried(prepared: Path, on: str) -> None:
    tier, untried = CASES[on]
    with open_folder(on) as folder:
        home = folder / "models"
        shutil.copytree(prepared, home, symlinks=True)
        if on != IN_DOCKER:
            for path in (home, *home.rglob("*")):
                os.chown(path, USER, USER, follow_symlinks=False)
        asked = ("--catalogue", SAMPLE, "--models", TINY, "--hub", "http://127.0.0.1:9")
        suite = command(*asked, "--model-home", home)[1:]
        done = subprocess.run(
            [sys.executable, "-c", MOUNTS + OPENED + BECOME[on] + EXEC, str(folder / "x"), *suite],
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = " ".join(done.stdout.split())
        assert done.returncode == 0, done.stdout + done.stderr
        model = summary(home)["models"][TINY]
    assert (model["status"], model["network-cut"]) == ("ready", tier)
    reasons = Counter(load.get("not-tried") for load in model["loads"].values())
    assert reasons == {None: LOADS - untried, NEEDS_ROOT: untried}
    assert f"{TINY}: {untried} loads not tried: {NEEDS_ROOT}" in said
    tried = [name for name, load in model["loads"].items() if "seconds" in load]
    assert {name.split(":")[-1] for name in tried} == {"name", "path"}
