"""Bounds of agreement are kept by numbers only."""

import math

import pytest

from prep.tasks.measure import Measure, cosine, rounded


def measure(at_most: bool) -> Measure:
    return Measure(sentence="the gap", label="gap", compare=lambda *given: {}, at_most=at_most)


@pytest.mark.parametrize(
    ("at_most", "agreement", "problem"),
    [
        (False, 0.99, None),
        (False, 0.98, "the gap is 0.9800, wanted at least 0.99"),
        (False, math.nan, "the gap is nan, wanted at least 0.99"),
        (True, 0.99, None),
        (True, 1.0, "the gap is 1.0000, wanted at most 0.99"),
        (True, math.nan, "the gap is nan, wanted at most 0.99"),
    ],
)
def test_a_bound_is_kept_or_named(at_most: bool, agreement: float, problem: str | None) -> None:
    assert measure(at_most).problem(agreement, 0.99) == problem


def test_the_difference_is_none_where_all_is_the_same() -> None:
    assert measure(at_most=False).difference(1.0) == measure(at_most=True).difference(0.0) == 0.0


def test_a_cosine_is_that_of_vectors_of_one_length() -> None:
    assert cosine([1.0, 0.0], [2.0, 0.0]) == 1.0
    assert cosine([1.0, 0.0], [0.0, 0.0]) == 0.0
    with pytest.raises(ValueError, match="zip"):
        cosine([1.0], [1.0, 0.0])


def test_what_json_does_not_know_is_null() -> None:
    assert [rounded(number) for number in (0.123456, math.nan, -math.inf)] == [0.1235, None, None]
