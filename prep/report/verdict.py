"""The verdict: from what happened to each test of a model to one word. Pure."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "failed", "transient", "not tried", "not run"]
Status = Literal["ready", "repaired", "failed", "transient", "unchecked"]


@dataclass(slots=True)
class ModelRun:
    """One model in one run: what became of each of its tests, and what its stages reported."""

    tests: dict[str, Outcome] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    not_reached: int = 0
    # Failed attempts that were taken back, each with the number of the exchange it was judged by.
    retried: dict[str, int | None] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        """How many tests came out like that."""
        return sum(test == outcome for test in self.tests.values())


def judge(run: ModelRun, expected: Set[str] | None) -> Status:
    """The status of a model. `expected`: every test the suite has for it; None if unknown.

    One failed test makes it failed; failures that are all transient make it transient; a
    verdict needs every test, but for loads that this machine cannot make.
    """
    if run.count("failed"):
        return "failed"
    if run.count("transient"):
        return "transient"
    judged = {name for name, outcome in run.tests.items() if outcome in ("passed", "not tried")}
    if not expected or not expected <= judged or not run.count("passed"):
        return "unchecked"
    return "repaired" if run.facts.get("repaired") else "ready"


# What must be equal for an earlier verdict to speak of the same thing.
SAME = ("entry", "home", "wanted-precisions", "wanted-consumers")


def merged(earlier: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the summary keeps of a model: an unchecked run never replaces an earlier verdict of
    the same lock entry."""
    if (
        earlier is not None
        and entry["status"] == "unchecked"
        and earlier.get("status") not in (None, "unchecked")
        and all(earlier.get(key) == entry.get(key) for key in SAME)
    ):
        return earlier
    return entry
