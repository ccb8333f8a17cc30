"""How judges speak: got, wanted and what to do, all problems of a kind in one list."""

import math
from collections.abc import Iterable, Sequence

import pytest

from prep.errors import listing


def none_of(problems: Iterable[object], head: str, remedy: str) -> None:
    """Fail with the whole list where there is any problem; the message stands without traceback."""
    found = [str(problem) for problem in problems]
    if found:
        pytest.fail(f"{listing(head, found)}\n{remedy}", pytrace=False)


def farthest(got: Sequence[float], wanted: Sequence[float]) -> float:
    """The greatest difference of a component; NaN counts as infinitely far."""
    far = [abs(a - b) for a, b in zip(got, wanted, strict=True)]
    return math.inf if any(math.isnan(one) for one in far) else max(far, default=0.0)


def norm(vector: Sequence[float]) -> float:
    """The Euclidean length."""
    return math.hypot(*vector)


def unit(vector: Sequence[float]) -> list[float]:
    """The vector at length 1; a zero vector stays as it is."""
    length = norm(vector)
    return [one / length for one in vector] if length else list(vector)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors."""
    return sum(a * b for a, b in zip(unit(one), unit(other), strict=True))
