"""The classes and calls behind each name of the consumers' table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prep.sandbox.probe import embedding, reranker, seq2seq
from prep.sandbox.probe.loading import Facts, Way

CONSUMERS: dict[str, dict[str, Callable[[Way], Any]]] = {
    "embedding": {
        "transformers": embedding.transformers,
        "sentence-transformers": embedding.sentence_transformers,
        "optimum-intel": embedding.optimum_intel,
        "sentence-transformers-openvino": embedding.sentence_transformers_openvino,
    },
    "reranker": {
        "transformers": reranker.transformers,
        "sentence-transformers": reranker.sentence_transformers,
        "optimum-intel": reranker.optimum_intel,
        "sentence-transformers-openvino": reranker.sentence_transformers_openvino,
    },
    "seq2seq": {
        "transformers": seq2seq.transformers,
        "transformers-slow": seq2seq.transformers_slow,
        "optimum-intel": seq2seq.optimum_intel,
    },
}
ANSWERS: dict[str, Callable[[Any, Facts], Facts]] = {
    "embedding": embedding.answer,
    "reranker": reranker.answer,
    "seq2seq": seq2seq.answer,
}


def load(order: Facts) -> Facts:
    """Load as ``order["consumer"]`` does, in ``order["way"]``, and answer ``order["ask"]``."""
    way = Way(**order["way"], shown=order["shown"])
    model = CONSUMERS[order["task"]][order["consumer"]](way)
    return {**model.facts, **ANSWERS[order["task"]](model, order["ask"])}
