"""The questions of each entry: of its language, or its own; where the catalogue has none, ours.

The folder ``questions`` beside the catalogue has the layout of the committed one: ``TASK.toml`` the
bounds, ``LANGUAGE/TASK.toml`` the questions. A file in it stands in for the committed one.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prep.catalogue.entries import Catalogue, ModelSpec
from prep.errors import InvalidFile
from prep.files.fields import shown
from prep.files.reader import Unreadable, read_toml
from prep.tasks.question_sets import Key, Questions
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER

VERSION = 2
PAGE = "docs/adding-a-model.md#questions"
REMEDY = f"Correct the places named, or begin anew: {PAGE} says with what."


def read_questions(catalogue: Catalogue) -> Mapping[str, Questions]:
    """Those of each entry, by its name. Raises `InvalidFile`."""
    known: dict[tuple[object, ...], Questions] = {}  # 500 entries have a handful of files
    found = {}
    for spec in catalogue.models:
        key = (spec.task, spec.language, spec.questions, is_told_languages(spec))
        if key not in known:
            known[key] = _questions(catalogue, spec)
        found[spec.name] = known[key]
    return found


def is_told_languages(spec: ModelSpec) -> bool:
    """Whether the model is told by its tokenizer what to translate into, not by the prompt."""
    return bool(spec.source_language or spec.target_language)


def _questions(catalogue: Catalogue, spec: ModelSpec) -> Questions:
    question_set = TASKS[spec.task].question_set
    folder = catalogue.path.parent
    name = f"{spec.task}.toml"
    bounds = _read(*_stands_in(folder, name), question_set.bounds())
    if spec.questions is not None:
        path, shown_as = folder / spec.questions, spec.questions
    else:
        path, shown_as = _stands_in(folder, f"{spec.language}/{name}")
        if not path.is_file():
            known = ", ".join(_languages(folder, spec.task))
            raise InvalidFile(
                catalogue.path.name,
                [f"{spec.name}: no {spec.task} questions in {spec.language!r}, only in {known}"],
                f"Correct its language, write {shown_as} beside the catalogue, or name a file of "
                f"questions in the entry (questions = …): {PAGE} says how.",
            )
    asked = _read(path, shown_as, question_set.asked())
    if is_told_languages(spec) and "instruction" in asked:
        asked = {**asked, "instruction": ""}
    questions = question_set.parse(bounds, asked)
    if repeated := questions.repeated():
        problems = [f"{shown(text)} is asked twice" for text in repeated]
        raise InvalidFile(shown_as, problems, "Ask each text once: its answer would count twice.")
    return questions


def _languages(folder: Path, task: str) -> list[str]:
    """Those that there are questions in, for a catalogue in that folder."""
    found = {
        path.parent.name
        for questions in (FOLDER, folder / "questions")
        for path in questions.glob(f"*/{task}.toml")
    }
    return sorted(found)


def _stands_in(folder: Path, relative: str) -> tuple[Path, str]:
    """The catalogue's own file, else the committed; and its name in messages."""
    own = folder / "questions" / relative
    return own if os.path.lexists(own) else FOLDER / relative, f"questions/{relative}"


def _read(path: Path, shown_as: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """A file with exactly those keys, each of them valid."""
    try:
        data = read_toml(path)
    except (OSError, Unreadable) as error:
        raise InvalidFile(shown_as, [f"cannot be read: {error}"], REMEDY) from None
    version = data.pop("questions-version", None)
    problems = [] if version == VERSION else [f"in 'questions-version': must be {VERSION}"]
    problems += [f"in '{key}': is not a key that is known" for key in data if key not in keys]
    for key, (is_valid, expected) in keys.items():
        if key not in data:
            problems.append(f"in '{key}': is missing")
        elif not is_valid(data[key]):
            problems.append(f"in '{key}': must be {expected}, got {shown(data[key])}")
    if problems:
        raise InvalidFile(shown_as, problems, REMEDY)
    return data
