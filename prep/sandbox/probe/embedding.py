"""Embeddings: texts become vectors, by a service's own pooling or by sentence-transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from prep.sandbox.probe import genai, loading
from prep.sandbox.probe.isolation import NotTried
from prep.sandbox.probe.loading import Facts, Way
from prep.sandbox.probe.modules import Pipeline, read

# Imported before any fork: module and class.
CLASSES = (
    ("transformers", "AutoModel"),
    ("sentence_transformers", "SentenceTransformer"),
    ("optimum.intel", "OVModelForFeatureExtraction"),
    ("openvino_genai", "TextEmbeddingPipeline"),
)
Vectors = list[list[float]]


class Embedding:
    """A loaded model: `embed(texts)` gives one vector per text, batched as one."""

    def __init__(self, tokenizer: Any, embed: Callable[[list[str]], Vectors], facts: Facts) -> None:
        self.tokenizer = tokenizer
        self.embed = embed
        self.facts = {"vocabulary": len(tokenizer), **facts}


class _RawTokenizer:
    """A tokenizer of the library tokenizers as one of transformers, asked as StaticEmbedding asks
    it: without special tokens, and without a limit."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, text: str, **how: Any) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=False).ids}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self._tokenizer.id_to_token(number) for number in ids]


def answer(model: Embedding, ask: Facts) -> Facts:
    """The vector of every text."""
    texts = ask["texts"]
    vectors, latency = loading.each(model.embed, texts, ask.get("together", ()))
    return {
        "tokens": loading.ids_of(model.tokenizer, texts, model.facts["max_length"]),
        "vectors": dict(zip(texts, vectors)),
        "latency": latency,
    }


def alone(model: Embedding, ask: Facts) -> Facts:
    """The vector of every text, and nothing else."""
    return {"vectors": {text: model.embed([text])[0] for text in ask["texts"]}}


def answer_again(model: Embedding, ask: Facts, answers: Facts) -> Facts:
    """How far a vector moves when it is asked again, and in a batch."""
    alone = {
        text: vector
        for text, vector in answers["vectors"].items()
        if text not in ask.get("together", ())
    }
    texts = list(alone)
    short = [texts[number] for number in loading.batch_of([len(text) for text in texts])]
    batch = zip(short, model.embed(short))
    return {
        "again": loading.largest_gap(model.embed([texts[0]])[0], alone[texts[0]]),
        "batch": max(loading.largest_gap(vector, alone[text]) for text, vector in batch),
    }


def transformers(way: Way) -> Embedding:
    """AutoModel and AutoTokenizer; the service pools as the repository says."""
    from transformers import AutoModel

    return _pooled(Pipeline(way), *loading.load_original(AutoModel, way))


def optimum_intel(way: Way) -> Embedding:
    """OVModelForFeatureExtraction and AutoTokenizer, pooled as above."""
    from optimum.intel import OVModelForFeatureExtraction

    return _pooled(Pipeline(way), *loading.load_converted(OVModelForFeatureExtraction, way))


def sentence_transformers(way: Way, **how: Any) -> Embedding:
    """SentenceTransformer: pooling, normalisation and length are what the repository says."""
    from sentence_transformers import SentenceTransformer

    hub = {**way.hub, "cache_folder": way.hub.get("cache_dir")}
    hub.pop("cache_dir", None)
    model = SentenceTransformer(way.target, device="cpu", **hub, **how)

    def embed(texts: list[str]) -> Vectors:
        vectors: Vectors = model.encode(texts, show_progress_bar=False).tolist()
        return vectors

    facts = {
        "modules": [type(module).__name__ for module in model],
        "pooling": [_pooling(module) for module in model if type(module).__name__ == "Pooling"],
        "max_length": limit if math.isfinite(limit := model.max_seq_length or math.inf) else None,
        "normalized": type(model[-1]).__name__ == "Normalize",
        "dtype": loading.dtype_of(model),
    }
    if "backend" in how:
        facts.update(loading.openvino_facts(model[0].auto_model, way))
    tokenizer = model.tokenizer
    return Embedding(tokenizer if callable(tokenizer) else _RawTokenizer(tokenizer), embed, facts)


def sentence_transformers_openvino(way: Way) -> Embedding:
    """The same pipeline around the converted model."""
    config = {"ov_config": loading.ov_config()}
    return sentence_transformers(way, backend="openvino", model_kwargs=config)


def openvino_genai(way: Way) -> Embedding:
    """TextEmbeddingPipeline: the service says how to pool, and what stands before a text."""
    from openvino_genai import TextEmbeddingPipeline

    pipeline = Pipeline(way)
    modes = ", ".join(pipeline.modes)
    if modes not in genai.POOLING:
        raise NotTried(f"openvino-genai has no pooling {modes}")
    tokenizer, limit, _ = genai.described(way)
    limit = min(filter(None, (pipeline.max_length, limit)))
    config = TextEmbeddingPipeline.Config(
        pooling_type=getattr(TextEmbeddingPipeline.PoolingType, genai.POOLING[modes]),
        normalize=pipeline.normalizes,
        max_length=limit,
        padding_side=tokenizer.named.padding_side,  # by itself it pads all on the right
        **({"embed_instruction": pipeline.prompt} if pipeline.prompt else {}),
    )
    model = TextEmbeddingPipeline(way.target, "CPU", config, **loading.ov_config())
    facts = {"max_length": limit, "pooling": [modes], "normalized": pipeline.normalizes}
    return Embedding(tokenizer, model.embed_documents, facts)


def reference(way: Way) -> Embedding:
    """The publisher's pipeline in float32: what every consumer is held against."""
    if read(way, "modules.json") is None:  # no more is said than the transformer
        from transformers import AutoModel

        return _pooled(Pipeline(way), *loading.load_original(AutoModel, way, **loading.float32()))
    return sentence_transformers(way, model_kwargs=loading.float32())


def _pooling(module: Any) -> str:
    mode = getattr(module, "get_pooling_mode_str", None)
    return str(mode() if mode else getattr(module, "pooling_mode", "unknown"))


def _pooled(pipeline: Pipeline, tokenizer: Any, model: Any, facts: Facts) -> Embedding:
    import torch

    limits = filter(None, (pipeline.max_length, loading.limit_of(tokenizer, model.config)))
    limit = min(limits)
    skipped = 0 if pipeline.counts_prompt else len(tokenizer(pipeline.prompt)["input_ids"]) - 1

    def embed(texts: list[str]) -> Vectors:
        batch = tokenizer(
            [pipeline.prompt + text for text in texts],
            padding=True,
            truncation=True,
            max_length=limit,
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = torch.as_tensor(model(**batch).last_hidden_state).float()
        mask = batch["attention_mask"].clone()
        mask[:, :skipped] = 0
        vectors: Vectors = pipeline.vectors(tokens, mask).tolist()
        return vectors

    pooled = {"max_length": limit, "pooling": list(pipeline.modes)}
    return Embedding(tokenizer, embed, {**pooled, "normalized": pipeline.normalizes, **facts})


CONSUMERS = {
    "transformers": transformers,
    "sentence-transformers": sentence_transformers,
    "optimum-intel": optimum_intel,
    "sentence-transformers-openvino": sentence_transformers_openvino,
    "openvino-genai": openvino_genai,
}
