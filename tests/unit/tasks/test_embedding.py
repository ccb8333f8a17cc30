"""The embedding's questions, the cosines that a page shows, and agreement with the original."""

import math
from typing import Any

import pytest

from prep.tasks.embedding import EmbeddingQuestions, compare
from prep.tasks.registry import TASKS


def questions() -> EmbeddingQuestions:
    found = TASKS["embedding"].questions()
    assert isinstance(found, EmbeddingQuestions)
    return found


def test_the_ordering_holds_each_related_text_against_its_unrelated_one() -> None:
    """With the cosines of all pairs as the spread, those of other rows too."""
    asked = questions()
    vectors = {text: [1.0, 0.0] for text in asked.plain()["texts"]}
    for triple in asked.related:
        vectors[triple.unrelated] = [0.0, 1.0]
    ordering = asked.ordering(vectors)
    assert [row.question for row in ordering.rows] == [row.anchor for row in asked.related]
    assert {(row.right, tuple(row.others)) for row in ordering.rows} == {(1.0, (0.0,))}
    assert len(ordering.spread_of) == 2 * len(asked.related) ** 2
    assert ordering.margin == 2.0
    assert ordering.problems(asked.margin) == []


def test_answers_are_cosines_and_what_is_not_finite_is_null() -> None:
    vectors = {text: [1.0, 0.0] for text in questions().plain()["texts"]}
    vectors[questions().related[0].related] = [float("nan"), 1.0]
    vectors[questions().related[1].related] = [0.0, 2.0]
    rows = questions().answers({"vectors": vectors})
    assert rows is not None
    assert rows[0][:3] == [None, 0.0, 1.0]


class Model:
    """Answers with the vectors that it is given."""

    def __init__(self, **vectors: list[float]) -> None:
        self.vectors = vectors

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[text] for text in texts]


@pytest.mark.parametrize(
    ("vector", "found"),
    [
        ([0.0, 3.0], {"finite": True, "agreement": 1.0}),
        ([1.0, 1.0], {"finite": True, "agreement": pytest.approx(math.sqrt(0.5))}),
        ([0.0, 0.0], {"finite": True, "agreement": 0.0}),
        ([0.0, math.nan], {"finite": False, "agreement": 0.0}),
        ([0.0, math.inf], {"finite": False, "agreement": 0.0}),
    ],
)
def test_agreement_is_the_lowest_cosine(vector: list[float], found: dict[str, Any]) -> None:
    original = Model(a=[1.0, 0.0], b=[0.0, 1.0])
    assert compare(original, Model(a=[1.0, 0.0], b=vector), {"texts": ["a", "b"]}) == found
