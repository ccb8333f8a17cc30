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
