"""Each judge of rerankers is shown failing: on real substitutes, and on spoiled facts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_tests import test_conversion, test_offline_loading, test_reranker
from prep.catalogue.goldens import Goldens
from prep.errors import PrepError
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from tests.support.real_loads import (
    Facts,
    Tensors,
    called_int8,
    change_weights,
    configure,
    content_message,
    converted,
    filled,
    folder_like,
    judges_of,
    load,
    measured,
    message,
    negated,
    passing,
    probe,
    problems_of,
    remove_tokenizer,
    renamed,
    spoiled,
    stages_of,
    with_ready_made,
    without_ir,
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


@pytest.fixture(scope="module")
def stages(prepared_all: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stages on a prepared home, offline; one import server for all tests of this file."""
    with stages_of(prepared_all, tmp_path_factory.mktemp("scratch")) as made:
        yield made


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
    assert "does not put what is relevant first by 1.0 (6 problems)" in said


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
    # Numbers made up at random may put six pairs in order by chance; a head of nothing cannot.
    flat = folder_like(right, tmp_path / "flat")
    change_weights(flat, zeroed("classifier."))
    said = message(
        test_reranker.test_relevant_stands_above_the_others, probe(stages, flat, consumer, right)
    )
    assert "does not put what is relevant first by 1.0 (6 problems)" in said
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
    assert set(passing(test_reranker, wrong, but=(OF_SCORES.__name__,))) == asked - failed
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
    assert "(6 problems)" in said


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
    assert [test_reranker.sigmoid(one) for one in far] == [1.0, 1.0, 0.0, 0.0]
    assert math.isnan(test_reranker.sigmoid(float("nan")))


@pytest.mark.parametrize("substitute", [without_ir, with_ready_made])
def test_ir_of_another_place_answers_rightly_and_is_seen(
    stages: Stages, tmp_path: Path, substitute: Callable[[Loaded, Path, Path], Path]
) -> None:
    """CrossEncoder exports anew where there is no IR, and takes the hub's where there is one."""
    right = load(stages, TASK, OPENVINO_SCORED)
    folder = substitute(right, Path(load(stages, TASK, PLAIN).path), tmp_path / "model")
    wrong = probe(stages, folder, "sentence-transformers-openvino", right)
    shape_only(wrong)
    assert passing(test_reranker, wrong) == list(JUDGES)
    said = message(READS, wrong)
    assert f"read from {wrong.facts['read_from']}, prepared in {folder}" in said


def test_optimum_intel_exports_nothing_by_itself(stages: Stages, tmp_path: Path) -> None:
    right = load(stages, TASK, OPENVINO)
    source = Path(load(stages, TASK, PLAIN).path)
    for substitute in (without_ir, with_ready_made):
        folder = substitute(right, source, tmp_path / substitute.__name__)
        with pytest.raises(PrepError, match=r"openvino_model\.xml"):
            probe(stages, folder, "optimum-intel", right)


def test_float32_weights_called_int8_are_seen(stages: Stages, tmp_path: Path) -> None:
    source = Path(load(stages, TASK, PLAIN).path)
    content = measured(stages, TASK, source, converted(stages, TASK, source, tmp_path / "made"))
    assert problems_of(content, "fp32") == {}
    wrong = called_int8(stages, TASK, content)
    assert "0% of the weights are int8, wanted at least 95% (elements: 100480 f32)" in (
        content_message(wrong, "weights")
    )
    for aspect in ("tokenizer", "agreement"):
        test_conversion.test_content_is_right(wrong, aspect)


def test_conversion_of_other_weights_is_seen(stages: Stages, tmp_path: Path) -> None:
    """A head turned round: logits that are far off, and other passages first."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, negated("classifier.out_proj."))
    made = converted(stages, TASK, folder, tmp_path / "made")
    content = measured(stages, TASK, Path(right.path), made)
    said = content_message(called_int8(stages, TASK, content), "agreement")
    gap = "the greatest difference of a logit to the PyTorch original's, of their spread, is 1."
    assert gap in said
    assert "wanted at most 0.05" in said
    assert len(content.contradictions) == 6, "one for each query"
    near = replace(content, agreement=0.0)
    said = content_message(called_int8(stages, TASK, near), "agreement")
    assert all(contradiction in said for contradiction in content.contradictions)
    assert " comes first, not 'The forecast says it will be rainy tomorrow, so take" in said


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_agreement_is_held_to_its_precision(stages: Stages, precision: str) -> None:
    """Little more than the bound, and NaN, which is no agreement."""
    source = Path(load(stages, TASK, OPENVINO).path)
    content = measured(stages, TASK, Path(load(stages, TASK, PLAIN).path), source)
    kind = {"fp32": "f32", "fp16": "f16", "int8": "u8"}[precision]
    bound = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.05}[precision]
    content = replace(content, elements={kind: 1})
    assert problems_of(replace(content, agreement=bound), precision) == {}
    for agreement in (bound * 1.01, float("nan")):
        assert list(problems_of(replace(content, agreement=agreement), precision)) == ["agreement"]


def test_judges_are_those_of_the_module() -> None:
    assert len(JUDGES) == 9, "a judge was added: show it failing"


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: a finite number for every pair. It sees no substitute."""
    for kind in {"logits", "scores"} & set(loaded.facts):
        assert len(loaded.facts[kind]) >= len(loaded.questions.all()["pairs"])
        assert all(math.isfinite(number) for _, _, number in loaded.facts[kind])
