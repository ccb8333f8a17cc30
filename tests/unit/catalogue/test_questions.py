"""Questions by language, of an entry's own or beside a catalogue; or refused with the place."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prep.catalogue.entries import Catalogue, ModelSpec
from prep.catalogue.questions import REMEDY, read_questions
from prep.errors import InvalidFile
from prep.settings import GivenOptions, resolve_settings
from prep.tasks.question_sets import Questions
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER
from tests.support.runs import SAMPLE

SHARES = "a table of numbers above 0, at most 1, for fp32, fp16, int8"


def spec_of(task: str = "embedding", **keys: str) -> ModelSpec:
    spec = ModelSpec(
        name="one", repo="acme/one", revision="main", task=task, precisions=("int8",), why="x"
    )
    return replace(spec, **keys)  # type: ignore[arg-type]


def read(folder: Path, spec: ModelSpec) -> Questions:
    return read_questions(Catalogue(path=folder / "models.toml", models=(spec,)))["one"]


def refusal(folder: Path, spec: ModelSpec) -> str:
    with pytest.raises(InvalidFile) as caught:
        read(folder, spec)
    return str(caught.value)


def edited(folder: Path, old: str, new: str, name: str) -> Path:
    """A catalogue's folder with a copy of a committed file, in which one part is another."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert old in text
    path = folder / "questions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", TASKS)
def test_the_committed_are_valid_beside_a_catalogue_as_well(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, spec_of(name)) == TASKS[name].questions()
    shutil.copytree(FOLDER, tmp_path / "questions")
    assert read(tmp_path, spec_of(name)) == TASKS[name].questions()


def test_each_entry_is_asked_in_its_language(tmp_path: Path) -> None:
    german = "kannst du die Lampe in der Küche anmachen"
    assert read(tmp_path, spec_of(language="de")).plain()["texts"][0] == german
    edited(tmp_path, german, "wo ist die Lampe", "de/embedding.toml")
    assert read(tmp_path, spec_of(language="de")).plain()["texts"][0] == "wo ist die Lampe"
    assert read(tmp_path, spec_of()) == TASKS["embedding"].questions("en")


def test_those_beside_the_catalogue_are_asked(tmp_path: Path) -> None:
    for path in (SAMPLE, SAMPLE.with_name("models.lock.toml")):
        shutil.copy(path, tmp_path)
    anchor = TASKS["embedding"].questions().plain()["texts"][0]
    edited(tmp_path, f'"{anchor}"', '"where is the lamp"', "en/embedding.toml")
    edited(tmp_path, "margin = 1.0", "margin = 1.5", "embedding.toml")
    given = GivenOptions(catalogue=tmp_path / SAMPLE.name, model_home=tmp_path / "home")
    settings = resolve_settings(given, {}, tmp_path)
    asked = {spec.task: settings.questions_of(spec) for spec in settings.models}
    assert asked["embedding"].plain()["texts"][0] == "where is the lamp"
    assert asked["embedding"].margin == 1.5  # type: ignore[attr-defined]
    assert asked["reranker"] == TASKS["reranker"].questions()


def test_an_entry_is_asked_by_its_own_file(tmp_path: Path) -> None:
    path = edited(tmp_path, "how do you cook spaghetti", "who cooks", "en/embedding.toml")
    path.rename(tmp_path / "own.toml")
    own = read(tmp_path, spec_of(questions="own.toml"))
    assert "who cooks" in own.plain()["texts"]
    assert own.odd == TASKS["embedding"].questions().odd
    assert read(tmp_path, spec_of()) == TASKS["embedding"].questions()
    said = refusal(tmp_path, spec_of(questions="other.toml"))
    assert said.startswith("other.toml cannot be used (1 problem):")
    assert "cannot be read: " in said


def test_a_language_without_questions_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    edited(tmp_path, "lamp", "lampa", "en/embedding.toml").parent.rename(
        tmp_path / "questions" / "sv"
    )
    assert "lampa" in read(tmp_path, spec_of(language="sv")).plain()["texts"][0]
    assert refusal(tmp_path, spec_of(language="it")) == (
        "models.toml cannot be used (1 problem):\n"
        "  one: no embedding questions in 'it', only in de, en, es, fr, ja, sv, zh\n"
        "Correct its language, write questions/it/embedding.toml beside the catalogue, or name a "
        "file of questions in the entry (questions = …): docs/adding-a-model.md#questions says how."
    )


def test_a_translator_is_told_its_languages_once(tmp_path: Path) -> None:
    """T5 by an instruction in the prompt, others by codes that the entry names."""
    instructed, coded = (
        read(tmp_path, spec).plain()["prompts"][0][0]
        for spec in (spec_of("seq2seq"), spec_of("seq2seq", target_language="deu_Latn"))
    )
    assert instructed == f"translate English to German: {coded}"


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (
            "embedding.toml", "questions-version = 2", "questions-version = 1",
            "'questions-version': must be 2",
        ),
        (
            "embedding.toml", "margin = 1.0", "margin = 0",
            "'margin': must be a number above 0, got 0",
        ),
        ("embedding.toml", "margin = 1.0", "margin = nan", "cannot be read: "),
        ("embedding.toml", "margin = 1.0", "", "'margin': is missing"),
        (
            "embedding.toml", "margin = 1.0", "margin = 1.0\nleast = 1",
            "'least': is not a key that is known",
        ),
        ("embedding.toml", ", int8 = 0.99 }", " }", f"'agreement': must be {SHARES}, got "),
        ("embedding.toml", "int8 = 0.99 }", "int8 = 0 }", f"'agreement': must be {SHARES}, got "),
        (
            "en/embedding.toml", 'anchor = "how do you', 'ancor = "how do you',
            "'related': must be at least 12 tables of ",
        ),
        (
            "en/reranker.toml", 'others = [\n    "Will', 'others = [1,\n    "Will',
            "'ranked': must be at least 12 tables of ",
        ),
        (
            "en/seq2seq.toml", 'instruction = "translate English to German: "', "",
            "'instruction': is missing",
        ),
        (
            "seq2seq.toml", "new-tokens = 48", "new-tokens = 5000",
            "'new-tokens': must be from 1 to 4096, got 5000",
        ),
        (
            "seq2seq.toml", "ended = 0.5", "ended = 1.5",
            "'ended': must be a number above 0, at most 1, got 1.5",
        ),
    ],
)  # fmt: skip
def test_invalid_files_are_refused_with_the_place(
    tmp_path: Path, name: str, old: str, new: str, problem: str
) -> None:
    edited(tmp_path, old, new, name)
    task = name.rpartition("/")[2].partition(".")[0]
    head, line, remedy = refusal(tmp_path, spec_of(task)).splitlines()
    assert head == f"questions/{name} cannot be used (1 problem):"
    assert problem in line
    assert remedy == REMEDY


@pytest.mark.parametrize(
    ("task", "key", "entry", "least"),
    [
        ("embedding", "related", r"\[\[related\]\]\n(?:\w+ = .*\n)+", 12),
        ("reranker", "ranked", r"\[\[ranked\]\]\n(?:.+\n)+", 12),
        ("seq2seq", "prompts", r"\[\[prompts\]\]\n(?:\w+ = .*\n)+", 6),
    ],
)
def test_too_few_questions_are_refused_with_how_many_are_needed(
    tmp_path: Path, task: str, key: str, entry: str, least: int
) -> None:
    text = (FOLDER / "en" / f"{task}.toml").read_text(encoding="utf-8")
    found = re.search(entry, text)
    assert found is not None
    (tmp_path / "own.toml").write_text(text.replace(found[0], ""), encoding="utf-8")
    said = refusal(tmp_path, spec_of(task, questions="own.toml"))
    assert f"in '{key}': must be at least {least} tables " in said


def test_the_same_words_are_the_same_question(tmp_path: Path) -> None:
    """An anchor in capitals is related to itself by any model, were its weights random."""
    text = (FOLDER / "en" / "embedding.toml").read_text(encoding="utf-8")
    [anchor] = re.findall(r'^anchor = "(.+)"$', text, re.MULTILINE)[:1]
    shouted = re.sub(
        r'^related = ".+"$', f'related = "{anchor.upper()}!"', text, count=1, flags=re.M
    )
    (tmp_path / "own.toml").write_text(shouted, encoding="utf-8")
    said = refusal(tmp_path, spec_of("embedding", questions="own.toml"))
    assert f"{anchor!r} is asked twice" in said


def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions" / "embedding.toml").symlink_to("..data/embedding.toml")
    assert "questions/embedding.toml cannot be used" in refusal(tmp_path, spec_of("embedding"))


@pytest.mark.parametrize("task", TASKS)
def test_one_question_asked_often_is_no_evidence(tmp_path: Path, task: str) -> None:
    text = (FOLDER / "en" / f"{task}.toml").read_text(encoding="utf-8")
    head, first = re.split(r"\n(?=\[\[)", text)[:2]
    copies = [first.replace('id = "', f'id = "{number}') for number in range(12)]
    (tmp_path / "own.toml").write_text("\n".join([head, *copies]), encoding="utf-8")
    said = refusal(tmp_path, spec_of(task, questions="own.toml"))
    assert said.startswith("own.toml cannot be used (")
    assert said.endswith("Ask each text once: its answer would count twice.")
