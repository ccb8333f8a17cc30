"""A model asked in a language that it does not know fails, and the message names the key."""

import shutil
from pathlib import Path

from prep.tasks.task import FOLDER
from tests.support.runs import SAMPLE, TINY, Run, run

CHECK = ("-k", "test_related_stands_above_unrelated and transformers:name")
REMEDY = (
    "The tokenizer or the weights are not what they should be; if the model is not for texts with "
    "language = 'de', say another language in its entry, or name questions of its own: "
    "docs/adding-a-model.md#questions."
)


def asked(home: Path, folder: Path, key: str) -> Run:
    """A run on the sample catalogue, where the embedding model's entry has one key more."""
    shutil.copy(SAMPLE.with_name("models.lock.toml"), folder)
    text = SAMPLE.read_text(encoding="utf-8")
    path = folder / SAMPLE.name
    path.write_text(text.replace('task = "embedding"', f'task = "embedding"\n{key}'), "utf-8")
    return run("--catalogue", path, "--model-home", home, "--models", TINY, "--offline", *CHECK)


def test_a_model_judged_in_another_language_fails_and_the_message_names_the_key(
    prepared: Path, tmp_path: Path
) -> None:
    judged = asked(prepared, tmp_path, 'language = "de"')
    assert judged.code == 1
    assert f"{TINY}: transformers:name does not tell related from unrelated texts" in judged.said
    assert "of 12 are in the wrong order, at most 1 may be" in judged.said
    assert REMEDY in judged.said
    assert f"{TINY} failed" in judged.said


def test_a_model_is_judged_by_the_questions_that_its_entry_names(
    prepared: Path, tmp_path: Path
) -> None:
    shutil.copy(FOLDER / "en" / "embedding.toml", tmp_path / "own.toml")
    judged = asked(prepared, tmp_path, 'questions = "own.toml"\nlanguage = "de"')
    assert judged.code == 0, judged.out
