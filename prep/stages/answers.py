"""The answers that a page shows: of the task's own questions, as a few numbers or texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prep.tasks.question_sets import (
    EmbeddingQuestions,
    Questions,
    RerankerQuestions,
    Seq2seqQuestions,
)

DIGITS = 4


def shown(questions: Questions, facts: Mapping[str, Any]) -> list[Any] | None:
    """What a load answered to the questions of its task, in their order; None where it did not.

    Embedding: a row per anchor, with its cosine to every related and then every unrelated text.
    Reranker: a row per query, with the raw logit of each of its passages, the relevant one first.
    Seq2seq: the text that each prompt was answered with.
    """
    try:
        if isinstance(questions, EmbeddingQuestions):
            return _cosines(questions, facts["vectors"])
        if isinstance(questions, RerankerQuestions):
            return _logits(questions, facts["logits"])
        assert isinstance(questions, Seq2seqQuestions)
        written = {fact["prompt"]: fact["text"] for fact in facts["written"]}
        return [written[prompt] for prompt in questions.prompts.values()]
    except (KeyError, ValueError, ZeroDivisionError):
        return None  # a model that answers nothing sensible is judged elsewhere


def _cosines(
    questions: EmbeddingQuestions, vectors: Mapping[str, Sequence[float]]
) -> list[list[float | None]]:
    columns = [one.related for one in questions.related]
    columns += [one.unrelated for one in questions.related]
    return [
        [_rounded(_cosine(vectors[one.anchor], vectors[text])) for text in columns]
        for one in questions.related
    ]


def _logits(
    questions: RerankerQuestions, logits: Sequence[tuple[str, str, float]]
) -> list[list[float | None]]:
    known = {(query, passage): logit for query, passage, logit in logits}
    return [
        [_rounded(known[one.query, passage]) for passage in one.passages]
        for one in questions.ranked
    ]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


def _rounded(number: float) -> float | None:
    """JSON knows no NaN."""
    return round(number, DIGITS) if math.isfinite(number) else None
