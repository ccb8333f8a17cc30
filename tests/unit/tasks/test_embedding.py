"""The embedding's questions, the cosines that a page shows, and agreement with the original."""

import math
from typing import Any

import pytest

from prep.tasks.embedding import EmbeddingQuestions, compare
from prep.tasks.measure import Agreement
from prep.tasks.registry import TASKS


def questions() -> EmbeddingQuestions:
    found = TASKS["embedding"].questions()
    assert isinstance(found, EmbeddingQuestions)
    return found


def test_meanings_are_told_apart_by_several_triples() -> None:
    assert len(questions().related) >= 3
    assert questions().margin > 0
    for triple in questions().related:
        assert len({triple.anchor, triple.related, triple.unrelated}) == 3


def test_answers_are_cosines_and_what_is_not_finite_is_null() -> None:
    vectors = {text: [1.0, 0.0] for text in questions().plain()["texts"]}
    vectors[questions().related[0].related] = [float("nan"), 1.0]
    vectors[questions().related[1].related] = [0.0, 2.0]
    rows = questions().answers({"vectors": vectors})
    assert rows is not None
    assert rows[0][:3] == [None, 0.0, 1.0]


RIGHT = {"vectors": {"a": [1.0, 0.0], "b": [0.0, 1.0]}}


@pytest.mark.parametrize(
    ("vector", "finite", "value"),
    [
        ([0.0, 3.0], True, 1.0),
        ([1.0, 1.0], True, pytest.approx(math.sqrt(0.5))),
        ([0.0, 0.0], True, 0.0),
        ([0.0, 1.0, 0.0], True, 0.0),
        ([0.0, math.nan], False, 0.0),
        ([0.0, math.inf], False, 0.0),
    ],
)
def test_agreement_is_the_lowest_cosine(vector: list[float], finite: bool, value: Any) -> None:
    answers = {"vectors": {"a": [1.0, 0.0], "b": vector}}
    found = compare(RIGHT, answers, {"texts": ["a", "b"]}, 0.99)
    assert found == Agreement(finite=finite, value=value)


@pytest.mark.parametrize(("gap", "moved"), [(0.9e-4, 0), (1.1e-4, 1), (math.nan, 1)])
def test_a_sentinels_vector_may_move_by_sums_in_another_order_alone(gap: float, moved: int) -> None:
    answers = {"vectors": {"a": [1.0, gap]}}
    assert len(questions().moved(answers, RIGHT)) == moved
