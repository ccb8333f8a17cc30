"""Each judge of rerankers is shown failing: on real substitutes, and on spoiled facts."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from model_tests import test_offline_loading, test_reranker
from prep.catalogue.goldens import Goldens
from prep.errors import PrepError
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from tests.support.real_loads import (
    Facts,
    TensorChange,
    Tensors,
    change_weights,
    configure,
    converted,
    filled,
    folder_like,
    judges_of,
    load,
    measured,
    message,
    passed_by,
    probe,
    problems_of,
    remove_tokenizer,
    renamed,
    shuffled,
    spoiled,
    zeroed,
)

TASK = "reranker"
PLAIN, SCORED = "transformers:name", "sentence-transformers:name"
OPENVINO, OPENVINO_SCORED = "int8:optimum-intel:path", "int8:sentence-transformers-openvino:path"
NAN = b"\0\0\xc0\x7f"
JUDGES = judges_of(test_reranker)
OF_SCORES = test_reranker.test_scores_are_the_activation_of_the_logits
READS = test_offline_loading.test_consumer_reads_the_converted_folder
WEIGHTS = test_offline_loading.test_no_weights_are_made_up


@pytest.mark.parametrize("wanted", [PLAIN, SCORED, OPENVINO, OPENVINO_SCORED])
def test_judges_pass_what_is_right(stages: Stages, wanted: str) -> None:
    right = load(stages, TASK, wanted)
    shape_only(right)
    scored = "scores" in right.facts
    assert scored == (wanted in (SCORED, OPENVINO_SCORED))
    for judge in JUDGES.values():
        if scored or judge is not OF_SCORES:
            judge(right)
    test_offline_loading.test_consumer_loads(right)
    if wanted == PLAIN:
        WEIGHTS(right)
    if wanted in (OPENVINO, OPENVINO_SCORED):
        READS(right)


@pytest.mark.parametrize("consumer", ["transformers", "sentence-transformers"])
def test_empty_tokenizer_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path, consumer: str
) -> None:
    """Every word is unknown: one logit for all pairs of as many words."""
    right = load(stages, TASK, SCORED)
    folder = folder_like(right, tmp_path / "model")
    remove_tokenizer(folder)
    wrong = probe(stages, folder, consumer, right)
    shape_only(wrong)
    said = message(test_reranker.test_tokens_are_the_published, wrong)
    assert "question: [0, 3, 3, 3, 3, 2], published [0, 409, 167, 205, 239, 25, 2]" in said
    assert "vocabulary is 5, published 416" in message(
        test_reranker.test_classifier_is_the_published, wrong
    )
    said = message(test_reranker.test_scores_are_the_published, wrong)
    assert "gives other scores (4 problems)" in said
    assert "(activation none)" in said
    assert "(activation sigmoid)" in said
    assert "dinner: document 1 first, published 2" in message(
        test_reranker.test_order_is_the_published, wrong
    )
    said = message(test_reranker.test_relevant_stands_above_the_others, wrong)
    assert "does not put what is relevant first" in said


@pytest.mark.parametrize(
    "change",
    [shuffled(""), shuffled("word_embeddings", rows=True)],
    ids=["random weights", "token ids mixed up"],
)
def test_broken_models_do_not_put_what_is_relevant_first(
    stages: Stages, tmp_path: Path, change: TensorChange
) -> None:
    right = load(stages, TASK, SCORED)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, change)
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    said = message(test_reranker.test_relevant_stands_above_the_others, wrong)
    assert "of 12 are in the wrong order" in said
    assert "standard deviations of all scores above the best others on average" in said
    assert "language = 'en'" in said


@pytest.mark.parametrize("consumer", ["transformers", "sentence-transformers"])
def test_random_head_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path, consumer: str
) -> None:
    """Weights of other names: the loader fills in random numbers and only warns."""
    right = load(stages, TASK, SCORED)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, renamed("classifier."))
    wrong = probe(stages, folder, consumer, right)
    shape_only(wrong)
    assert "off, allowed 0.0001" in message(test_reranker.test_scores_are_the_published, wrong)
    # Numbers made up at random may put all in order by chance; a head of nothing cannot.
    flat = folder_like(right, tmp_path / "flat")
    change_weights(flat, zeroed("classifier."))
    said = message(
        test_reranker.test_relevant_stands_above_the_others, probe(stages, flat, consumer, right)
    )
    assert "does not put what is relevant first (2 problems)" in said
    assert "0 of 0 are in the wrong order (12 more are tied), too few to tell" in said
    assert "the right texts stand 0.00 standard deviations of all scores above" in said
    if consumer == "transformers":
        said = message(WEIGHTS, wrong)
        assert "does not use exactly the weights of the file (8 problems)" in said
        assert "missing  classifier.out_proj.weight" in said
        assert "unused   other.classifier.out_proj.weight" in said


def test_head_of_two_labels_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """Its first logit is the right one, so every judge of logits is content."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    configure(folder, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    with pytest.raises(PrepError, match="ignore_mismatched_sizes"):  # the file has one
        probe(stages, folder, "transformers", right)
    change_weights(folder, two_labels)
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    WEIGHTS(wrong)
    failed = {"test_one_logit_a_pair", "test_classifier_is_the_published"}
    asked = set(JUDGES) - {OF_SCORES.__name__}
    assert set(passed_by(test_reranker, wrong, but=(OF_SCORES.__name__,))) == asked - failed
    assert "2 labels, wanted 1" in message(test_reranker.test_one_logit_a_pair, wrong)
    assert "labels is 2, published 1" in message(
        test_reranker.test_classifier_is_the_published, wrong
    )
    with pytest.raises(PrepError, match="TypeError"):  # CrossEncoder hands out a row of two
        probe(stages, folder, "sentence-transformers", right)


def two_labels(tensors: Tensors) -> Tensors:
    """A head that gives every logit twice."""
    both: Tensors = {}
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        dtype, (_, *width), numbers = tensors[name]
        both[name] = (dtype, [2, *width], numbers * 2)
    return tensors | both


def test_weights_that_give_nan_are_seen(stages: Stages, tmp_path: Path) -> None:
    """NaN is neither less nor greater than any bound: no judge takes it for right."""
    right = load(stages, TASK, SCORED)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, filled("classifier.out_proj.bias", NAN))
    wrong = probe(stages, folder, "sentence-transformers", right)
    said = message(test_reranker.test_every_answer_is_a_number, wrong)
    assert "gives no usable scores" in said
    assert ": nan" in said
    for judge in (
        test_reranker.test_scores_are_the_published,
        test_reranker.test_answers_are_the_same_again_and_in_a_batch,
        test_reranker.test_relevant_stands_above_the_others,
        OF_SCORES,
    ):
        assert any(word in message(judge, wrong) for word in ("nan", "inf off"))
    made = converted(stages, TASK, folder, tmp_path / "made")
    problems = problems_of(measured(stages, TASK, Path(right.path), made), "fp32")
    assert problems == {"agreement": "answers hold NaN or infinity"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_one_answer_that_is_no_number_is_seen(stages: Stages, number: float) -> None:
    wrong = spoiled(load(stages, TASK, PLAIN), lambda facts: set_last(facts["logits"], number))
    said = message(test_reranker.test_every_answer_is_a_number, wrong)
    assert "(1 problem)" in said
    assert f": {number}" in said


def set_last(rows: list[list[object]], number: float) -> None:
    rows[-1][2] = number


@pytest.mark.parametrize("how", ["again", "batch"])
@pytest.mark.parametrize("far", [0.01, float("nan")])
def test_unsteady_answers_are_seen(stages: Stages, how: str, far: float) -> None:
    wrong = spoiled(load(stages, TASK, PLAIN), lambda facts: facts.update({how: far}))
    judge = test_reranker.test_answers_are_the_same_again_and_in_a_batch
    said = message(judge, wrong)
    assert "is not reproducible (1 problem)" in said
    assert f"{how}: " in said


def test_logit_that_is_little_off_is_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        for row in facts["logits"]:
            row[2] += 2e-4

    wrong = spoiled(load(stages, TASK, PLAIN), spoil)
    said = message(test_reranker.test_scores_are_the_published, wrong)
    assert "off, allowed 0.0001" in said
    assert "probabilities" not in said, "a sigmoid presses together what is wrong"


def test_other_order_is_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        for row in facts["logits"]:
            row[2] = -row[2]

    wrong = spoiled(load(stages, TASK, PLAIN), spoil)
    said = message(test_reranker.test_order_is_the_published, wrong)
    assert "puts another document first (2 problems)" in said
    assert "first, published 2" in said
    said = message(test_reranker.test_relevant_stands_above_the_others, wrong)
    assert "12 of 12 are in the wrong order, at most 2 may be" in said


@pytest.mark.parametrize("wanted", [SCORED, OPENVINO_SCORED])
def test_scores_that_are_not_the_activations_are_seen(stages: Stages, wanted: str) -> None:
    """Raw logits where a sigmoid is named, and a sigmoid where none is."""
    right = load(stages, TASK, wanted)
    raw = spoiled(right, lambda facts: facts.update(scores=facts["logits"]))
    assert "its activation (Sigmoid) gives" in message(OF_SCORES, raw)
    named = spoiled(right, lambda facts: facts.update(activation="Identity"))
    assert "its activation (Identity) gives" in message(OF_SCORES, named)
    assert "activation is Identity, published Sigmoid" in message(
        test_reranker.test_classifier_is_the_published, named
    )
    OF_SCORES(spoiled(raw, lambda facts: facts.update(activation="Identity")))


@pytest.mark.parametrize("number", [0.5, float("nan")])
def test_one_score_that_is_off_is_seen(stages: Stages, number: float) -> None:
    wrong = spoiled(load(stages, TASK, SCORED), lambda facts: set_last(facts["scores"], number))
    assert "does not score by its activation (1 problem)" in message(OF_SCORES, wrong)


def test_published_tokens_without_special_ones_are_held(stages: Stages) -> None:
    """Ids and pieces; one token more or less around them is another text."""
    right = load(stages, TASK, PLAIN)
    text = "Will it rain tomorrow?"
    pieces, ids = right.pieces(text)[1:-1], right.ids(text)[1:-1]
    for key, tokens in (("pieces", pieces), ("expected", ids)):
        for wanted in (tokens, tokens[1:], tokens[:-1], [*tokens, *tokens], tokens[::-1]):
            golden = {"id": "one", "text": text, "specials": False, key: wanted}
            held = replace(
                right, goldens=Goldens(repo="any", task=TASK, answers={"tokens": (golden,)})
            )
            if wanted == tokens:
                test_reranker.test_tokens_are_the_published(held)
            else:
                said = message(test_reranker.test_tokens_are_the_published, held)
                assert f"published {wanted}" in said


@pytest.mark.parametrize(
    ("logit", "score"),
    [(0.0, 0.5), (2.0, 0.8807970779778823), (-2.0, 0.11920292202211755)],
)
def test_sigmoid_is_a_sigmoid(logit: float, score: float) -> None:
    assert test_reranker.sigmoid(logit) == pytest.approx(score, abs=1e-15)


def test_sigmoid_never_overflows() -> None:
    far = (1e308, float("inf"), -1e308, float("-inf"))
    assert [test_reranker.sigmoid(logit) for logit in far] == [1.0, 1.0, 0.0, 0.0]
    assert math.isnan(test_reranker.sigmoid(float("nan")))


def test_judges_are_those_of_the_module() -> None:
    assert len(JUDGES) == 9, "a judge was added: show it failing"


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: a finite number for every pair. It sees no substitute."""
    assert len(loaded.facts["logits"]) >= len(loaded.questions.all()["pairs"])
    for kind in {"logits", "scores"} & set(loaded.facts):
        assert all(math.isfinite(number) for _, _, number in loaded.facts[kind])
