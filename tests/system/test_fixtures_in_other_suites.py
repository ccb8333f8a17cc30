"""Another repository uses the fixtures: its own tests, its own exit codes."""

import re
from pathlib import Path

from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.registry import TASKS
from tests.support.runs import TINY, TINY_REPO, copy_home, other_suite, process, sample_args

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
    suite = other_suite(tmp_path, TESTS.replace("will it rain tomorrow", read_golden_text()))
    home = copy_home(prepared, tmp_path / "home")
    done = process(*suite, *sample_args(home, "--offline", "-v"), cwd=tmp_path)
    assert done.code == 0, done.out
    assert f"test_mine[{TINY}:int8] PASSED" in done.out
    assert f"test_answers[{TINY}:transformers:name] PASSED" in done.out
    loads = TASKS["embedding"].loads_of(TINY_REPO, ("transformers",), ("int8",))
    # An ordinary user cannot try those of another user.
    tried = re.findall(r"::test_answers\[(\S+)\] (?:PASSED|SKIPPED)", done.out)
    assert sorted(tried) == sorted(f"{TINY}:{load.id}" for load in loads)
    assert "test_without_a_model PASSED" in done.out
    assert "consumers set" not in done.out, "the closing table is this suite's own"


def test_failures_of_another_repository_keep_pytests_exit_code(tmp_path: Path) -> None:
    suite = other_suite(tmp_path, "def test_mine(fetched):\n    pass\n")
    done = process(*suite, *sample_args(tmp_path / "home", models=None), cwd=tmp_path)
    assert done.code == 1, done.out
    assert "hub unreachable" in done.out


def read_golden_text() -> str:
    """A text that every embedding model is asked."""
    questions = TASKS["embedding"].questions()
    assert isinstance(questions, EmbeddingQuestions)
    return questions.related[0].anchor
