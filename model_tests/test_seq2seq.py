"""A text-to-text model writes what its publisher says, and what any such model must.

One prompt at a time, greedily, to a stated length: padding in a batch and default lengths change
what is written.
"""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from model_tests.checks import facts_are, goldens_of, none_of, tokens_are
from prep.stages.loaded import Loaded
from prep.tasks.measure import largest_gap
from prep.tasks.seq2seq import Seq2seqQuestions

pytestmark = [pytest.mark.answers, pytest.mark.interrogation, pytest.mark.task("seq2seq")]

WRONG = "The tokenizer, the weights or the decoder's cache are not what they should be."


@pytest.mark.goldens
def test_tokens_are_the_published(loaded: Loaded) -> None:
    """Token ids, whole: a wrong or empty tokenizer is seen here first."""
    tokens_are(loaded, WRONG)


@pytest.mark.goldens
def test_texts_are_the_published(loaded: Loaded) -> None:
    """Word for word, or as many words in their places as the golden says for this precision."""
    problems = []
    for golden in goldens_of(loaded).of("texts"):
        got = written_by(loaded, golden["prompt"], golden["new-tokens"])["text"]
        wanted, least = golden["expected"], loaded.bound(golden["overlap"], 1.0)
        same = got == wanted if least == 1 else overlap(got.split(), wanted.split()) >= least
        if not same:
            problems.append(f"{golden['id']}: {got!r}, published {wanted!r}")
    none_of(problems, f"{loaded.name} writes other texts", WRONG)


@pytest.mark.goldens
def test_log_probabilities_are_the_published(loaded: Loaded) -> None:
    """How sure it was of every token, where somebody published that and the text is the same."""
    problems = []
    for golden in goldens_of(loaded).of("texts"):
        wanted = golden.get("logprobs")
        written = written_by(loaded, golden["prompt"], golden["new-tokens"])
        if wanted is None or written["text"] != golden["expected"]:
            continue  # another text fails its own test
        limit, got = loaded.bound(golden["tolerance"]), written["logprobs"]
        if len(got) != len(wanted):
            problems.append(f"{golden['id']}: {len(got)} tokens, published {len(wanted)}")
        elif not (far := largest_gap(got, wanted)) <= limit:
            problems.append(f"{golden['id']}: {far:.2e} off, allowed {limit}")
    none_of(problems, f"{loaded.name} gives other log-probabilities", WRONG)


@pytest.mark.goldens
def test_vocabulary_is_the_published(loaded: Loaded) -> None:
    """Its size, as the goldens say."""
    facts_are(loaded, {"vocabulary": loaded.facts["vocabulary"]}, WRONG)


def test_every_answer_is_a_text(loaded: Loaded) -> None:
    """At least one token for every prompt, and every one with a finite log-probability."""
    problems = []
    for text in loaded.facts["written"]:
        shown = repr(text["prompt"][:30])
        if not text["ids"]:
            problems.append(f"{shown}: no token at all")
        elif not all(map(math.isfinite, text["logprobs"])):
            problems.append(f"{shown}: a log-probability that is NaN or infinite")
    none_of(problems, f"{loaded.name} gives no usable texts", WRONG)


def test_answers_are_the_same_again(loaded: Loaded) -> None:
    """The same prompt gives the same tokens twice: nothing of the first stays in the cache."""
    none_of(
        []
        if loaded.facts["again"]
        else ["the first prompt was answered otherwise the second time"],
        f"{loaded.name} is not reproducible",
        WRONG,
    )


def test_answers_come_to_an_end(loaded: Loaded) -> None:
    """Most answers end by themselves: a head or a decoder that is wrong goes on and on."""
    questions = loaded.asked(Seq2seqQuestions)
    texts = [written_by(loaded, *prompt) for prompt in questions.plain()["prompts"]]
    share = sum(text["ended"] for text in texts) / len(texts)
    none_of(
        [f"not ended: {text['text']!r}" for text in texts if not text["ended"]]
        if share < questions.ended
        else [],
        f"{loaded.name} ends {share:.0%} of its answers within "
        f"{questions.new_tokens} tokens, wanted {questions.ended:.0%}",
        WRONG,
    )


def test_answers_follow_their_prompts(loaded: Loaded) -> None:
    """Other prompts, other texts: an encoder that is cut off writes one text to all."""
    prompts = loaded.asked(Seq2seqQuestions).plain()["prompts"]
    texts = {written_by(loaded, *prompt)["text"].strip() for prompt in prompts}
    problems = [] if len(texts) > 1 and "" not in texts else [f"all prompts: {sorted(texts)}"]
    none_of(problems, f"{loaded.name} ignores its prompts", WRONG)


def written_by(loaded: Loaded, prompt: str, new_tokens: int) -> dict[str, Any]:
    """What it wrote to a prompt that was asked with that length."""
    asked = (prompt, new_tokens)
    texts: list[dict[str, Any]] = loaded.facts["written"]
    return next(text for text in texts if (text["prompt"], text["new_tokens"]) == asked)


def overlap(got: Sequence[str], wanted: Sequence[str]) -> float:
    """The share of `wanted` that `got` has at the same place."""
    return sum(a == b for a, b in zip(got, wanted, strict=False)) / max(len(wanted), 1)
