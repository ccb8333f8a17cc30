"""The verdict: from what happened to each test of a model to one word. Pure."""

from collections.abc import Collection, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from prep.report.run_report import Cause, CheckReport, Counts, ModelReport, Status, first_line

Outcome = Literal["passed", "failed", "transient", "not tried", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a test failed: by a cause of its own, or by an earlier one, not `reached`."""

    error: str
    text: str
    transient: bool
    reached: bool = True

    @property
    def line(self) -> str:
        """What dashboards show."""
        return first_line(self.text)


@dataclass(slots=True)
class ModelRun:
    """One model in one run: what became of each of its tests, and what its stages reported.

    A test that an earlier failure kept from running is `not_reached`, and counts as that failure
    in `tests`. `checks` says of which check a test is, `seconds` how long each check took.
    """

    tests: dict[str, Outcome] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    not_reached: set[str] = field(default_factory=set)
    lines: dict[str, str] = field(default_factory=dict)
    loads: dict[str, str] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    # Failed attempts that were taken back, each with the number of the exchange it was judged by.
    retried: dict[str, int | None] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        """How many tests came out like that."""
        return list(self.tests.values()).count(outcome)

    def fail(self, test: str, failure: Failure, load: str = "") -> None:
        """Note a failure of a test; what differs only in the load is one cause."""
        self.tests[test] = "transient" if failure.transient else "failed"
        self.lines[test] = failure.line
        if load:
            self.loads.setdefault(load, failure.line)
        if not failure.reached:
            self.not_reached.add(test)
            return
        key = f"{failure.error} {failure.text.replace(load, '…') if load else failure.text}"
        cause = self.causes.get(key) or Cause(
            kind="transient" if failure.transient else "permanent",
            error=failure.error,
            line=failure.line,
            text=failure.text,
            checks=(),
            tests=(),
        )
        checks = tuple(dict.fromkeys((*cause.checks, self.checks.get(test, "other"))))
        self.causes[key] = replace(cause, checks=checks, tests=(*cause.tests, test))

    def counts(self, tests: Collection[str]) -> Counts:
        """How these tests came out."""
        reached = [self.tests[test] for test in tests if test not in self.not_reached]
        return Counts(
            passed=reached.count("passed"),
            failed=reached.count("failed") + reached.count("transient"),
            not_reached=len(self.not_reached.intersection(tests)),
            not_tried=reached.count("not tried"),
        )

    def reports(self) -> dict[str, CheckReport]:
        """Its tests by check."""
        made: dict[str, CheckReport] = {}
        for check in sorted(dict.fromkeys(self.checks.values()), key=_rank):
            tests = [test for test, of in self.checks.items() if of == check and test in self.tests]
            failed = [test for test in tests if test in self.lines]
            failed.sort(key=self.not_reached.__contains__)  # its own cause before an earlier one's
            made[check] = CheckReport(
                **asdict(self.counts(tests)),
                seconds=round(self.seconds.get(check, 0.0), 3),
                cause=self.lines[failed[0]] if failed else None,
            )
        return made


def _rank(check: str) -> int:
    """Where a check stands in reports."""
    words = ("pins", "layout", "conversion", "access", "answers")
    return next((place for place, word in enumerate(words) if word in check.split()), len(words))


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


def merged(earlier: ModelReport | None, fresh: ModelReport) -> ModelReport:
    """What the summary keeps of a model: an unchecked run never replaces an earlier verdict of
    the same lock entry, home, precisions, consumers and questions."""
    same = (
        earlier is not None
        and earlier.asked in (None, fresh.asked)
        and (
            (earlier.entry, earlier.home, earlier.wanted_precisions, earlier.wanted_consumers)
            == (fresh.entry, fresh.home, fresh.wanted_precisions, fresh.wanted_consumers)
        )
    )
    if earlier and same and fresh.status == "unchecked" and earlier.status != "unchecked":
        return earlier
    return fresh
