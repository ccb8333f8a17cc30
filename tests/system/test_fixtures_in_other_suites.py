"""Another repository uses the fixtures: its own tests, its own exit codes."""

import re
import subprocess
import sys
from pathlib import Path

from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, TINY, TINY_REPO, copy_home, environment

TESTS = """
import pytest

def test_mine(converted):
    assert (converted.path / "openvino_model.xml").is_file()

@pytest.mark.consumers("transformers")
def test_answers(loaded):
    assert loaded.facts["vectors"]["will it rain tomorrow"]

def test_without_a_model():
    assert True
"""


def test_fixtures_serve_another_repository(tmp_path: Path, prepared: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["prep.plugin"]\n')
    golden = read_golden_text()
    (tmp_path / "test_mine.py").write_text(TESTS.replace("will it rain tomorrow", golden))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    home = copy_home(prepared, tmp_path / "home")
    args = ["--catalogue", SAMPLE, "--models", TINY, "--model-home", home, "--offline", "-v"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", *map(str, args), "test_mine.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"test_mine[{TINY}:int8] PASSED" in done.stdout
    assert f"test_answers[{TINY}:transformers:name] PASSED" in done.stdout
    loads = TASKS["embedding"].loads_of(TINY_REPO, ("transformers",), ("int8",))
    # An ordinary user cannot try those of another user.
    tried = re.findall(r"::test_answers\[(\S+)\] (?:PASSED|SKIPPED)", done.stdout)
    assert sorted(tried) == sorted(f"{TINY}:{load.id}" for load in loads)
    assert "test_without_a_model PASSED" in done.stdout
    assert "consumers set" not in done.stdout, "the closing table is this suite's own"


def test_failures_of_another_repository_keep_pytests_exit_code(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["prep.plugin"]\n')
    (tmp_path / "test_mine.py").write_text("def test_mine(fetched):\n    pass\n")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    args = ["--catalogue", SAMPLE, "--model-home", tmp_path / "home", "--hub", "http://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", *map(str, args), "test_mine.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "hub unreachable" in done.stdout


def read_golden_text() -> str:
    """A text that every embedding model is asked."""
    questions = TASKS["embedding"].questions()
    assert isinstance(questions, EmbeddingQuestions)
    return questions.related[0].anchor
