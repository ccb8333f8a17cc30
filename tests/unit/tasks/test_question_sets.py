"""The committed questions of each task: what is asked, each once, with odd texts and bounds."""

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from prep.sandbox.probe.loading import batch_of
from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.precisions import PRECISIONS
from prep.tasks.question_sets import ALONE, Ask, joined
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER

ASKED = {"embedding": "texts", "reranker": "pairs", "seq2seq": "prompts"}
LONG = 1000  # characters, or tokens of any model's limit several times over
SCRIPTS = {
    "emoji": r"[\U0001F300-\U0001FAFF]",
    "right-to-left": r"[\u0600-\u06FF]",
    "chinese": r"[\u4E00-\u9FFF]",
}
LANGUAGES = ("de", "en", "es", "fr", "ja", "zh")
of_each_task = pytest.mark.parametrize("task", TASKS)
in_each_language = pytest.mark.parametrize("language", LANGUAGES)


def texts_of(asked: Sequence[Any]) -> list[str]:
    """All texts of a list of questions: texts, pairs, or prompts with their lengths."""
    rows = [[question] if isinstance(question, str) else question for question in asked]
    return [text for row in rows for text in row if isinstance(text, str)]


def letters_of(text: str) -> str:
    """Which letters it is written in: of Chinese, Japanese (with kana) or Latin."""
    if re.search(r"[\u3040-\u30FF]", text):
        return "ja"
    return "zh" if re.search(SCRIPTS["chinese"], text) else "latin"


@of_each_task
@in_each_language
def test_questions_are_read_as_those_of_their_task(task: str, language: str) -> None:
    questions, asked = TASKS[task].questions(language), ASKED[task]
    assert questions.repeated() == []
    for text in texts_of(questions.plain()[asked]):
        assert letters_of(text) == (language if language in ("ja", "zh") else "latin")
    assert type(questions) is TASKS[task].question_set
    for ask in (questions.plain(), questions.all()):
        assert set(ask) - {"configured", "together"} == {"texts", asked}
        assert ask[asked]
        assert task == "embedding" or ask["texts"] == []


@of_each_task
def test_plain_questions_come_first_and_odd_ones_after_them(task: str) -> None:
    questions, asked = TASKS[task].questions(), ASKED[task]
    plain, every = questions.plain()[asked], questions.all()[asked]
    assert every[: len(plain)] == plain
    odd = texts_of(every[len(plain) :])
    assert set(questions.odd.values()) <= set(odd)
    assert not set(questions.odd.values()) & set(texts_of(plain))


@of_each_task
@in_each_language
def test_nothing_is_asked_twice(task: str, language: str) -> None:
    every = TASKS[task].questions(language).all()[ASKED[task]]
    assert all(every.count(question) == 1 for question in every)


@of_each_task
def test_every_kind_of_odd_text_is_asked(task: str) -> None:
    odd = TASKS[task].questions().odd
    assert "" in odd.values()
    assert any(text and not text.strip() for text in odd.values())
    assert any(len(text) > LONG and " " in text for text in odd.values())
    assert any(len(text) > LONG and " " not in text for text in odd.values())
    for name, letters in SCRIPTS.items():
        assert re.search(letters, odd[name])


@of_each_task
def test_every_bound_names_all_precisions(task: str) -> None:
    data = tomllib.loads((FOLDER / f"{task}.toml").read_text(encoding="utf-8"))
    bounds = {key: value for key, value in data.items() if isinstance(value, dict)}
    assert "agreement" in bounds
    assert ("batch" in bounds) == (task != "seq2seq")
    for bound in bounds.values():
        assert tuple(bound) == PRECISIONS
        assert all(0 < number <= 1 for number in bound.values())


@of_each_task
def test_coarser_precisions_are_given_no_less_room(task: str) -> None:
    questions = TASKS[task].questions()
    bounds = [questions.agreement[precision] for precision in PRECISIONS]
    assert bounds == sorted(bounds, reverse=task != "reranker")  # a gap grows, a likeness shrinks


@pytest.mark.parametrize("task", ["embedding", "reranker"])
def test_sentinels_odd_texts_and_some_others_are_asked_alone(task: str) -> None:
    questions, asked = TASKS[task].questions(), ASKED[task]
    plain, whole = questions.plain(), questions.all()
    assert whole["together"] == plain["together"] == plain[asked][ALONE:]
    assert all(sentinel in plain[asked][:ALONE] for sentinel in questions.sentinels()[asked])


def test_what_must_be_asked_alone_is_taken_out_of_the_batches() -> None:
    ask = {"texts": ["a", "b", "c"], "together": ["b", "c"]}
    more = {"texts": ["c", "d"]}
    found = {"texts": ["a", "b", "c", "d"], "together": ["b"]}
    assert joined(ask, alone=more) == found
    assert joined(ask, more) == {**found, "together": ["b", "c"]}
    pairs = joined({"pairs": [["q", "p"]], "together": [["q", "p"]]}, alone={"pairs": [["q", "p"]]})
    assert pairs == {"pairs": [["q", "p"]], "together": []}


@of_each_task
def test_some_questions_fit_into_a_batch(task: str) -> None:
    """Two at least that are asked alone, of other lengths: one would be padded by nothing."""
    plain = TASKS[task].questions().plain()
    asked = [each for each in plain[ASKED[task]] if each not in plain.get("together", ())]
    texts = list(texts_of(asked))
    lengths = {len(texts[number]) for number in batch_of([len(text) for text in texts])}
    assert len(lengths) > 1


@of_each_task
def test_a_load_that_answers_nothing_sensible_has_no_answers_to_show(task: str) -> None:
    facts: dict[str, object] = {"vectors": {}, "logits": [], "written": []}
    assert TASKS[task].questions().answers(facts) is None


@of_each_task
def test_the_table_has_a_label_and_the_texts_of_each_row(task: str) -> None:
    table = TASKS[task].questions().table()
    assert len(set(table.labels)) == len(table.labels) > 1
    if table.columns:
        assert len(table.cells) == len(table.framed) == len(table.labels)
        assert {len(row) for row in table.cells} == {len(table.columns)}
        assert all(max(columns) < len(table.columns) for columns in table.framed)
        assert table.title
        assert table.note


@in_each_language
def test_counting_words_does_not_put_the_triples_in_order(language: str) -> None:
    """By the share of words that two texts have in common; in Chinese and Japanese, of letters."""
    questions = TASKS["embedding"].questions(language)
    assert isinstance(questions, EmbeddingQuestions)
    pattern = r"\w" if language in ("ja", "zh") else r"\w+"
    asked = questions.plain()["texts"]
    words = {text: Counter(re.findall(pattern, text.lower())) for text in asked}
    known = sorted({word for counted in words.values() for word in counted})
    vectors = {text: [float(words[text][word]) for word in known] for text in asked}
    *_, order, margin = questions.ordering(vectors).problems(questions.margin)
    assert "of 12 are in the wrong order" in order
    assert "wanted at least 1.0" in margin


def test_asks_are_joined_in_their_order_each_question_once() -> None:
    first: Ask = {"texts": ["a", "b"], "pairs": [["q", "d"]]}
    other: Ask = {"texts": ["b", "c"], "prompts": [["p", 3], ["p", 4]]}
    assert joined(first, other) == {
        "texts": ["a", "b", "c"],
        "pairs": [["q", "d"]],
        "prompts": [["p", 3], ["p", 4]],
    }
    assert first == {"texts": ["a", "b"], "pairs": [["q", "d"]]}, "what was given stays as it was"
    assert joined(first) == first
    assert joined() == {}
