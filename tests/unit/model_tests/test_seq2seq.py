"""Each judge of text-to-text models is shown failing: on real substitutes, and on spoiled facts."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_tests import test_offline_loading, test_seq2seq
from prep.catalogue.goldens import Goldens
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from tests.support.real_loads import (
    Facts,
    Tensors,
    change_weights,
    configure,
    filled,
    folder_like,
    judges_of,
    load,
    message,
    passed_by,
    probe,
    remove_tokenizer,
    renamed,
    spoiled,
    zeroed,
)

TASK = "seq2seq"
PLAIN, OPENVINO = "transformers:name", "int8:optimum-intel:path"
NAN = b"\0\0\xc0\x7f"
END = 1  # the row of the head that ends an answer
JUDGES = judges_of(test_seq2seq)
READS = test_offline_loading.test_consumer_reads_the_converted_folder
WEIGHTS = test_offline_loading.test_no_weights_are_made_up


@pytest.mark.parametrize("wanted", [PLAIN, OPENVINO])
def test_judges_pass_what_is_right(stages: Stages, wanted: str) -> None:
    right = load(stages, TASK, wanted)
    shape_only(right)
    for judge in JUDGES.values():
        judge(right)
    test_offline_loading.test_consumer_loads(right)
    (READS if wanted == OPENVINO else WEIGHTS)(right)


def test_judges_are_those_of_the_module() -> None:
    assert len(JUDGES) == 8, "a judge was added: show it failing"


@pytest.mark.parametrize("consumer", ["transformers", "transformers-slow"])
def test_empty_tokenizer_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path, consumer: str
) -> None:
    """Every word is unknown, and so is every word of the answer: it comes out as no text."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    remove_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
    wrong = probe(stages, folder, consumer, right)
    shape_only(wrong)
    said = message(test_seq2seq.test_tokens_are_the_published, wrong)
    assert "tokenizes differently (2 problems)" in said
    assert "prompt: [3, 2, 3, 2, " in said
    assert "pieces: ['▁', '<unk>', " in said
    said = message(test_seq2seq.test_vocabulary_is_the_published, wrong)
    assert ", published 337" in said
    said = message(test_seq2seq.test_texts_are_the_published, wrong)
    assert "at-a-loss: '', published 'Wird es heute Nacht regnen?'" in said
    said = message(test_seq2seq.test_answers_follow_their_prompts, wrong)
    assert "ignores its prompts (1 problem)" in said
    assert "all prompts: ['']" in said


def other_name(tensors: Tensors) -> Tensors:
    return renamed("lm_head.")(tensors)


def left_out(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}


def shared(tensors: Tensors) -> Tensors:
    return tensors | {"lm_head.weight": tensors["shared.weight"]}


@pytest.mark.parametrize("change", [other_name, left_out, shared])
def test_tied_head_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path, change: Callable[[Tensors], Tensors]
) -> None:
    """transformers 5 takes the embeddings for a head that is not in the file, and says nothing."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, change)
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    if change is other_name:
        assert "unused   other.lm_head.weight" in message(WEIGHTS, wrong)
    else:
        WEIGHTS(wrong)
    said = message(test_seq2seq.test_texts_are_the_published, wrong)
    assert "writes other texts (4 problems)" in said
    said = message(test_seq2seq.test_answers_come_to_an_end, wrong)
    assert "ends 0% of its answers within 48 tokens, wanted 50% (6 problems)" in said
    assert "not ended: '" in said


def test_scaled_head_writes_the_same_and_is_seen_by_its_log_probabilities(
    stages: Stages, tmp_path: Path
) -> None:
    """A configuration that calls the head tied: every logit is scaled, the order stays."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    configure(folder, tie_word_embeddings=True)
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    judge = test_seq2seq.test_log_probabilities_are_the_published
    assert set(JUDGES) - set(passed_by(test_seq2seq, wrong)) == {judge.__name__}
    said = message(judge, wrong)
    assert "gives other log-probabilities (2 problems)" in said
    assert "off, allowed 0.001" in said


def test_encoder_that_is_cut_off_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path
) -> None:
    """The decoder speaks well, and says one thing to everybody."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, zeroed("EncDecAttention.o"))
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    WEIGHTS(wrong)
    test_seq2seq.test_answers_come_to_an_end(wrong)
    said = message(test_seq2seq.test_answers_follow_their_prompts, wrong)
    assert "all prompts: ['Im Badezimmer " in said
    assert "writes other texts (4 problems)" in message(
        test_seq2seq.test_texts_are_the_published, wrong
    )


def test_random_encoder_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """Other prompts, other texts, each of them ended: only what they say is wrong."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, renamed("encoder."))
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    said = message(WEIGHTS, wrong)
    assert "missing  encoder.block.0.layer.0.SelfAttention.k.weight" in said
    assert "writes other texts" in message(test_seq2seq.test_texts_are_the_published, wrong)


def test_decoder_that_goes_on_and_on_passes_shapes_and_fails_here(
    stages: Stages, tmp_path: Path
) -> None:
    """The row that ends an answer is gone; right words come first, then more of them."""
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, endless)
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    said = message(test_seq2seq.test_answers_come_to_an_end, wrong)
    assert "ends 0% of its answers" in said
    assert "not ended: 'Wird es am Wochenende regnen? " in said
    test_seq2seq.test_answers_follow_their_prompts(wrong)


def endless(tensors: Tensors) -> Tensors:
    """The head with zeros in the row of the end."""
    dtype, shape, numbers = tensors["lm_head.weight"]
    row = len(numbers) // shape[0]
    numbers = numbers[: END * row] + bytes(row) + numbers[(END + 1) * row :]
    return tensors | {"lm_head.weight": (dtype, shape, numbers)}


def test_weights_that_give_nan_are_seen(stages: Stages, tmp_path: Path) -> None:
    right = load(stages, TASK, PLAIN)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, filled("decoder.final_layer_norm.weight", NAN))
    wrong = probe(stages, folder, "transformers", right)
    said = message(test_seq2seq.test_every_answer_is_a_text, wrong)
    assert "gives no usable texts" in said
    assert "a log-probability that is NaN or infinite" in said


def test_answer_that_is_no_text_is_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        first, second, third, *_ = facts["written"]
        first["ids"] = []
        second["logprobs"][0] = float("nan")
        third["logprobs"][-1] = float("-inf")

    said = message(
        test_seq2seq.test_every_answer_is_a_text, spoiled(load(stages, TASK, PLAIN), spoil)
    )
    assert "(3 problems)" in said
    assert ": no token at all" in said
    assert said.count("a log-probability that is NaN or infinite") == 2


def test_unsteady_answers_are_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, TASK, PLAIN), lambda facts: facts.update(again=False))
    said = message(test_seq2seq.test_answers_are_the_same_again, wrong)
    assert "is not reproducible (1 problem)" in said
    assert "the first prompt was answered otherwise the second time" in said


def rewritten(loaded: Loaded, change: Callable[[dict[str, Any]], object]) -> Loaded:
    """Every answer changed."""

    def spoil(facts: Facts) -> None:
        for row in facts["written"]:
            change(row)

    return spoiled(loaded, spoil)


@pytest.mark.parametrize("text", ["", "  ", "Es wird regnen."])
def test_one_text_for_all_is_seen(stages: Stages, text: str) -> None:
    wrong = rewritten(load(stages, TASK, PLAIN), lambda row: row.update(text=text))
    said = message(test_seq2seq.test_answers_follow_their_prompts, wrong)
    assert f"all prompts: [{text.strip()!r}]" in said


def test_one_empty_text_is_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, TASK, PLAIN), lambda facts: facts["written"][0].update(text=" "))
    assert "all prompts: [''," in message(test_seq2seq.test_answers_follow_their_prompts, wrong)


def test_other_words_are_seen(stages: Stages) -> None:
    """One word of a text that is held word for word."""
    wrong = rewritten(load(stages, TASK, PLAIN), lambda row: row.update(text=row["text"] + " ja"))
    said = message(test_seq2seq.test_texts_are_the_published, wrong)
    assert "writes other texts (4 problems)" in said
    assert "at-a-loss: 'Wird es heute Nacht regnen? ja', published 'Wird es heute" in said


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Wird es heute Nacht regnen?", True),
        ("Wird es heute schneien, oder", True),  # three of five words
        ("Wird es morgen schneien, oder", False),
        ("Nun, wird es heute Nacht regnen?", False),  # every word in another place
        ("", False),
    ],
)
def test_published_words_are_held_in_their_places(stages: Stages, text: str, passes: bool) -> None:
    right = load(stages, TASK, PLAIN)
    assert right.goldens is not None
    golden = dict(right.goldens.of("texts")[-1], overlap={"fp32": 0.6})
    held = replace(right, goldens=Goldens(repo="any", task=TASK, answers={"texts": (golden,)}))
    held = rewritten(held, lambda row: row.update(text=text))
    judge = test_seq2seq.test_texts_are_the_published
    if passes:
        judge(held)
    else:
        assert f"at-a-loss: {text!r}, published" in message(judge, held)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["logprobs"].__setitem__(2, row["logprobs"][2] - 0.01), "off, allowed"),
        (lambda row: row["logprobs"].__setitem__(2, float("nan")), "inf off, allowed"),
        (lambda row: row["logprobs"].pop(), "heating: 8 tokens, published 9"),
    ],
)
def test_other_log_probabilities_are_seen(
    stages: Stages, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    wrong = rewritten(load(stages, TASK, PLAIN), change)
    said = message(test_seq2seq.test_log_probabilities_are_the_published, wrong)
    assert "(2 problems)" in said
    assert words in said


@pytest.mark.parametrize(
    ("got", "wanted", "share"),
    [("a b c", "a b c", 1), ("a x c", "a b c d", 0.5), ("", "a", 0), ("a", "", 0)],
)
def test_overlap_is_the_share_of_words_in_their_places(got: str, wanted: str, share: float) -> None:
    assert test_seq2seq.overlap(got.split(), wanted.split()) == share


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: tokens to every prompt, with finite log-probabilities."""
    rows = loaded.facts["written"]
    assert len(rows) >= len(loaded.questions.all()["prompts"])
    for row in rows:
        assert 0 < len(row["ids"]) == len(row["logprobs"]) <= row["new_tokens"]
        assert all(map(math.isfinite, row["logprobs"]))
