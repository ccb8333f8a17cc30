"""A model's word is the truth of its tests, and nothing weaker ever replaces it."""

from typing import Any

import pytest

from prep.report.verdict import ModelRun, Outcome, Status, judge, merged

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


@pytest.mark.parametrize("expected", [None, frozenset(), {"test_other", "test_pins"}], ids=str)
def test_no_verdict_where_another_test_was_expected_or_nobody_knows(
    expected: frozenset[str] | None,
) -> None:
    assert judge(run("passed", "passed"), expected) == "unchecked"


@pytest.mark.parametrize("before", ["ready", "repaired", "failed", "transient"])
def test_an_unchecked_run_never_replaces_a_verdict_of_the_same_entry(before: str) -> None:
    earlier = {"status": before, "entry": "e1"}
    assert merged(earlier, {"status": "unchecked", "entry": "e1"}) is earlier


@pytest.mark.parametrize(
    ("earlier", "fresh"),
    [
        (None, {"status": "unchecked", "entry": "e1"}),
        ({"status": "ready", "entry": "e1"}, {"status": "failed", "entry": "e1"}),
        ({"status": "failed", "entry": "e1"}, {"status": "ready", "entry": "e1"}),
        ({"status": "unchecked", "entry": "e1"}, {"status": "unchecked", "entry": "e1", "at": 2}),
        ({"entry": "e1"}, {"status": "unchecked", "entry": "e1"}),
        *(
            ({"status": "ready", key: "one"}, {"status": "unchecked", key: "other"})
            for key in ("entry", "home", "wanted-precisions", "wanted-consumers")
        ),
    ],
    ids=str,
)
def test_every_other_run_replaces_what_was(
    earlier: dict[str, Any] | None, fresh: dict[str, Any]
) -> None:
    assert merged(earlier, fresh) is fresh
