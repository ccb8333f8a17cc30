"""What OpenVINO's own runtime takes and gives, for both of its pipelines."""

from __future__ import annotations

import math
from typing import Any

from prep.sandbox.probe import loading
from prep.sandbox.probe.loading import Way

POOLING = {"cls": "CLS", "mean": "MEAN", "lasttoken": "LAST_TOKEN"}
"""Its names for the ways to pool; it has no others."""
ALL = 1 << 16  # documents that it answers with: by itself, only the best three
SURE = 1 - 2.0**-25  # a score is a float32: above this one it is 1


class Tokenizer:
    """The tokenizer that its pipelines read: ids are its own; the repository's names the pieces."""

    def __init__(self, folder: str, named: Any) -> None:
        import openvino_genai

        self.named = named
        self._encode = openvino_genai.Tokenizer(folder).encode

    def __len__(self) -> int:
        return len(self.named)

    def __call__(self, text: str, *, max_length: int, **how: Any) -> Any:
        """Its token ids, as a tokenizer of transformers gives them."""
        how.pop("padding", None)
        ids = self._encode([text], max_length=max_length, **how).input_ids.data
        return {"input_ids": [int(number) for number in ids[0]]}

    def convert_ids_to_tokens(self, ids: list[int]) -> Any:
        """As pieces of text."""
        return self.named.convert_ids_to_tokens(ids)


def described(way: Way) -> tuple[Tokenizer, int, Any]:
    """The tokenizer of a converted folder, how many tokens a text may have, and config.json."""
    from transformers import AutoConfig, AutoTokenizer

    named = AutoTokenizer.from_pretrained(way.target, trust_remote_code=False)
    config = AutoConfig.from_pretrained(way.target, trust_remote_code=False)
    return Tokenizer(way.target, named), loading.limit_of(named, config), config


def logit(score: float) -> float:
    """What a score is the sigmoid of, as far as a float32 tells: from about -100 to 17."""
    score = min(max(score, 1e-45), SURE)
    return math.log(score / (1 - score))
