"""The reranker's questions, and agreement with the original."""

import math
from typing import Any

import pytest

from prep.tasks.measure import Agreement
from prep.tasks.registry import TASKS
from prep.tasks.reranker import RerankerQuestions, compare, says_nothing


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


def test_the_table_frames_the_relevant_passage_of_each_row() -> None:
    table = questions().table()
    framed = [
        [cells[place] for place in own]
        for cells, own in zip(table.cells, table.framed, strict=True)
    ]
    assert framed == [[ranked.relevant] for ranked in questions().ranked]
    assert table.columns == ["relevant", "other 1", "other 2", "other 3"]


def test_each_odd_text_is_a_query_and_a_passage() -> None:
    pairs = questions().all()["pairs"]
    for text in questions().odd.values():
        assert any(query == text for query, _ in pairs)
        assert any(passage == text for _, passage in pairs)


def logits(**by_passage: float) -> dict[str, Any]:
    """What the probe says of pairs with one query."""
    return {"logits": [["q", passage, logit] for passage, logit in by_passage.items()]}


ASK: dict[str, Any] = {"pairs": [["q", "a"], ["q", "b"], ["q", "c"]]}
RIGHT = logits(a=4.0, b=2.0, c=0.0)
OTHER_FIRST = ("'q': 'b' comes first, not 'a'",)


@pytest.mark.parametrize(
    ("answers", "value", "contradictions"),
    [
        (logits(a=4.0, b=2.0, c=0.0), 0.0, ()),
        (logits(a=4.0, b=3.0, c=0.0), 0.25, ()),
        (logits(a=3.0, b=4.0, c=0.0), 0.5, OTHER_FIRST),
    ],
)
def test_agreement_is_the_greatest_difference_as_a_share_of_the_spread(
    answers: dict[str, Any], value: float, contradictions: tuple[str, ...]
) -> None:
    found = compare(RIGHT, answers, ASK, 0.05)
    assert found == Agreement(finite=True, value=value, contradictions=contradictions)


def test_passages_that_the_reference_holds_near_each_other_may_change_places() -> None:
    near = logits(a=4.0, b=3.9, c=0.0)
    turned = logits(a=3.9, b=4.0, c=0.0)
    assert compare(near, turned, ASK, 0.05).contradictions == ()
    assert compare(near, turned, ASK, 0.02).contradictions == OTHER_FIRST


def test_logits_that_are_all_the_same_say_nothing() -> None:
    assert says_nothing(logits(a=1.0, b=1.0 + 1e-7)) == (
        "all 2 pairs of query and passage get the logit 1.0000"
    )
    assert says_nothing(logits(a=0.0, b=0.0)) is not None
    assert says_nothing(logits(a=1.0, b=1.0001)) is None
    assert says_nothing(logits(a=math.nan, b=1.0)) is None, "another check tells"


def test_the_best_of_a_golden_order_is_one_of_its_documents() -> None:
    check = TASKS["reranker"].golden_kinds["orders"].check
    documents = ["c", "d"]
    assert check({"best": 1, "documents": documents}) is None
    assert (
        check({"best": 2, "documents": documents}) == "best is 2, and there are 2 documents, from 0"
    )


def test_without_a_spread_any_difference_is_the_greatest() -> None:
    flat = logits(a=1.0, b=1.0, c=1.0)
    assert compare(flat, flat, ASK, 0.05).value == 0.0
    assert compare(flat, logits(a=1.1, b=1.0, c=1.0), ASK, 0.05).value == 1.0


def test_what_is_not_finite_agrees_with_nothing() -> None:
    for wrong in (math.nan, math.inf):
        found = compare(RIGHT, logits(a=4.0, b=2.0, c=wrong), ASK, 0.05)
        assert found == Agreement(finite=False, value=1.0)


@pytest.mark.parametrize(("gap", "moved"), [(3e-4, 0), (5e-4, 1), (math.nan, 1)])
def test_a_sentinels_logit_may_move_by_sums_in_another_order_alone(gap: float, moved: int) -> None:
    assert len(questions().moved(logits(a=4.0 + gap), RIGHT)) == moved
