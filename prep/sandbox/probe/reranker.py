"""Rerankers: pairs of query and passage get one raw logit each, and what a service makes of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from prep.sandbox.probe import genai, loading
from prep.sandbox.probe.libraries import versions
from prep.sandbox.probe.loading import Facts, Way

# Imported before any fork: module and class.
CLASSES = (
    ("transformers", "AutoModelForSequenceClassification"),
    ("sentence_transformers", "CrossEncoder"),
    ("optimum.intel", "OVModelForSequenceClassification"),
    ("openvino_genai", "TextRerankPipeline"),
)
Pairs = Sequence[Sequence[str]]


class Reranker:
    """A loaded model: `logits(pairs)` gives one raw logit per pair, batched as one.

    `scores(pairs)` gives what the library hands out by itself, where that is another number.
    """

    def __init__(
        self,
        tokenizer: Any,
        logits: Callable[[Pairs], list[float]],
        facts: Facts,
        scores: Callable[[Pairs], list[float]] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.logits = logits
        self.scores = scores
        self.facts = {"vocabulary": len(tokenizer), **facts}


def lacking(consumer: str) -> str | None:
    """Why the libraries that are here cannot be this consumer, beyond what they all need."""
    package = sys.modules.get("sentence_transformers")  # absent where its import failed
    encoder = getattr(package, "CrossEncoder", None)
    if consumer != "sentence-transformers-openvino" or encoder is None:
        return None
    if "backend" in inspect.signature(encoder).parameters:
        return None
    return f"not offered by sentence-transformers {versions()['sentence-transformers']}"


def answer(model: Reranker, ask: Facts) -> Facts:
    """The raw logit of every pair."""
    pairs = ask["pairs"]
    logits, latency = loading.each(model.logits, pairs, ask.get("together", ()))
    return {
        "tokens": loading.ids_of(model.tokenizer, ask["texts"], model.facts["max_length"]),
        "logits": [[*pair, logit] for pair, logit in zip(pairs, logits)],
        "latency": latency,
    }


def alone(model: Reranker, ask: Facts) -> Facts:
    """The raw logit of every pair, and nothing else."""
    return {"logits": [[*pair, model.logits([pair])[0]] for pair in ask["pairs"]]}


def answer_again(model: Reranker, ask: Facts, answers: Facts) -> Facts:
    """How far a logit moves when it is asked again, and in a batch; and its scores."""
    rows = [row for row in answers["logits"] if row[:2] not in ask.get("together", ())]
    pairs, alone = [row[:2] for row in rows], [row[-1] for row in rows]
    short = loading.batch_of([len("".join(pair)) for pair in pairs])
    together = model.logits([pairs[number] for number in short])
    facts: Facts = {
        "again": loading.largest_gap(model.logits([pairs[0]]), alone[:1]),
        "batch": loading.largest_gap(together, [alone[number] for number in short]),
    }
    if model.scores is not None:
        scored = pairs[: loading.BATCH]  # the activation is the same for all
        facts["scores"] = [[*pair, model.scores([pair])[0]] for pair in scored]
    return facts


def transformers(way: Way) -> Reranker:
    """AutoModelForSequenceClassification and AutoTokenizer."""
    from transformers import AutoModelForSequenceClassification

    return _classified(*loading.load_original(AutoModelForSequenceClassification, way))


def optimum_intel(way: Way) -> Reranker:
    """OVModelForSequenceClassification and AutoTokenizer."""
    from optimum.intel import OVModelForSequenceClassification

    return _classified(*loading.load_converted(OVModelForSequenceClassification, way))


def sentence_transformers(way: Way, **how: Any) -> Reranker:
    """CrossEncoder: its scores pass an activation that it chooses; the raw logits are asked too."""
    import torch
    from sentence_transformers import CrossEncoder

    hub = dict(way.hub)
    # Before version 4 the folder was called cache_dir, and predict's activation_fn activation_fct.
    if "cache_folder" in inspect.signature(CrossEncoder.__init__).parameters:
        hub["cache_folder"] = hub.pop("cache_dir", None)
    model = CrossEncoder(way.target, device="cpu", **hub, **how)
    named = inspect.signature(model.predict).parameters
    raw = {"activation_fn" if "activation_fn" in named else "activation_fct": torch.nn.Identity()}

    def scores(pairs: Pairs, **how: Any) -> list[float]:
        found = model.predict([tuple(pair) for pair in pairs], show_progress_bar=False, **how)
        return [float(number) for number in found]

    activation = getattr(model, "activation_fn", None) or model.default_activation_function
    tokenizer = model.tokenizer
    facts = {
        "activation": type(activation).__name__,
        # Of modules, the library knows: a causal model's configuration has two that nobody reads.
        "labels": int(getattr(model, "num_labels", 0) or model.config.num_labels),
        "max_length": getattr(model, "max_length", None) or loading.limit_of(tokenizer),
    }
    if "backend" in how:
        facts.update(loading.openvino_facts(model.model, way))
    else:
        facts["dtype"] = loading.dtype_of(model.model)
    return Reranker(tokenizer, partial(scores, **raw), facts, scores)


def sentence_transformers_openvino(way: Way) -> Reranker:
    """CrossEncoder around the converted model."""
    config = {"ov_config": loading.ov_config()}
    return sentence_transformers(way, backend="openvino", model_kwargs=config)


def openvino_genai(way: Way) -> Reranker:
    """TextRerankPipeline: it hands out the sigmoid of each logit, sorted."""
    from openvino_genai import TextRerankPipeline

    tokenizer, limit, described = genai.described(way)
    side = tokenizer.named.padding_side  # by itself it pads all on the right
    config = TextRerankPipeline.Config(top_n=genai.ALL, max_length=limit, padding_side=side)
    model = TextRerankPipeline(way.target, "CPU", config, **loading.ov_config())

    def size(text: str) -> int:
        return len(tokenizer.named(text)["input_ids"])

    def logits(pairs: Pairs) -> list[float]:
        found = [0.0] * len(pairs)
        for query in dict.fromkeys(query for query, _ in pairs):
            asked = [number for number, pair in enumerate(pairs) if pair[0] == query]
            # Release 2026.4 writes beyond its memory where passages are shorter than the query, and
            # crashes, at once or later: those are asked one by one.
            together = size(query) * len(asked) <= sum(size(pairs[number][1]) for number in asked)
            for numbers in [asked] if together else [[number] for number in asked]:
                passages = [pairs[number][1] for number in numbers]
                for place, score in model.rerank(query, passages):
                    found[numbers[place]] = genai.logit(score)
        return found

    labels = int(described.num_labels)
    return Reranker(tokenizer, logits, {"labels": labels, "max_length": limit})


def reference(way: Way) -> Reranker:
    """CrossEncoder's raw logits in float32: what every consumer is held against."""
    return sentence_transformers(way, model_kwargs=loading.float32())


def _classified(tokenizer: Any, model: Any, facts: Facts) -> Reranker:
    import torch

    limit = loading.limit_of(tokenizer, model.config)

    def logits(pairs: Pairs) -> list[float]:
        queries, passages = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        batch = tokenizer(
            queries, passages, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        with torch.inference_mode():
            found: list[list[float]] = torch.as_tensor(model(**batch).logits).tolist()
        return [labels[0] for labels in found]

    labels = int(model.config.num_labels)
    return Reranker(tokenizer, logits, {"labels": labels, "max_length": limit, **facts})


CONSUMERS = {
    "transformers": transformers,
    "sentence-transformers": sentence_transformers,
    "optimum-intel": optimum_intel,
    "sentence-transformers-openvino": sentence_transformers_openvino,
    "openvino-genai": openvino_genai,
}
