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


def test_the_table_frames_the_own_paraphrase_and_the_unrelated_text_of_each_row() -> None:
    table = questions().table()
    framed = [
        tuple(cells[place] for place in own)
        for cells, own in zip(table.cells, table.framed, strict=True)
    ]
    assert framed == [(row.related, row.unrelated) for row in questions().related]


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
