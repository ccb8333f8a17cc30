"""Questions beside a catalogue: used in place of the committed ones, or refused with the place."""

import re
import shutil
from pathlib import Path

import pytest

from prep.catalogue.questions import REMEDY, read_questions
from prep.errors import InvalidFile
from prep.settings import GivenOptions, resolve_settings
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER
from tests.support.runs import SAMPLE

EMBEDDING = TASKS["embedding"]


def edited(folder: Path, old: str, new: str, name: str = "embedding") -> Path:
    """A folder with a copy of the committed questions, in which one part is another."""
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_the_committed_are_valid_beside_a_catalogue_as_well(tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    shutil.copy(FOLDER / f"{name}.toml", tmp_path)
    assert read_questions(tmp_path, task) == task.questions()
    assert read_questions(tmp_path / "missing", task) == task.questions()


def test_those_beside_the_catalogue_are_asked(tmp_path: Path) -> None:
    anchor = EMBEDDING.questions().plain()["texts"][0]
    for path in (SAMPLE, SAMPLE.with_name("models.lock.toml")):
        shutil.copy(path, tmp_path)
    edited(tmp_path / "questions", f'"{anchor}"', '"wo ist die Lampe"')
    given = GivenOptions(catalogue=tmp_path / SAMPLE.name, model_home=tmp_path / "home")
    settings = resolve_settings(given, {}, tmp_path)
    assert settings.questions["embedding"].plain()["texts"][0] == "wo ist die Lampe"
    assert settings.questions["reranker"] == TASKS["reranker"].questions()


SHARES = "a table of numbers above 0, at most 1, for fp32, fp16, int8"


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (
            "embedding", "questions-version = 1", "questions-version = 2",
            "'questions-version': must be 1",
        ),
        ("embedding", "margin = 0.2", "margin = 0", "'margin': must be a number above 0, got 0"),
        ("embedding", "margin = 0.2", "margin = nan", "cannot be read: "),
        ("embedding", "margin = 0.2", "", "'margin': is missing"),
        (
            "embedding", "margin = 0.2", "margin = 0.2\nleast = 1",
            "'least': is not a key that is known",
        ),
        ("embedding", ", int8 = 0.99 }", " }", f"'agreement': must be {SHARES}, got "),
        ("embedding", "int8 = 0.99 }", "int8 = 0 }", f"'agreement': must be {SHARES}, got "),
        (
            "embedding", 'anchor = "how do you', 'ancor = "how do you',
            "'related': must be at least 6 tables of ",
        ),
        (
            "reranker", 'others = [\n    "Will', 'others = [1,\n    "Will',
            "'ranked': must be at least 6 tables of ",
        ),
        (
            "seq2seq", "new-tokens = 48", "new-tokens = 5000",
            "'new-tokens': must be from 1 to 4096, got 5000",
        ),
        (
            "seq2seq", "ended = 0.5", "ended = 1.5",
            "'ended': must be a number above 0, at most 1, got 1.5",
        ),
    ],
)  # fmt: skip
def test_invalid_questions_are_refused_with_the_place(
    tmp_path: Path, name: str, old: str, new: str, problem: str
) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_questions(edited(tmp_path, old, new, name), TASKS[name])
    head, line, remedy = str(caught.value).splitlines()
    assert head == f"questions/{name}.toml cannot be used (1 problem):"
    assert problem in line
    assert remedy == REMEDY


def test_too_few_questions_are_refused(tmp_path: Path) -> None:
    """Five triples are in order by chance once in thirty-two times."""
    text = (FOLDER / "embedding.toml").read_text(encoding="utf-8")
    entry = re.search(r"\[\[related\]\]\n(?:\w+ = .*\n)+", text)
    assert entry is not None
    (tmp_path / "embedding.toml").write_text(text.replace(entry[0], ""), encoding="utf-8")
    with pytest.raises(InvalidFile, match="'related': must be at least 6 tables"):
        read_questions(tmp_path, EMBEDDING)
