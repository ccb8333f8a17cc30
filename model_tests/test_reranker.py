"""A reranker answers as its publisher says, and as any reranker must.

Raw logits are asked everywhere: a sigmoid presses wrong ones together at 0 and 1, where no
tolerance separates them.
"""

import math

import pytest

from model_tests.checks import (
    facts_are,
    goldens_of,
    none_of,
    tokens_are,
    wrong_or_other_language,
)
from prep.stages.loaded import Loaded
from prep.tasks.measure import largest_gap
from prep.tasks.reranker import RerankerQuestions

pytestmark = [pytest.mark.answers, pytest.mark.interrogation, pytest.mark.task("reranker")]

WRONG = "A service that cuts by these scores would drop or keep other passages."
SIGMOID = "Sigmoid"
CROSS_ENCODERS = ("sentence-transformers", "sentence-transformers-openvino")


@pytest.mark.goldens
def test_tokens_are_the_published(loaded: Loaded) -> None:
    """Token ids, whole: a wrong or empty tokenizer is seen here first."""
    tokens_are(loaded, WRONG)


@pytest.mark.goldens
def test_scores_are_the_published(loaded: Loaded) -> None:
    """The raw logit, or what the named activation makes of it."""
    problems = []
    for golden in goldens_of(loaded).of("scores"):
        raw = [logit_of(loaded, golden["query"], text) for text in golden["documents"]]
        got = raw if golden["activation"] == "none" else [sigmoid(logit) for logit in raw]
        limit = loaded.bound(golden["tolerance"])
        if not (far := largest_gap(got, golden["expected"])) <= limit:
            problems.append(
                f"{golden['id']}: {[round(number, 4) for number in got]}, published "
                f"{golden['expected']} (activation {golden['activation']}): {far:.2e} off, "
                f"allowed {limit}"
            )
    none_of(problems, f"{loaded.name} gives other scores", WRONG)


@pytest.mark.goldens
def test_order_is_the_published(loaded: Loaded) -> None:
    """Which document comes first, where nobody published a number."""
    problems = []
    for golden in goldens_of(loaded).of("orders"):
        scores = [logit_of(loaded, golden["query"], text) for text in golden["documents"]]
        best = scores.index(max(scores))
        if best != golden["best"]:
            problems.append(f"{golden['id']}: document {best} first, published {golden['best']}")
    none_of(problems, f"{loaded.name} puts another document first", WRONG)


@pytest.mark.goldens
def test_classifier_is_the_published(loaded: Loaded) -> None:
    """Vocabulary, longest text, number of labels and activation, as the goldens say."""
    facts = loaded.facts
    got = {"vocabulary": facts["vocabulary"], "max-length": facts["max_length"]}
    got |= {key: facts[key] for key in ("labels", "activation") if key in facts}
    facts_are(loaded, got, WRONG)


def test_one_logit_a_pair(loaded: Loaded) -> None:
    """A head of several labels is no reranker; the first label's logit would still come out."""
    labels = loaded.facts["labels"]
    none_of(
        [] if labels == 1 else [f"{labels} labels, wanted 1"],
        f"{loaded.name} built another head",
        "The configuration is not that of a reranker: choose another model, or its right revision.",
    )


@pytest.mark.consumers(*CROSS_ENCODERS)
def test_scores_are_the_activation_of_the_logits(loaded: Loaded) -> None:
    """What CrossEncoder hands out by itself, by the activation that it names."""
    is_sigmoid = loaded.facts["activation"] == SIGMOID
    wanted = {
        (query, document): sigmoid(logit) if is_sigmoid else logit
        for query, document, logit in loaded.facts["logits"]
    }
    problems = [
        f"{query[:30]!r}, {document[:30]!r}: {score:.4f}, its activation "
        f"({loaded.facts['activation']}) gives {wanted[query, document]:.4f}"
        for query, document, score in loaded.facts["scores"]
        if not abs(score - wanted[query, document]) <= 1e-3
    ]
    none_of(problems, f"{loaded.name} does not score by its activation", WRONG)


def test_every_answer_is_a_number(loaded: Loaded) -> None:
    """Finite, odd texts included."""
    problems = [
        f"{query[:30]!r}, {document[:30]!r}: {logit}"
        for query, document, logit in loaded.facts["logits"]
        if not math.isfinite(logit)
    ]
    none_of(problems, f"{loaded.name} gives no usable scores", WRONG)


def test_answers_are_the_same_again_and_in_a_batch(loaded: Loaded) -> None:
    """The same pair gets the same logit: twice, and among others of other lengths."""
    questions = loaded.asked(RerankerQuestions)
    asked = [logit_of(loaded, query, text) for query, text in questions.plain()["pairs"]]
    # Computed in 16 bits, an answer is as far from itself as from the original: measured 2 % of the
    # spread in bfloat16.
    rounded = loaded.facts.get("dtype") in ("float16", "bfloat16")
    table = questions.agreement if rounded else questions.batch
    limit = loaded.bound(table) * (max(asked) - min(asked))
    problems = [
        f"{how}: {loaded.facts[how]:.2e} off, allowed {limit:.2e}"
        for how in ("again", "batch")
        if not loaded.facts[how] <= limit
    ]
    none_of(problems, f"{loaded.name} is not reproducible", WRONG)


def test_relevant_stands_above_the_others(loaded: Loaded) -> None:
    """Needs no golden: whatever the model, the passage that answers comes first."""
    questions = loaded.asked(RerankerQuestions)
    none_of(
        questions.ordering(loaded.facts["logits"]).problems(questions.margin),
        f"{loaded.name} does not put what is relevant first",
        wrong_or_other_language(loaded),
    )


def logit_of(loaded: Loaded, query: str, document: str) -> float:
    """The raw logit of a pair that was asked."""
    logits = loaded.facts["logits"]
    return next(float(logit) for *pair, logit in logits if pair == [query, document])


def sigmoid(logit: float) -> float:
    """Never overflows: a logit may be anything."""
    if math.isnan(logit):
        return logit
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(max(logit, -700)))
