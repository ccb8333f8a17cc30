"""Order and margin: how many misses may be allowed, and what scores drawn at random reach."""

import math
import random
from collections.abc import Sequence

import pytest

from prep.tasks.ordering import PASSED_AT_RANDOM, Ordering, Row, allowed_misses


def ordering_of(leads: Sequence[float], spread_of: Sequence[float] = (-1.0, 1.0)) -> Ordering:
    """Questions of two texts, the right one so far above the other."""
    rows = [
        Row(question=f"q{number}", right=lead, others=(0.0,)) for number, lead in enumerate(leads)
    ]
    return Ordering(rows=rows, spread_of=spread_of)


@pytest.mark.parametrize(
    ("alternatives", "allowed"),
    [
        ([], -1),
        ([2] * 6, -1),  # in order by chance once in 64 times
        ([2] * 7, 0),
        ([2] * 10, 0),
        ([2] * 12, 1),
        ([2] * 24, 4),
        ([4] * 3, -1),
        ([4] * 4, 0),
        ([4] * 12, 2),  # by chance alone it could be 4, but that would not be nearly all
        ([2] * 6 + [4] * 6, 2),
    ],
    ids=str,
)
def test_allowed_misses_follow_from_the_number_of_questions_and_texts(
    alternatives: list[int], allowed: int
) -> None:
    assert allowed_misses(alternatives) == allowed


@pytest.mark.parametrize("texts", [2, 3, 4, 8])
def test_random_answers_pass_in_less_than_one_of_a_hundred_models(texts: int) -> None:
    """Counted by another way than the product's: every number of misses has its binomial."""
    for questions in range(40):
        allowed, hit = allowed_misses([texts] * questions), 1 / texts
        passed = sum(
            math.comb(questions, misses) * (1 - hit) ** misses * hit ** (questions - misses)
            for misses in range(allowed + 1)
        )
        assert passed < PASSED_AT_RANDOM
        assert allowed <= questions / 6


def test_scores_drawn_at_random_hardly_ever_pass() -> None:
    draw = random.Random(0)
    passed = 0
    for _ in range(2000):
        rows = [
            Row(question="q", right=draw.gauss(), others=[draw.gauss() for _ in range(texts)])
            for texts in [1] * 12
        ]
        scores = [score for row in rows for score in (row.right, *row.others)]
        passed += not Ordering(rows=rows, spread_of=scores).problems(1.0)
    assert passed < 20


def test_one_miss_of_twelve_is_allowed_and_two_are_named() -> None:
    assert ordering_of([2.0] * 11 + [-0.5]).problems(1.0) == []
    assert ordering_of([2.0] * 10 + [-0.5, -0.25]).problems(1.0) == [
        "'q10': right -0.500, best other 0.000",
        "'q11': right -0.250, best other 0.000",
        "2 of 12 are in the wrong order, at most 1 may be",
    ]


def test_ties_are_left_out_and_fewer_misses_allowed() -> None:
    tie = 1e-7
    assert ordering_of([2.0] * 10 + [-tie, tie]).problems(1.0) == []
    assert ordering_of([2.0] * 9 + [-2.0, -tie, tie]).problems(1.0) == [
        "'q9': right -2.000, best other 0.000",
        "1 of 10 are in the wrong order (2 more are tied), at most 0 may be",
    ]
    assert ordering_of([9.0] * 6 + [tie] * 6).problems(1.0) == [
        "0 of 6 are in the wrong order (6 more are tied), too few to tell"
    ]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_neither_scale_nor_shift_of_the_scores_counts(scale: float, shift: float) -> None:
    scores = [scale * (number + 10 * shift) for number in range(4)]
    rows = [Row(question="q", right=scores[3], others=scores[:3]) for _ in range(12)]
    ordering = Ordering(rows=rows, spread_of=scores)
    assert ordering.margin == pytest.approx(1 / math.sqrt(1.25))
    assert ordering.problems(0.5) == []
    assert len(ordering.problems(1.0)) == 1


def test_a_margin_that_is_small_for_the_spread_is_told() -> None:
    assert ordering_of([0.25] * 12).problems(1.0) == [
        (
            "the right texts stand 0.25 standard deviations of all scores above the best others on "
            "average, wanted at least 1.0"
        )
    ]


def test_scores_that_are_all_the_same_tell_nothing() -> None:
    assert ordering_of([0.0] * 12, [0.5] * 24).problems(1.0) == [
        "0 of 0 are in the wrong order (12 more are tied), too few to tell",
        (
            "the right texts stand 0.00 standard deviations of all scores above the best others on "
            "average, wanted at least 1.0"
        ),
    ]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_in_no_order(wrong: float) -> None:
    rows = [Row(question="q", right=wrong, others=(0.0,)) for _ in range(12)]
    ordering = Ordering(rows=rows, spread_of=[wrong, 0.0])
    assert math.isnan(ordering.margin)
    assert ordering.problems(1.0) != []
