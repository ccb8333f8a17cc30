"""Whether a model puts the right text first, judged without the scale of its scores.

Each question is answered by one score for the right text and one or more for others. Random scores
put the right one first with a chance that is known, so how many misses may be allowed is computed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

# So many of all models that answer at random may pass.
PASSED_AT_RANDOM = 0.01
# However little chance there is, no more of the questions may be missed: what misses more does not
# put the right text first "in nearly all". The least count of questions then allows two.
MOST_MISSED = 1 / 6
# Two scores that differ by less, of the greatest, are tied: float32 sums in another order move them
# by 3e-7.
NOISE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The scores of one question: `right` should be the greatest."""

    question: str
    right: float
    others: Sequence[float]

    @property
    def lead(self) -> float:
        """How far the right text stands above the best other."""
        return self.right - max(self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """All questions, and the scores whose standard deviation is the unit of `margin`."""

    rows: Sequence[Row]
    spread_of: Sequence[float]

    def problems(self, least_margin: float) -> list[str]:
        """Why these could be the scores of a model that answers at random; none if they could not.

        Ties are no contradictions: as in a sign test they are left out, and fewer misses allowed.
        """
        tie = NOISE * max(map(abs, self.spread_of))
        decided = [row for row in self.rows if not abs(row.lead) <= tie]  # NaN is no tie
        missed = [row for row in decided if not row.lead > 0]
        allowed = allowed_misses([1 + len(row.others) for row in decided])
        found = []
        if len(missed) > allowed:
            found = [
                f"{row.question!r}: right {row.right:.3f}, best other {max(row.others):.3f}"
                for row in missed
            ]
            limit = f"at most {allowed} may be" if allowed >= 0 else "too few to tell"
            tied = len(self.rows) - len(decided)
            ties = f" ({tied} more are tied)" if tied else ""
            found.append(f"{len(missed)} of {len(decided)} are in the wrong order{ties}, {limit}")
        if not self.margin >= least_margin:
            found.append(
                f"the right texts stand {self.margin:.2f} standard deviations of all scores above "
                f"the best others on average, wanted at least {least_margin}"
            )
        return found

    @property
    def right(self) -> float:
        """The share of the questions whose right text comes first."""
        return fmean(row.lead > 0 for row in self.rows)

    @property
    def margin(self) -> float:
        """The mean lead in standard deviations of all scores; 0 where all are the same."""
        if not all(map(math.isfinite, self.spread_of)):
            return math.nan
        spread = pstdev(self.spread_of)
        return fmean(row.lead for row in self.rows) / spread if spread else 0.0


def allowed_misses(alternatives: Sequence[int]) -> int:
    """How many questions a model may miss; -1 where there are too few to tell it from chance.

    `alternatives` are how many texts each question has. Random scores put the right one of n first
    with the chance 1/n; the chance of each number of misses is then exact (Poisson binomial).
    """
    chances = [1.0]  # of 0, 1, … misses
    for count in alternatives:
        hit = 1 / count
        chances = [
            same * hit + fewer * (1 - hit)
            for same, fewer in zip([*chances, 0.0], [0.0, *chances], strict=True)
        ]
    most = math.floor(len(alternatives) * MOST_MISSED)
    allowed, passed = -1, 0.0
    for misses, chance in enumerate(chances[: most + 1]):
        passed += chance
        if passed >= PASSED_AT_RANDOM:
            break
        allowed = misses
    return allowed
