"""Agreement: how a converted model's answers are held against those of the original weights."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prep.tasks.precisions import bound
from prep.tasks.question_sets import Ask

Facts = Mapping[str, Any]
"""What the probe says of one load: its answers among other things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How answers differ from the reference's: `value` in the task's own measure.

    `contradictions` are answers that mean something else.
    """

    finite: bool
    value: float
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A task's measure of agreement. Its bounds stand in the task's questions, by precision.

    `compare(reference, answers, ask, bound)` gets what the probe answered to the same questions.
    `at_most`: the less, the better.
    """

    sentence: str
    label: str  # in a word, for the page
    compare: Callable[[Facts, Facts, Ask, float], Agreement]
    at_most: bool = False

    def bound(self, table: Mapping[str, float], precision: str) -> float:
        """The bound of a precision, or of the type in which original weights are published."""
        return bound(table, precision, best=0.0 if self.at_most else 1.0)

    def problems(self, agreement: Agreement, bound: float) -> list[str]:
        """What is wrong where the bound is not kept; NaN keeps none."""
        if not agreement.finite:
            return ["answers hold NaN or infinity"]
        value = agreement.value
        if not (value <= bound if self.at_most else value >= bound):
            wanted = "at most" if self.at_most else "at least"
            return [f"{self.sentence} is {value:.4f}, wanted {wanted} {bound:g}"]
        return list(agreement.contradictions)

    def difference(self, agreement: float) -> float:
        """How far from the original: 0 where there is no difference."""
        return agreement if self.at_most else 1 - agreement


def cosine(vector: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors; one of zeros only is like no other."""
    dot = sum(a * b for a, b in zip(vector, other, strict=True))
    lengths = math.hypot(*vector) * math.hypot(*other)
    return dot / lengths if lengths else 0.0


def largest_gap(some: Sequence[float], others: Sequence[float]) -> float:
    """The greatest difference of two rows of numbers; NaN, or another length, is infinitely far."""
    if len(some) != len(others):
        return math.inf
    gaps = [abs(a - b) for a, b in zip(some, others, strict=True)]
    return math.inf if any(map(math.isnan, gaps)) else max(gaps, default=0.0)


def all_finite(numbers: Iterable[float]) -> bool:
    """Whether none is NaN or infinite."""
    return all(map(math.isfinite, numbers))


def rounded(number: float) -> float | None:
    """For reports: four digits, None for what JSON does not know."""
    return round(number, 4) if math.isfinite(number) else None
