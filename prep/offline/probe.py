"""What consumers do: load a model the way a service would, and answer questions.

Runs in a forked child without network. It needs the consumer's own libraries only, and gives plain
facts; judging them is the tests' work.
"""

import importlib
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

Facts = dict[str, Any]
Way = dict[str, Any]  # {"target": name or path, "revision": commit or None}

PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "optimum-intel",
    "optimum",
    "openvino",
    "nncf",
    "huggingface-hub",
    "tokenizers",
    "safetensors",
)
# Newer CPUs answer in bfloat16 unless told otherwise, which is too coarse for published goldens.
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def versions() -> dict[str, str]:
    """The versions of the libraries that are here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def warm() -> None:
    """Touch the names that libraries import lazily. Loads nothing and computes nothing."""
    for module, name in (
        ("transformers", "AutoModel"),
        ("transformers", "AutoTokenizer"),
        ("optimum.intel", "OVModelForFeatureExtraction"),
        ("sentence_transformers", "SentenceTransformer"),
    ):
        getattr(importlib.import_module(module), name)


def load(order: dict[str, Any]) -> Facts:
    """Load as the consumer `order["consumer"]` does and answer `order["texts"]`.

    Gives per text its token ids and vector, and facts about what was loaded.
    """
    consumer: Callable[[Way], Loaded] = CONSUMERS[order["consumer"]]
    loaded = consumer(order["way"])
    return {**loaded.facts, **_answers(loaded, order["texts"])}


class Loaded:
    """A loaded embedding model: `embed(texts)` gives one vector per text, batched as one."""

    def __init__(
        self, tokenizer: Any, embed: Callable[[list[str]], list[list[float]]], facts: Facts
    ) -> None:
        self.tokenizer = tokenizer
        self.embed = embed
        self.facts = {"vocabulary": len(tokenizer), **facts}


def _answers(loaded: Loaded, texts: list[str]) -> Facts:
    alone = [loaded.embed([text])[0] for text in texts]
    again = loaded.embed([texts[0]])[0]
    # A very long text would pad the whole batch to its length and prove nothing more.
    short = [index for index, text in enumerate(texts) if len(text) <= 300]
    batch = loaded.embed([texts[index] for index in short])
    limit = loaded.facts.get("max_length")
    return {
        "answers": [
            {"text": text, "ids": _ids(loaded.tokenizer, text, limit), "vector": vector}
            for text, vector in zip(texts, alone, strict=True)
        ],
        "again": _farthest([again], [alone[0]]),
        "batch": _farthest(batch, [alone[index] for index in short]),
    }


def _ids(tokenizer: Any, text: str, limit: int | None) -> list[int]:
    more = {"truncation": True, "max_length": limit} if limit else {}
    ids: list[int] = tokenizer(text, padding=False, **more)["input_ids"]
    return ids


def _farthest(some: list[list[float]], others: list[list[float]]) -> float:
    """The greatest difference of a component; NaN counts as infinitely far."""
    pairs = zip(some, others, strict=True)
    far = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return math.inf if any(math.isnan(one) for one in far) else max(far)


def _transformers(way: Way) -> Loaded:
    """AutoModel and AutoTokenizer; the mean over tokens is the service's own, not normalised."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(way["target"], revision=way["revision"])
    model, loading = AutoModel.from_pretrained(
        way["target"], revision=way["revision"], output_loading_info=True
    )
    model.eval()
    limit = model.config.max_position_embeddings

    def embed(texts: list[str]) -> list[list[float]]:
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        with torch.inference_mode():
            tokens = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        pooled: list[list[float]] = ((tokens * mask).sum(1) / mask.sum(1)).tolist()
        return pooled

    facts = {
        "dtype": str(model.dtype).removeprefix("torch."),
        "max_length": limit,
        "missing": sorted(map(str, loading["missing_keys"])),
        "unexpected": sorted(map(str, loading["unexpected_keys"])),
        "pooled": "mean, not normalised",
    }
    return Loaded(tokenizer, embed, facts)


def _sentence_transformers(way: Way, **how: Any) -> Loaded:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(way["target"], revision=way["revision"], device="cpu", **how)

    def embed(texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = model.encode(texts, show_progress_bar=False).tolist()
        return vectors

    facts = {
        "modules": [type(module).__name__ for module in model],
        "pooling": [
            mode
            for module in model
            for mode in _pooling(module)
            if type(module).__name__ == "Pooling"
        ],
        "max_length": model.max_seq_length,
        "pooled": "as its modules say",
    }
    if how:
        facts["read_from"] = str(model[0].auto_model.model_save_dir)
    return Loaded(model.tokenizer, embed, facts)


def _pooling(module: Any) -> list[str]:
    mode = getattr(module, "get_pooling_mode_str", None)
    return [mode()] if mode else [str(getattr(module, "pooling_mode", "unknown"))]


def _sentence_transformers_openvino(way: Way) -> Loaded:
    return _sentence_transformers(way, backend="openvino", model_kwargs={"ov_config": FLOAT32})


def _optimum_intel(way: Way) -> Loaded:
    import torch
    from optimum.intel import OVModelForFeatureExtraction
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(way["target"])
    model = OVModelForFeatureExtraction.from_pretrained(way["target"], ov_config=FLOAT32)
    limit = model.config.max_position_embeddings

    def embed(texts: list[str]) -> list[list[float]]:
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        tokens = torch.as_tensor(model(**batch).last_hidden_state)
        mask = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        pooled: list[list[float]] = ((tokens * mask).sum(1) / mask.sum(1)).tolist()
        return pooled

    facts = {
        "max_length": limit,
        "read_from": str(model.model_save_dir),
        "pooled": "mean, not normalised",
    }
    return Loaded(tokenizer, embed, facts)


CONSUMERS: dict[str, Callable[[Way], Loaded]] = {
    "transformers": _transformers,
    "sentence-transformers": _sentence_transformers,
    "optimum-intel": _optimum_intel,
    "sentence-transformers-openvino": _sentence_transformers_openvino,
}
