"""The recipes of docs/ci.md: their steps run as they stand there, in a clean clone.

The environment is the present one, and the models are the sample's. By default only the cheap
checks run; `make recipes` runs them all.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.runs import environment, summary
from tests.system.test_documents import code_blocks

DOCUMENT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
ACTIONS, GITLAB = (yaml.safe_load(block) for block in code_blocks(DOCUMENT, "yaml"))
GITHUB: dict[str, Any] = ACTIONS["jobs"]["models"]
LAB: dict[str, Any] = GITLAB["models"]
STEPS = {
    "GitHub": [step["run"] for step in GITHUB["steps"] if "run" in step],
    "GitLab": [*LAB["before_script"], *LAB["script"]],
}
CHECKS = os.environ.get("RECIPE_CHECKS", "-m pins --models tiny-embedding")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
    return tmp_path / "clone"


@pytest.fixture
def venv(tmp_path: Path, clone: Path) -> Path:
    """The present environment in another place, where make finds it installed."""
    made = tmp_path / "venv"
    made.mkdir()
    for entry in Path(sys.prefix).iterdir():
        (made / entry.name).symlink_to(entry)
    shown = run_in(clone, "make", "-pn", "help", env=ordinary(VENV=made))
    stamps = {
        splitline.split(" := ")[1]
        for splitline in shown.splitlines()
        if splitline.startswith(("USER_STAMP :=", "OVERLAY_STAMP :="))
    }
    assert len(stamps) == 2
    for stamp in stamps:
        Path(stamp).touch()
    return made


def ordinary(**more: Any) -> dict[str, str]:
    kept = environment(**{key: str(value) for key, value in more.items()})
    return {key: value for key, value in kept.items() if "MAKE" not in key}


@pytest.mark.parametrize("recipe", STEPS)
def test_steps_of_the_recipe_run_in_a_clean_clone(recipe: str, clone: Path, venv: Path) -> None:
    env = ordinary(VENV=venv, HF_ENDPOINT="sample", PYTEST_ADDOPTS=CHECKS)
    for step in STEPS[recipe]:
        done = subprocess.run(
            ["bash", "-e", "-c", step], cwd=clone, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, (step, done.stdout + done.stderr)
    assert (clone / "reports" / "junit.xml").is_file()
    assert (clone / LAB["artifacts"]["reports"]["junit"]).is_file()
    models = summary(clone / "models-sample")["models"]
    found = {model["status"] for model in models.values()}
    assert found == ({"unchecked"} if "-m pins" in CHECKS else {"ready"})
    assert run_in(clone, "git", "status", "--porcelain", env=env) == ""


def run_in(folder: Path, *command: str, env: Mapping[str, str]) -> str:
    """What a command printed there."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize("code", [0, 1, 75])
def test_only_what_can_pass_by_itself_is_tried_again(code: int, tmp_path: Path) -> None:
    [step] = [step for step in STEPS["GitHub"] if "pause" in step]
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho tried >> {tmp_path}/tries\nexit {code}\n")
    sleep = tmp_path / "bin" / "sleep"
    sleep.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    sleep.chmod(0o755)
    env = ordinary(VENV=tmp_path, PATH=f"{sleep.parent}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-e", "-c", step], env=env, check=False)
    assert done.returncode == code
    assert (tmp_path / "tries").read_text().count("tried") == (3 if code == 75 else 1)
    assert LAB["retry"] == {"max": 2, "exit_codes": [75]}


def test_recipes_keep_the_same_things_by_the_lock() -> None:
    caches = [step["with"] for step in GITHUB["steps"] if "cache@" in step.get("uses", "")]
    assert [cache["path"] for cache in caches] == [".venv", "models"]
    assert "hashFiles('models.lock.toml', 'requirements-tested.txt')" in caches[1]["key"]
    kept = {path: cache["key"]["files"] for cache in LAB["cache"] for path in cache["paths"]}
    assert kept["models/"] == ["models.lock.toml", "requirements-tested.txt"]
    for files in kept.values():
        assert all((ROOT / name).is_file() for name in files)
    upload = GITHUB["steps"][-1]
    assert upload["if"] == "always()"
    assert upload["with"]["path"].split() == LAB["artifacts"]["paths"]
    reporter = GITHUB["steps"][-2]
    assert (reporter["if"], reporter["with"]["path"]) == (upload["if"], "reports/verdict.xml")
    assert LAB["artifacts"]["reports"] == {"junit": "reports/verdict.xml"}
    assert ACTIONS["permissions"] == {"contents": "read", "checks": "write"}, "for the reporter"


def test_githubs_own_actions_are_pinned_to_commits() -> None:
    own = [step["uses"] for step in GITHUB["steps"] if step.get("uses", "").startswith("actions/")]
    assert len(own) == 5
    assert [
        action for action in own if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)
    ] == []


def test_recipes_run_on_a_python_that_was_tried() -> None:
    [setup] = [step for step in GITHUB["steps"] if "setup-python" in step.get("uses", "")]
    assert LAB["image"] == f"python:{setup['with']['python-version']}"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG PYTHON_VERSION={setup['with']['python-version']}\n" in dockerfile
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()


def test_keys_of_the_recipes_are_those_of_their_makers() -> None:
    """What a typing mistake would make of no effect, or refuse on the first night."""
    keys: Mapping[str, set[str]] = {
        "workflow": {"name", True, "permissions", "concurrency", "jobs"},  # YAML reads on: as true
        "job": {"runs-on", "timeout-minutes", "steps"},
        "step": {"name", "uses", "with", "run", "env", "if"},
        "lab": {
            *("image", "timeout", "rules", "retry", "variables", "cache"),
            *("before_script", "script", "artifacts"),
        },
    }
    assert set(ACTIONS) <= keys["workflow"]
    assert set(GITHUB) <= keys["job"]
    assert [step for step in GITHUB["steps"] if set(step) - keys["step"]] == []
    assert set(LAB) <= keys["lab"]
