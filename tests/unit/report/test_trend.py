"""A fall of agreement is a warning, and a model that failed names what differs."""

from dataclasses import replace

import pytest

from prep.machine.machine import Machine
from prep.report.history import Line
from prep.report.run_report import GREEN, LastReady, ModelReport, Status
from prep.report.trend import COMPARED, FLOOR, RECENT, differences, falls, last_ready
from tests.support.reports import history_line as line_of
from tests.support.reports import model_report


def now(agreement: float) -> ModelReport:
    """A report with that agreement; the bound is 0.99, so the allowed difference is 0.01."""
    model = model_report()
    return replace(
        model, precisions={"int8": replace(model.precisions["int8"], agreement=agreement)}
    )


def line(agreement: float, status: Status = "ready", **more: object) -> Line:
    entry = model_report().entry
    return line_of(status, entry=entry, agreement={"int8": agreement}, **more)


STEADY = [line(0.9990 + number * 0.0001) for number in range(5)]  # a spread of 0.0004


@pytest.mark.parametrize(
    ("agreement", "fell"),
    [(0.9992, False), (0.9989, False), (0.9987, True), (0.98, True), (1.0, False)],
)
def test_a_fall_is_more_than_what_was_usual(agreement: float, fell: bool) -> None:
    assert bool(falls("tiny", now(agreement), STEADY)) is fell


def test_the_same_number_again_and_again_has_a_floor() -> None:
    steady = [line(0.999)] * COMPARED
    allowed = FLOOR * 0.01
    assert falls("tiny", now(0.999 - 0.9 * allowed), steady) == {}
    assert falls("tiny", now(0.999 - 1.1 * allowed), steady) == {
        "int8": (
            "agreement of int8 fell: the lowest cosine to the PyTorch original is "
            f"{0.999 - 1.1 * allowed}, and was 0.999 to 0.999 in the last 10 ready runs; the bound "
            "is 0.99. Compare versions and machine with those runs."
        )
    }


@pytest.mark.parametrize(
    "past",
    [
        [],
        STEADY[:2],
        [replace(line, model="other") for line in STEADY],
        [replace(line, entry="b" * 64) for line in STEADY],
        [replace(line, status="failed") for line in STEADY],
        [replace(line, fell=("int8",)) for line in STEADY],
        [*STEADY, *[replace(line(0.98), fell=("int8",))] * RECENT],
    ],
    ids=["none", "too few", "another model", "another entry", "failed", "fallen", "long ago"],
)
def test_other_runs_are_not_compared_with(past: list[Line]) -> None:
    assert falls("tiny", now(0.98), past) == {}


def test_a_fall_is_told_again_every_night() -> None:
    past = list(STEADY)
    for _ in range(12):
        assert falls("tiny", now(0.995), past)
        past.append(replace(line(0.995), fell=("int8",)))
    assert falls("tiny", now(0.9992), past) == {}


def test_a_greater_difference_is_a_fall_too() -> None:
    """The reranker's measure: the less, the better."""
    model = replace(now(0.02), task="reranker")
    past = [line(0.01)] * 4
    bound = replace(model.precisions["int8"], agreement_bound=0.05)
    assert falls("tiny", replace(model, precisions={"int8": bound}), past)
    better = replace(bound, agreement=0.001)
    assert falls("tiny", replace(model, precisions={"int8": better}), past) == {}


BEFORE = LastReady(
    at="2026-01-01T00:00:00+00:00",
    entry=model_report().entry,
    commit=model_report().commit,
    precisions=("int8",),
    consumers=None,
    versions={"torch": "2.0"},
    machine=model_report().machine,
)


def test_nothing_differs_from_itself() -> None:
    assert differences(BEFORE, model_report()) == []


def test_all_that_differs_is_named() -> None:
    here = model_report().machine
    assert here is not None
    other = replace(
        BEFORE,
        entry="b" * 64,
        commit="d" * 40,
        precisions=("fp16",),
        consumers=("transformers",),
        versions={"torch": "1", "optimum": "2"},
        machine=Machine(processor="x", cores=here.cores, kernel="1", python=here.python),
    )
    assert differences(other, model_report()) == [
        f"lock: commit {'d' * 40} → {BEFORE.commit}",
        "catalogue: precisions fp16 → int8",
        "catalogue: consumers transformers → all",
        "version: optimum 2 → none",
        "version: torch 1 → 2.0",
        f"machine: processor x → {here.processor}",
        f"machine: kernel 1 → {here.kernel}",
    ]
    files = replace(BEFORE, entry="b" * 64)
    assert differences(files, model_report()) == [
        f"lock: commit {BEFORE.commit}, other files or terms"
    ]


def test_versions_are_those_of_this_environment_where_nothing_was_loaded() -> None:
    [line] = differences(BEFORE, model_report(versions={}))
    assert line.startswith("version: torch 2.0 → 2.")


@pytest.mark.parametrize("status", GREEN)
def test_where_it_was_last_ready_is_remembered(status: Status) -> None:
    before = last_ready(model_report(status))
    assert before == replace(BEFORE, at=model_report().at)
    assert last_ready(replace(model_report("failed"), last_ready=before)) == before
    assert last_ready(None) is None
