"""From tokens to a vector as the repository says: pooling, dense layers and normalisation.

A service that loads the transformer alone does by itself what sentence-transformers reads from
modules.json; this is such a service, in code that shares nothing with that library.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prep.sandbox.probe.loading import Facts, Way

POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
Step = Callable[[Any], Any]


class Pipeline:
    """The steps of one repository; without modules.json the mean, which services take then.

    `max_length` is the limit that it names, None where it names none. `prompt` stands before every
    text, and its tokens count for nothing where `counts_prompt` is False.
    """

    def __init__(self, way: Way) -> None:
        modules = read(way, "modules.json")
        self.modes: tuple[str, ...] = ("mean",)
        self.counts_prompt = True
        self.steps: list[Step] = []
        self.names: list[str] = []
        for module in modules or ():
            kind, folder = module["type"].rpartition(".")[2], module["path"]
            if kind == "Pooling":
                self._take_pooling(read(way, f"{folder}/config.json") or {})
            elif kind != "Transformer":
                self.steps.append(_step(kind, folder, way))
            if kind != "Transformer":
                self.names.append(kind)
        limits = read(way, "sentence_bert_config.json") or {}
        self.max_length: int | None = limits.get("max_seq_length")
        prompts = read(way, "config_sentence_transformers.json") or {}
        name = prompts.get("default_prompt_name")
        self.prompt: str = (prompts.get("prompts") or {}).get(name, "") if name else ""
        self.normalizes = bool(self.names) and self.names[-1] == "Normalize"

    def _take_pooling(self, config: Facts) -> None:
        named = config.get("pooling_mode")
        old = tuple(mode for key, mode in POOLING.items() if config.get(key))
        self.modes = (named,) if isinstance(named, str) else tuple(named or old or ("mean",))
        self.counts_prompt = bool(config.get("include_prompt", True))

    def vectors(self, tokens: Any, mask: Any) -> Any:
        """From the last hidden state, ``[texts, tokens, width]``, and its mask: a row a text."""
        import torch

        pooled = torch.cat([_pooled(mode, tokens, mask) for mode in self.modes], 1)
        for step in self.steps:
            pooled = step(pooled)
        return pooled


def read(way: Way, name: str) -> Any:
    """The content of a JSON file of the repository, as the library finds it; None if not there."""
    path = find(way, name)
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def find(way: Way, name: str) -> str | None:
    """Where a file of the repository lies."""
    from transformers.utils import cached_file

    found: str | None = cached_file(
        way.target,
        name,
        revision=way.hub["revision"],
        cache_dir=way.hub.get("cache_dir"),
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found


def _pooled(mode: str, tokens: Any, mask: Any) -> Any:
    import torch

    weights = mask.unsqueeze(-1).to(tokens.dtype)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, tokens.shape[1] + 1).view(1, -1, 1)
    numbered = mask * torch.arange(1, mask.shape[1] + 1)
    rows = torch.arange(tokens.shape[0])
    if mode == "cls":
        return tokens[rows, mask.argmax(1)]  # the first that counts, wherever the padding stands
    if mode == "lasttoken":
        return tokens[rows, numbered.argmax(1)]
    if mode == "max":
        return tokens.masked_fill(weights == 0, -torch.inf).max(1).values
    total = weights.sum(1).clamp(min=1e-9)
    if mode == "mean_sqrt_len_tokens":
        total = total.sqrt()
    elif mode not in ("mean", "weightedmean"):
        raise ValueError(f"pooling {mode!r} is not known: name the consumers in the catalogue")
    return (tokens * weights).sum(1) / total


def _step(kind: str, folder: str, way: Way) -> Step:
    import torch
    from safetensors.torch import load_file

    if kind == "Normalize":
        return lambda rows: torch.nn.functional.normalize(rows, dim=1)
    if kind not in ("Dense", "LayerNorm"):
        raise ValueError(f"module {kind!r} is not known: name the consumers in the catalogue")
    weights = load_file(find(way, f"{folder}/model.safetensors") or f"{folder}/model.safetensors")
    if kind == "LayerNorm":
        width = weights["norm.weight"].shape
        return lambda rows: torch.nn.functional.layer_norm(
            rows, width, weights["norm.weight"], weights["norm.bias"]
        )
    name = read(way, f"{folder}/config.json").get("activation_function") or "Tanh"
    activation = getattr(torch.nn, name.rpartition(".")[2])()
    matrix, bias = weights["linear.weight"], weights.get("linear.bias")

    def dense(rows: Any) -> Any:
        return activation(torch.nn.functional.linear(rows.to(matrix.dtype), matrix, bias))

    return dense
