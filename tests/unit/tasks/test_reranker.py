"""The reranker's questions, and agreement with the original."""

import math
from typing import Any

import pytest

from prep.tasks.registry import TASKS
from prep.tasks.reranker import RerankerQuestions, compare


def questions() -> RerankerQuestions:
    found = TASKS["reranker"].questions()
    assert isinstance(found, RerankerQuestions)
    return found


def test_the_ordering_holds_each_relevant_passage_against_all_others() -> None:
    asked = questions()
    logits = [
        (ranked.query, passage, 5.0 if passage == ranked.relevant else float(-place))
        for ranked in asked.ranked
        for place, passage in enumerate(ranked.passages)
    ]
    ordering = asked.ordering(logits)
    assert [row.question for row in ordering.rows] == [ranked.query for ranked in asked.ranked]
    assert {(row.right, tuple(row.others)) for row in ordering.rows} == {(5.0, (-1.0, -2.0, -3.0))}
    assert len(ordering.spread_of) == len(asked.plain()["pairs"])
    assert ordering.problems(asked.margin) == []


def test_each_odd_text_is_a_query_and_a_passage() -> None:
    pairs = questions().all()["pairs"]
    for text in questions().odd.values():
        assert any(query == text for query, _ in pairs)
        assert any(passage == text for _, passage in pairs)


class Model:
    """Answers a passage with the logit that it is given."""

    def __init__(self, **logits: float) -> None:
        self.by_passage = logits

    def logits(self, pairs: list[list[str]]) -> list[float]:
        return [self.by_passage[passage] for _, passage in pairs]


ASK: dict[str, Any] = {"pairs": [["q", "a"], ["q", "b"], ["q", "c"]]}
OTHER_FIRST = "'q': 'b' comes first, not 'a'"


@pytest.mark.parametrize(
    ("logits", "agreement", "contradictions"),
    [
        ({"a": 4.0, "b": 2.0, "c": 0.0}, 0.0, []),
        ({"a": 4.0, "b": 3.0, "c": 0.0}, 0.25, []),
        ({"a": 3.0, "b": 4.0, "c": 0.0}, 0.5, [OTHER_FIRST]),
    ],
)
def test_agreement_is_the_greatest_difference_as_a_share_of_the_spread(
    logits: dict[str, float], agreement: float, contradictions: list[str]
) -> None:
    found = compare(Model(a=4.0, b=2.0, c=0.0), Model(**logits), ASK)
    assert found == {"finite": True, "agreement": agreement, "contradictions": contradictions}


def test_without_a_spread_any_difference_is_the_greatest() -> None:
    flat = Model(a=1.0, b=1.0, c=1.0)
    assert compare(flat, flat, ASK)["agreement"] == 0.0
    assert compare(flat, Model(a=1.1, b=1.0, c=1.0), ASK)["agreement"] == 1.0


def test_what_is_not_finite_agrees_with_nothing() -> None:
    right = Model(a=4.0, b=2.0, c=0.0)
    for wrong in (math.nan, math.inf):
        found = compare(right, Model(a=4.0, b=2.0, c=wrong), ASK)
        assert found == {"finite": False, "agreement": 1.0}
