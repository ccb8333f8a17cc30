"""A model's word is the truth of its tests, and nothing weaker ever replaces it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from prep.report.run_report import CheckReport, Counts, ModelReport, Status, first_line
from prep.report.verdict import Failure, ModelRun, Outcome, judge, merged
from tests.support.reports import model_report

ALL = frozenset({"test_pins", "test_bytes"})


def run(*outcomes: Outcome, **facts: Any) -> ModelRun:
    """A run in which each of the two tests came out so, as far as outcomes are given."""
    return ModelRun(tests=dict(zip(sorted(ALL), outcomes, strict=False)), facts=facts)


@pytest.mark.parametrize(
    ("outcomes", "facts", "status"),
    [
        (("passed", "passed"), {}, "ready"),
        (("passed", "passed"), {"repaired": ["corrupt config.json"]}, "repaired"),
        (("passed", "passed"), {"repaired": []}, "ready"),
        (("passed", "failed"), {}, "failed"),
        (("failed", "transient"), {"repaired": ["x"]}, "failed"),
        (("passed", "transient"), {}, "transient"),
        (("transient", "not run"), {}, "transient"),
        (("passed",), {}, "unchecked"),
        (("passed", "not run"), {"repaired": ["x"]}, "unchecked"),
        ((), {}, "unchecked"),
        (("failed",), {}, "failed"),
    ],
    ids=str,
)
def test_one_word_for_a_model(
    outcomes: tuple[Outcome, ...], facts: dict[str, Any], status: Status
) -> None:
    assert judge(run(*outcomes, **facts), ALL) == status


@pytest.mark.parametrize(
    "expected", [None, frozenset(), {"test_other", "test_pins"}], ids=["unknown", "none", "others"]
)
def test_no_verdict_where_another_test_was_expected_or_nobody_knows(
    expected: frozenset[str] | None,
) -> None:
    assert judge(run("passed", "passed"), expected) == "unchecked"


def test_a_test_more_than_were_expected_changes_nothing() -> None:
    assert judge(run("passed", "passed"), {"test_pins"}) == "ready"
    assert judge(run("passed", "failed"), {"test_bytes"}) == "failed"


@pytest.mark.parametrize("before", ["ready", "repaired", "failed", "transient"])
def test_an_unchecked_run_never_replaces_a_verdict_of_the_same_entry(before: Status) -> None:
    earlier = model_report(before)
    assert merged(earlier, model_report("unchecked")) is earlier


UNCHECKED = model_report("unchecked")


@pytest.mark.parametrize(
    ("earlier", "fresh"),
    [
        (None, UNCHECKED),
        (model_report("ready"), model_report("failed")),
        (model_report("failed"), model_report("ready")),
        (UNCHECKED, model_report("unchecked")),
        (replace(model_report(), entry="b" * 64), UNCHECKED),
        (replace(model_report(), home="/other"), UNCHECKED),
        (replace(model_report(), asked="b" * 64), UNCHECKED),
        (replace(model_report(), wanted_precisions=("fp16",)), UNCHECKED),
        (replace(model_report(), wanted_consumers=("transformers",)), UNCHECKED),
    ],
)
def test_every_other_run_replaces_what_was(earlier: ModelReport | None, fresh: ModelReport) -> None:
    assert merged(earlier, fresh) is fresh


LONG = "tiny is not what the lock says in hub/models--acme--tiny/snapshots/c0ffee (2 problems):"


def test_failures_that_differ_in_the_load_alone_are_one_cause() -> None:
    made = ModelRun(checks={"a": "x access", "b": "x access", "c": "y access", "d": "y answers"})
    for test, load in (("a", "x:name"), ("b", "x:path"), ("c", "y:path")):
        text = f"crashed: tiny: loading by {load}: killed by signal 11."
        made.fail(test, Failure(error="ChildCrashed", text=text, transient=False), load)
    behind = Failure(error="ChildCrashed", text="not reached: x", transient=False, reached=False)
    made.fail("d", behind, "y:path")
    [cause] = made.causes.values()
    assert (cause.checks, cause.tests) == (("x access", "y access"), ("a", "b", "c"))
    assert (cause.kind, cause.error) == ("permanent", "ChildCrashed")
    assert cause.line == "crashed: tiny: loading by x:name: killed by signal 11."
    assert set(made.loads) == {"x:name", "x:path", "y:path"}
    assert judge(made, ALL) == "failed"
    reports = made.reports()
    assert [(name, check.failed, check.not_reached) for name, check in reports.items()] == [
        ("x access", 2, 0),
        ("y access", 1, 0),
        ("y answers", 0, 1),
    ]
    assert (reports["x access"].cause, reports["y answers"].cause) == (cause.line, "not reached: x")


def test_a_check_counts_what_became_of_each_of_its_tests() -> None:
    """A transient failure counts among those that failed; seconds are given in milliseconds."""
    checks = json.loads(json.dumps({**dict.fromkeys("abcdefg", "x access"), "z": "y access"}))
    made = ModelRun(checks=checks, seconds={"x access": 1.23456})
    made.tests = {"a": "passed", "b": "not tried", "c": "passed", "z": "passed"}
    for test in "def":
        made.fail(test, Failure(error="Failed", text="tiny: wrong", transient=False))
    made.fail("g", Failure(error="HubUnreachable", text="hub unreachable: x", transient=True))
    own, other = made.reports().values()
    assert own == CheckReport(
        passed=2, failed=4, not_reached=0, not_tried=1, seconds=1.235, cause="tiny: wrong"
    )
    assert other == CheckReport(
        passed=1, failed=0, not_reached=0, not_tried=0, seconds=0.0, cause=None
    )


def test_two_faults_are_two_causes_and_what_is_not_reached_counts_as_failed() -> None:
    made = ModelRun()
    for test in ("a", "b"):
        made.fail(test, Failure(error="Failed", text=f"tiny: {test} is wrong", transient=False))
    assert [cause.line for cause in made.causes.values()] == [
        "tiny: a is wrong",
        "tiny: b is wrong",
    ]
    behind = ModelRun()
    text = "not reached: hub unreachable: tiny"
    behind.fail("a", Failure(error="HubUnreachable", text=text, transient=True, reached=False))
    assert (behind.causes, judge(behind, ALL)) == ({}, "transient")
    assert behind.counts(behind.tests) == Counts(passed=0, failed=0, not_reached=1, not_tried=0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tiny: wrong\nand more", "tiny: wrong"),
        (f"tiny: {'x' * 60}. {'y' * 80}. z", f"tiny: {'x' * 60}."),
        (f"tiny: {'x' * 200}", f"tiny: {'x' * 113}…"),
        (
            f"{LONG}\n  corrupt  config.json  (other)\n  missing  x",
            f"{LONG[:59]}…: corrupt config.json (other)",
        ),
    ],
    ids=["its first line", "its first sentence", "cut", "a list"],
)
def test_a_cause_is_one_short_line(text: str, line: str) -> None:
    assert first_line(text) == line
    assert len(line) <= 120
