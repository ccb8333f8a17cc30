"""Agreement: how a converted model's answers are held against those of the original weights."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prep.tasks.question_sets import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A task's measure of agreement. Its bounds stand in the task's questions, by precision.

    `compare(original, converted, ask)` gets two models as the probe loads them, in a child process,
    and gives ``finite`` (whether all answers were numbers), ``agreement`` and, where answers can
    mean something else, ``contradictions``. `at_most`: the less, the better.
    """

    sentence: str
    label: str  # in a word, for the page
    compare: Callable[[Any, Any, Ask], dict[str, Any]]
    at_most: bool = False

    def problem(self, agreement: float, bound: float) -> str | None:
        """What is wrong where the bound is not kept; NaN keeps none."""
        if agreement <= bound if self.at_most else agreement >= bound:
            return None
        wanted = "at most" if self.at_most else "at least"
        return f"{self.sentence} is {agreement:.4f}, wanted {wanted} {bound}"

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
