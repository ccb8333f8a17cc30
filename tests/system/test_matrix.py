"""The rows of the matrix that need no load, in one run; and the table is complete.

``make matrix`` runs them all, with loads, answers and repairing.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from model_tests import test_cache_layout, test_conversion, test_pins
from prep.catalogue.entries import read_catalogue
from prep.catalogue.lock import read_lock
from tests.proofs.matrix.answers import AGREEMENT, JUDGES, LOADS
from tests.proofs.matrix.row import WITHOUT_LOADS, Row, Target, is_cheap, nothing
from tests.proofs.matrix.rows import ROWS
from tests.proofs.matrix.runner import CHEAP, SOURCE, Runner, slug
from tests.proofs.matrix.verdict import Finding, Outcome, judged
from tests.support.paths import ROOT
from tests.support.real_loads import judges_of
from tests.support.runs import SAMPLE, TINY
from tests.support.small_homes import flip

# One model is enough here, and what needs a home of its own is a run of its own.
FEW = [row for row in ROWS if is_cheap(row) and "embedding" in row.tasks]
SHARED = [row for row in FEW if row.scope == "model" and row.expect == "failed"]
ALONE = [row for row in FEW if row.expect == "exit 4"][::7]

# What no home shows by itself, or not every time: where each of these is shown failing instead.
JUDGES_TESTS = ROOT / "tests" / "unit" / "model_tests"
EMBEDDING, RERANKER, SEQ2SEQ = (JUDGES_TESTS / f"test_{task}.py" for task in JUDGES)
LOADING = JUDGES_TESTS / "test_offline_loading.py"
SHOWN_ELSEWHERE = {
    # What the lock does not answer is exit 4 before any test: the rows of the lock.
    "test_lock_answers_the_catalogue": Path(__file__),
    # What only another place, name, user or mount shows: docs/consumers.md.
    "test_access_gives_the_same_answers": JUDGES_TESTS / "test_access.py",
    # A consumer that differs from the original by itself: of ours, none does.
    "test_answers_agree_with_the_original": JUDGES_TESTS / "test_agreement.py",
    "test_answers_agree_as_a_service_runs_it": JUDGES_TESTS / "test_agreement.py",
    "test_requests_at_once_are_answered_as_one": JUDGES_TESTS / "test_agreement.py",
    # Libraries that misbehave: ours do not.
    "test_consumer_reaches_for_no_network": LOADING,
    "test_consumer_reads_the_converted_folder": LOADING,
    "test_consumer_writes_nothing": LOADING,
    "test_answers_are_the_same_again_and_in_a_batch": EMBEDDING,
    "test_pipeline_is_the_repositorys": EMBEDDING,
    "test_answers_are_the_same_again": SEQ2SEQ,
    "test_scores_are_the_activation_of_the_logits": RERANKER,
    # What is so wrong is no conversion any more, which is seen first.
    "test_every_answer_is_a_vector": EMBEDDING,
    "test_every_answer_is_a_number": RERANKER,
    "test_every_answer_is_a_text": SEQ2SEQ,
    "test_one_logit_a_pair": RERANKER,
    "test_answers_come_to_an_end": SEQ2SEQ,
    # Beside the tokens of the same rows.
    "test_vocabulary_is_the_published": SEQ2SEQ,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Finding]:
    """What became of every row that is tried here."""
    source = set(judges_of(test_pins) | judges_of(test_cache_layout)) & set(WITHOUT_LOADS)
    source = {name for name in source if "converted" not in name and "receipt" not in name}
    rows: dict[tuple[str, ...], list[Row]] = {SOURCE: [*WRONG_ROWS], CHEAP: [*ALONE]}
    for row in SHARED:
        rows[SOURCE if source.issuperset((*row.seen_by, *row.may_see)) else CHEAP].append(row)
    found = {}
    for number, (judges, some) in enumerate(rows.items()):
        scratch = tmp_path_factory.mktemp(f"matrix-{number}")
        runner = Runner(scratch, model=TINY, judges=judges, repair=False)
        found |= {finding.row.name: finding for finding in runner.all(some)}
    return found


def doing(name: str, **more: object) -> Row:
    return Row(name=name, group="judge", file="model.safetensors", **more)  # type: ignore[arg-type]


def failing(target: Target) -> None:
    raise FileNotFoundError(f"{target.name} has no such file")


BYTES = ("test_source_is_what_the_lock_says",)
WRONG_ROWS = (
    doing("damage that fails", do=failing, seen_by=BYTES),
    doing("damage that fails alone", do=failing, expect="passed", scope="home"),
    doing("damaged beyond all", seen_by=BYTES, damage_repo=lambda folder: shutil.rmtree(folder)),
    doing("no damage at all", do=nothing, seen_by=BYTES),
    doing("seen by another", do=lambda p: flip(p.weights), seen_by=("test_name_leads_to_the_pin",)),
    doing("in other words", do=lambda p: flip(p.weights), seen_by=BYTES, words=("sorry",)),
    doing("called harmless", do=lambda p: flip(p.weights), expect="passed"),
    doing("really harmless", do=nothing, expect="passed"),
)


@pytest.mark.parametrize("row", [*SHARED, *ALONE], ids=lambda row: slug(row.name))
def test_damage_is_seen_by_its_own_check(found: Mapping[str, Finding], row: Row) -> None:
    finding = found[row.name]
    assert (finding.result, finding.why) == ("killed", "")


def test_matrix_tells_what_is_missed_and_what_is_a_false_alarm(
    found: Mapping[str, Finding],
) -> None:
    results = {row.name: (found[row.name].result, found[row.name].why) for row in WRONG_ROWS}
    why = results["seen by another"][1]
    assert why == "not seen by test_name_leads_to_the_pin, but by test_source_is_what_the_lock_says"
    assert results["no damage at all"] == ("missed", "nothing failed: exit 0, unchecked")
    assert results["in other words"][0] == "missed"
    assert results["in other words"][1].startswith(
        "the message lacks ['sorry']: in-other-words is "
    )
    assert results["called harmless"][0] == "false alarm"
    assert results["called harmless"][1].startswith(
        "test_source_is_what_the_lock_says: called-harml"
    )
    assert results["really harmless"] == ("accepted", "")
    why = "it could not be applied: FileNotFoundError('damage-that-fails has no such file')"
    assert results["damage that fails"] == ("missed", why)
    assert results["damage that fails alone"][0] == "false alarm"
    assert results["damage that fails alone"][1].startswith("it could not be applied: ")
    assert results["damaged beyond all"][0] == "missed"
    assert results["damaged beyond all"][1].startswith("could not be tried: ")


def test_every_judge_is_hit_by_a_row_or_named_with_a_reason() -> None:
    hit = {judge for row in ROWS for judge in row.seen_by}
    named = {
        *WITHOUT_LOADS,
        *LOADS,
        *AGREEMENT,
        *(judge for judges in JUDGES.values() for judge in judges),
    }
    assert named - hit == SHOWN_ELSEWHERE.keys()
    for judge, where in SHOWN_ELSEWHERE.items():
        name = judge.partition("[")[0]
        assert name in where.read_text(encoding="utf-8"), judge


def test_a_lock_of_an_earlier_wish_is_red() -> None:
    """Where another suite uses the judges, and configures without the check of the lock."""
    spec = next(iter(read_catalogue(SAMPLE).models))
    locked = read_lock(read_catalogue(SAMPLE).lock_path).models[0]
    test_pins.test_lock_answers_the_catalogue(spec, locked)
    with pytest.raises(AssertionError):
        test_pins.test_lock_answers_the_catalogue(replace(spec, revision="v1"), locked)


def test_levels_without_loads_are_listed_whole() -> None:
    modules = (test_pins, test_cache_layout, test_conversion)
    names = {name for module in modules for name in judges_of(module)}
    assert names == {judge.partition("[")[0] for judge in WITHOUT_LOADS}


def test_every_row_has_a_name_of_its_own_and_says_what_must_be_told() -> None:
    names = [slug(row.name).lower() for row in ROWS]
    assert sorted(names) == sorted(set(names))
    for row in ROWS:
        assert (row.expect == "failed") == bool(row.seen_by), row.name
        assert row.file or row.expect == "passed", row.name


def test_another_reason_a_write_and_a_torn_message_are_told() -> None:
    """What no run above comes to, on outcomes made by hand."""
    row = doing("x", seen_by=BYTES)
    whole = "x is wrong (1 problem):\n  corrupt  model.safetensors\nFetch it again."
    right = Outcome(code=1, failed={BYTES[0]: whole}, passed=3, status="failed", seconds=1.0)
    assert judged(row, right, "x") == ("killed", "")
    other = replace(right, failed={**right.failed, "test_other": "y"})
    assert judged(row, other, "x") == ("missed", "failed for another reason: test_other: y")
    wrote = replace(right, wrote=("hub/new",))
    assert judged(row, wrote, "x") == ("missed", "an offline run wrote into the home: hub/new")
    for message, why in (
        (whole.replace("x is", "it is"), "does not name the model x"),
        (whole.replace("\nFetch it again.", ""), "does not say what to do"),
        (whole.replace("model.safetensors", "a file"), "the message lacks ['model.safetensors']"),
    ):
        result, reason = judged(row, replace(right, failed={BYTES[0]: message}), "x")
        assert result == "missed"
        assert why in reason
    harmless = doing("x", expect="passed")
    not_applied = replace(right, code=0, failed={}, passed=0)
    assert judged(harmless, not_applied, "x") == ("false alarm", "exit 0, failed, 0 passed: ")
    wrong = doing("x", expect="exit 4")
    assert judged(wrong, replace(right, out="x"), "x") == ("missed", "exit 1, wanted 4: x")
