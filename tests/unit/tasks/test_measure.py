"""Bounds of agreement are kept by numbers only."""

import math

import pytest

from prep.tasks.measure import Agreement, Measure, cosine, largest_gap, rounded


def measure(at_most: bool) -> Measure:
    exact = Agreement(finite=True, value=0.0 if at_most else 1.0)
    return Measure(sentence="the gap", label="gap", compare=lambda *_: exact, at_most=at_most)


@pytest.mark.parametrize(
    ("at_most", "value", "problems"),
    [
        (False, 0.99, []),
        (False, 0.98, ["the gap is 0.9800, wanted at least 0.99"]),
        (False, math.nan, ["the gap is nan, wanted at least 0.99"]),
        (True, 0.99, []),
        (True, 1.0, ["the gap is 1.0000, wanted at most 0.99"]),
        (True, math.nan, ["the gap is nan, wanted at most 0.99"]),
    ],
)
def test_a_bound_is_kept_or_named(at_most: bool, value: float, problems: list[str]) -> None:
    assert measure(at_most).problems(Agreement(finite=True, value=value), 0.99) == problems


def test_the_bound_of_bfloat16_is_coarser_by_the_bits_that_it_lacks() -> None:
    shares, gaps = {"fp32": 0.99999, "fp16": 0.9995}, {"fp32": 1e-4, "fp16": 1e-3}
    assert measure(at_most=False).bound(shares, "fp16") == 0.9995
    assert measure(at_most=False).bound(shares, "bf16") == pytest.approx(0.996)
    assert measure(at_most=True).bound(gaps, "bf16") == pytest.approx(8e-3)


@pytest.mark.parametrize(
    ("some", "others", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([], [], 0.0),
        ([1.0], [], math.inf),
        ([math.nan], [1.0], math.inf),
    ],
)
def test_a_gap_is_the_greatest_and_what_cannot_be_compared_is_infinitely_far(
    some: list[float], others: list[float], gap: float
) -> None:
    assert largest_gap(some, others) == gap


def test_the_difference_is_none_where_all_is_the_same() -> None:
    assert measure(at_most=False).difference(1.0) == measure(at_most=True).difference(0.0) == 0.0


def test_a_cosine_is_that_of_vectors_of_one_length() -> None:
    assert cosine([1.0, 0.0], [2.0, 0.0]) == 1.0
    assert cosine([1.0, 0.0], [0.0, 0.0]) == 0.0
    with pytest.raises(ValueError, match="zip"):
        cosine([1.0], [1.0, 0.0])


def test_what_json_does_not_know_is_null() -> None:
    assert [rounded(number) for number in (0.123456, math.nan, -math.inf)] == [0.1235, None, None]
