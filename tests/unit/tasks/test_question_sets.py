"""The committed questions of each task: what is asked, each once, with odd texts and bounds."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest

from prep.sandbox.probe.loading import is_short
from prep.tasks.files import PRECISIONS, TASKS
from prep.tasks.question_sets import (
    FOLDER,
    ODD_TOKENS,
    Ask,
    EmbeddingQuestions,
    Questions,
    RerankerQuestions,
    Seq2seqQuestions,
    joined,
    read_questions,
)

KINDS: dict[str, tuple[type[Questions], str]] = {
    "embedding": (EmbeddingQuestions, "texts"),
    "reranker": (RerankerQuestions, "pairs"),
    "seq2seq": (Seq2seqQuestions, "prompts"),
}
LONG = 1000  # characters, or tokens of any model's limit several times over
SCRIPTS = {
    "emoji": r"[\U0001F300-\U0001FAFF]",
    "right-to-left": r"[\u0600-\u06FF]",
    "chinese": r"[\u4E00-\u9FFF]",
}
of_each_task = pytest.mark.parametrize("task", TASKS)


def texts_of(asked: Sequence[Any]) -> list[str]:
    """All texts of a list of questions: texts, pairs, or prompts with their lengths."""
    rows = [[one] if isinstance(one, str) else one for one in asked]
    return [text for row in rows for text in row if isinstance(text, str)]


def test_every_task_has_its_questions_and_no_file_is_left_over() -> None:
    assert set(KINDS) == set(TASKS) == {path.stem for path in FOLDER.glob("*.toml")}


@of_each_task
def test_questions_are_read_as_those_of_their_task(task: str) -> None:
    kind, asked = KINDS[task]
    questions = read_questions(task)
    assert type(questions) is kind
    for ask in (questions.plain(), questions.all()):
        assert set(ask) == {"texts", asked}
        assert ask[asked]
        assert task == "embedding" or ask["texts"] == []


@of_each_task
def test_plain_questions_come_first_and_odd_ones_after_them(task: str) -> None:
    questions, asked = read_questions(task), KINDS[task][1]
    plain, every = questions.plain()[asked], questions.all()[asked]
    assert every[: len(plain)] == plain
    odd = texts_of(every[len(plain) :])
    assert set(questions.odd.values()) <= set(odd)
    assert not set(questions.odd.values()) & set(texts_of(plain))


@of_each_task
def test_nothing_is_asked_twice(task: str) -> None:
    every = read_questions(task).all()[KINDS[task][1]]
    assert all(every.count(one) == 1 for one in every)


@of_each_task
def test_every_kind_of_odd_text_is_asked(task: str) -> None:
    odd = read_questions(task).odd
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
    questions = read_questions(task)
    room = [questions.agreement[precision] for precision in PRECISIONS]
    assert room == sorted(room, reverse=task != "reranker")  # a gap grows, a likeness shrinks


@of_each_task
def test_some_questions_fit_into_a_batch(task: str) -> None:
    """Two at least, of other lengths: one alone would be padded by nothing."""
    asked = read_questions(task).plain()[KINDS[task][1]]
    lengths = {len(text) for text in texts_of(asked) if is_short(text)}
    assert len(lengths) > 1


def test_meanings_are_told_apart_by_several_triples() -> None:
    questions = read_questions("embedding")
    assert isinstance(questions, EmbeddingQuestions)
    assert len(questions.related) >= 3
    assert questions.margin > 0
    for one in questions.related:
        assert len({one.anchor, one.related, one.unrelated}) == 3


def test_each_relevant_passage_stands_first_among_several() -> None:
    questions = read_questions("reranker")
    assert isinstance(questions, RerankerQuestions)
    assert len(questions.ranked) >= 3
    assert questions.margin > 0
    for one in questions.ranked:
        assert one.passages == (one.relevant, *one.others)
        assert len(one.others) >= 2
        assert len(set(one.passages)) == len(one.passages)
    passages = sum(len(one.passages) for one in questions.ranked)
    assert len(questions.plain()["pairs"]) == passages


def test_each_odd_text_is_a_query_and_a_passage() -> None:
    questions = read_questions("reranker")
    pairs = questions.all()["pairs"]
    for text in questions.odd.values():
        assert any(query == text for query, _ in pairs)
        assert any(passage == text for _, passage in pairs)


def test_prompts_are_asked_with_their_length_and_odd_ones_briefly() -> None:
    questions = read_questions("seq2seq")
    assert isinstance(questions, Seq2seqQuestions)
    assert len(questions.prompts) >= 3
    assert 0 < questions.ended <= 1
    assert questions.new_tokens > ODD_TOKENS
    lengths = dict(questions.all()["prompts"])
    for prompt in questions.prompts.values():
        assert lengths[prompt] == questions.new_tokens
    for text in questions.odd.values():
        assert lengths[text] == ODD_TOKENS


def test_asks_are_joined_in_their_order_each_question_once() -> None:
    one: Ask = {"texts": ["a", "b"], "pairs": [["q", "d"]]}
    other: Ask = {"texts": ["b", "c"], "prompts": [["p", 3], ["p", 4]]}
    assert joined(one, other) == {
        "texts": ["a", "b", "c"],
        "pairs": [["q", "d"]],
        "prompts": [["p", 3], ["p", 4]],
    }
    assert one == {"texts": ["a", "b"], "pairs": [["q", "d"]]}, "what was given stays as it was"
    assert joined(one) == one
    assert joined() == {}
