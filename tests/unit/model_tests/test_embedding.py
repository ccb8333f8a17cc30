"""Each judge of loads and answers is shown failing: on real substitutes, and on spoiled facts.

The loads are real, by the stages themselves, on a prepared home; then one fact is made wrong. Here
are the embedding's judges and those of all tasks.
"""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from model_tests import (
    test_embedding,
    test_offline_loading,
)
from prep.catalogue.goldens import Goldens
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from prep.tasks.measure import cosine
from tests.support.real_loads import (
    Facts,
    Judge,
    TensorChange,
    change_weights,
    filled,
    folder_like,
    judges_of,
    load,
    message,
    probe,
    remove_tokenizer,
    renamed,
    shuffled,
    spoiled,
)

TASK = "embedding"
BY_NAME, BY_ITSELF = "sentence-transformers:name", "transformers:name"
OPENVINO, OPENVINO_PIPELINE = "int8:optimum-intel:path", "int8:sentence-transformers-openvino:path"
READS = test_offline_loading.test_consumer_reads_the_converted_folder


JUDGES: tuple[Judge, ...] = (
    *judges_of(test_embedding).values(),
    test_offline_loading.test_consumer_loads,
    test_offline_loading.test_consumer_reaches_for_no_network,
    test_offline_loading.test_consumer_writes_nothing,
)


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_judge_passes_what_is_right(stages: Stages, judge: Judge) -> None:
    judge(load(stages, TASK, BY_NAME))


def test_judges_of_some_consumers_pass_what_is_right(stages: Stages) -> None:
    """Their vectors too: those of a service that pools by itself are not normalised."""
    for wanted in (BY_ITSELF, OPENVINO, OPENVINO_PIPELINE):
        right = load(stages, TASK, wanted)
        test_embedding.test_vectors_are_the_published(right)
        test_embedding.test_pipeline_is_the_published(right)
        if wanted == BY_ITSELF:
            test_offline_loading.test_no_weights_are_made_up(right)
        else:
            READS(right)


@pytest.mark.parametrize("normalized", [True, False])
def test_raw_golden_is_held_raw_where_the_pipeline_gives_raw_vectors(
    stages: Stages, normalized: bool
) -> None:
    """A vector of twice the length is another answer there, and the same where it normalises."""
    text = "turn on the lamp in the kitchen"
    right = spoiled(
        load(stages, TASK, BY_ITSELF), lambda facts: facts.update(normalized=normalized)
    )
    tolerance = {"fp32": 1e-5, "int8": 1e-5}
    answer: Facts = {"id": "one", "text": text, "normalized": False, "source": "this load"}
    answer |= {"expected": test_embedding.vector_of(right, text), "tolerance": tolerance}
    held = replace(right, goldens=Goldens(repo="any", task=TASK, answers={"vectors": (answer,)}))
    test_embedding.test_vectors_are_the_published(held)
    answer["expected"] = [2 * number for number in answer["expected"]]
    if normalized:
        test_embedding.test_vectors_are_the_published(held)
    else:
        said = message(test_embedding.test_vectors_are_the_published, held)
        assert "off, allowed 1e-05 (this load)" in said


def test_empty_tokenizer_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """transformers 5 builds one without an error when the tokenizer's files are missing."""
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    remove_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
    wrong = probe(stages, folder, "sentence-transformers", right)
    shape_only(wrong)
    assert wrong.facts["vocabulary"] == 5
    assert "published" in message(test_embedding.test_tokens_are_the_published, wrong)
    assert "vocabulary is 5, published 264" in message(
        test_embedding.test_pipeline_is_the_published, wrong
    )
    assert "related" in message(test_embedding.test_related_stands_above_unrelated, wrong)


@pytest.mark.parametrize(
    "change",
    [shuffled(""), shuffled("word_embeddings", rows=True)],
    ids=["random weights", "token ids mixed up"],
)
def test_broken_models_do_not_tell_related_texts_from_others(
    stages: Stages, tmp_path: Path, change: TensorChange
) -> None:
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, change)
    wrong = probe(stages, folder, "sentence-transformers", right)
    shape_only(wrong)
    said = message(test_embedding.test_related_stands_above_unrelated, wrong)
    assert "of 12 are in the wrong order, at most 1 may be" in said
    assert "standard deviations of all scores above the best others on average" in said
    assert said.endswith(
        "if the model is not for texts with language = 'en', say another language in its entry, "
        "or name questions of its own: docs/adding-a-model.md#questions."
    )


def test_cosines_that_are_all_high_are_in_order_all_the_same(
    stages: Stages, tmp_path: Path
) -> None:
    """As of models trained at a low temperature: nothing is asked of the scale of cosines."""
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, filled("encoder.layer.1.output.LayerNorm.bias", struct.pack("<f", 4)))
    high = probe(stages, folder, "sentence-transformers", right)
    texts = high.questions.plain()["texts"]
    vectors = [test_embedding.vector_of(high, text) for text in texts]
    assert min(cosine(vector, other) for vector in vectors for other in vectors) > 0.8
    test_embedding.test_related_stands_above_unrelated(high)


def test_made_up_pooling_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """Without modules.json, sentence-transformers makes up mean pooling and leaves out the rest."""
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    (folder / "modules.json").unlink()
    wrong = probe(stages, folder, "sentence-transformers", right)
    shape_only(wrong)
    assert "modules is ['Transformer', 'Pooling'], published" in message(
        test_embedding.test_pipeline_is_the_published, wrong
    )
    (folder / "modules.json").write_text((Path(right.path) / "modules.json").read_text())
    assert "modules.json says" in message(test_embedding.test_pipeline_is_the_repositorys, wrong)


def test_other_length_limit_than_the_files_is_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, TASK, BY_NAME), lambda facts: facts.update(max_length=512))
    said = message(test_embedding.test_pipeline_is_the_repositorys, wrong)
    assert "longest text is 512 tokens, the file: 64" in said


def test_random_weights_pass_shapes_and_fail_here(stages: Stages, tmp_path: Path) -> None:
    """Names that do not fit the class: the loader fills in random numbers and only warns."""
    right = load(stages, TASK, BY_ITSELF)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, renamed(""))
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    said = message(test_offline_loading.test_no_weights_are_made_up, wrong)
    assert "missing  embeddings.word_embeddings.weight" in said
    assert "unused   other.embeddings.word_embeddings.weight" in said
    assert "off, allowed" in message(test_embedding.test_vectors_are_the_published, wrong)


def test_vector_that_is_no_vector_is_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        first, second, third, *_ = facts["vectors"]
        facts["vectors"][first][3] = float("nan")
        facts["vectors"][second] = [0.0] * 64
        facts["vectors"][third] = [2 * fact for fact in facts["vectors"][third]]

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    said = message(test_embedding.test_every_answer_is_a_vector, wrong)
    assert "(3 problems)" in said
    for words in ("holds NaN or infinity", "is zero", "has length 2.0000, not 1"):
        assert words in said


def test_text_of_no_tokens_may_have_the_zero_vector(stages: Stages) -> None:
    """As a static embedding answers an empty text; with tokens, it would be no answer."""

    def empty(facts: Facts) -> None:
        first = next(iter(facts["vectors"]))
        facts["vectors"][first] = [0.0] * 64
        facts["tokens"][first]["ids"] = []

    test_embedding.test_every_answer_is_a_vector(spoiled(load(stages, TASK, BY_NAME), empty))


@pytest.mark.parametrize("how", ["again", "batch"])
@pytest.mark.parametrize("far", [0.02, float("nan")])
def test_unsteady_answers_are_seen(stages: Stages, how: str, far: float) -> None:
    wrong = spoiled(load(stages, TASK, BY_NAME), lambda facts: facts.update({how: far}))
    judge = test_embedding.test_answers_are_the_same_again_and_in_a_batch
    assert f"{how}: " in message(judge, wrong)


def test_small_turn_of_one_vector_is_seen(stages: Stages) -> None:
    """A golden component that is off by little more than its tolerance."""

    def spoil(facts: Facts) -> None:
        for vector in facts["vectors"].values():
            vector[0] += 2e-5

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    assert "allowed 1e-05" in message(test_embedding.test_vectors_are_the_published, wrong)


def test_other_direction_than_the_published_is_seen(stages: Stages) -> None:
    """Where the source promised no more than a cosine."""
    right = load(stages, TASK, BY_NAME)
    assert right.goldens is not None
    golden = dict(right.goldens.of("vectors")[0])
    del golden["tolerance"]
    golden |= {
        "expected": test_embedding.vector_of(right, golden["text"]),
        "least-cosine": {"fp32": 0.99},
    }
    right = replace(right, goldens=Goldens(repo="any", task=TASK, answers={"vectors": (golden,)}))
    test_embedding.test_vectors_are_the_published(right)
    wrong = spoiled(right, lambda facts: facts["vectors"][golden["text"]].reverse())
    said = message(test_embedding.test_vectors_are_the_published, wrong)
    assert "lamp: cosine " in said
    assert "at least 0.99" in said


def test_other_similarities_are_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        for number, vector in enumerate(facts["vectors"].values()):
            vector[number % 64] += 0.5

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    assert "gives other similarities" in message(
        test_embedding.test_similarities_are_the_published, wrong
    )


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: the right size, finite, not zero. It sees no substitute."""
    for vector in loaded.facts["vectors"].values():
        assert len(vector) == 64
        assert 0 < sum(number * number for number in vector) < float("inf")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ("{}", None),  # as sentence-transformers 5.4 and later writes it: the tokenizer's counts
        ('{"max_seq_length": null}', None),
        ('{"max_seq_length": 64}', None),
        ('{"max_seq_length": 16}', "longest text is 64 tokens, the file: 16"),
        ("[]", "longest text is 64 tokens, the file: nothing that can be read"),
    ],
)
def test_only_a_limit_that_the_file_names_is_held_against_it(
    stages: Stages, tmp_path: Path, limits: str, problem: str | None
) -> None:
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    path = folder / "sentence_bert_config.json"
    path.unlink()
    path.write_text(limits, encoding="utf-8")
    elsewhere = replace(right, path=str(folder))
    judge = test_embedding.test_pipeline_is_the_repositorys
    if problem is None:
        judge(elsewhere)
    else:
        assert problem in message(judge, elsewhere)


@pytest.mark.parametrize(("dtype", "allowed"), [("float32", False), ("bfloat16", True)])
def test_a_length_of_one_is_held_as_far_as_the_type_has_digits(
    stages: Stages, dtype: str, allowed: bool
) -> None:
    def lengthen(facts: Facts) -> None:
        vectors = {
            text: [1.004 * number for number in vector] for text, vector in facts["vectors"].items()
        }
        facts.update(dtype=dtype, vectors=vectors)

    wrong = spoiled(load(stages, TASK, BY_NAME), lengthen)
    if allowed:
        test_embedding.test_every_answer_is_a_vector(wrong)
    else:
        assert "not 1" in message(test_embedding.test_every_answer_is_a_vector, wrong)
