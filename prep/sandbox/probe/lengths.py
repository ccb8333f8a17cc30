"""Long texts: cut for models that take far longer ones, which are asked once where that is cheap.

Attention grows with the square of the length: what a model of 512 tokens reads in tenths of a
second takes one of 8192 a minute, for each text and each consumer, and proves no more.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from prep.sandbox.probe.loading import Facts, Way
from prep.sandbox.probe.modules import read

CUT = 512  # tokens: the limit of most models
MOST_SECONDS = 10.0  # for the one text at the model's own limit
MOST_BYTES = 2 << 30  # of attention scores, where a library holds those of a whole layer
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
HEADS = ("num_attention_heads", "encoder_attention_heads", "num_heads", "n_head", "n_heads")


class LongTexts:
    """The odd texts of an ask, cut at `CUT` tokens where the model takes more; `ask` has them so.

    `tried` is the length of the longest text that is asked, in tokens.
    """

    def __init__(self, model: Any, ask: Facts, odd: list[str]) -> None:
        self.model, self.limit = model, model.facts["max_length"] or CUT
        self.text = max(odd, key=len)
        cut = {text: self._cut(text) for text in odd} if self.limit > CUT else {}
        self.ask: Facts = _replaced(ask, cut)
        self.asked = cut.get(self.text, self.text)
        self.tried = min(self.limit, self._count(self.asked))

    def try_limit(self, task: ModuleType, way: Way) -> Facts:
        """The answer to one text beyond the model's own limit, where it takes `MOST_SECONDS` at
        most, estimated by the time of the cut text; nothing where that is not so.
        """
        if self.limit <= CUT or self.tried < CUT // 2:
            return {}
        question = _last(self.ask, self.asked)
        began = time.perf_counter()
        task.alone(self.model, question)
        seconds = time.perf_counter() - began
        config = read(way, "config.json") or {}
        if seconds * growth(config, self.tried, self.limit) > MOST_SECONDS:
            return {}
        if scores_bytes(config, self.limit) > MOST_BYTES:
            return {}
        whole = self.text * (1 + self.limit // max(1, self._count(self.text)))
        self.tried = min(self.limit, self._count(whole))
        answer: Facts = task.alone(self.model, _replaced(question, {self.asked: whole}))
        return answer

    def _cut(self, text: str) -> str:
        """Its longest beginning of so many tokens."""
        if self._count(text) <= CUT:
            return text
        fits, over = 0, len(text)
        while over - fits > 1:
            middle = (fits + over) // 2
            fits, over = (middle, over) if self._count(text[:middle]) <= CUT else (fits, middle)
        return text[:fits]

    def _count(self, text: str) -> int:
        """Its tokens, as far as it matters whether they are more than the limit."""
        how = {"padding": False, "truncation": True, "max_length": self.limit + 1}
        return len(self.model.tokenizer(text, **how)["input_ids"])


def growth(config: Facts, short: int, long: int) -> float:
    """How many times as long a text of `long` tokens takes as one of `short`.

    A layer of width w does 24·w² operations for each token, and 4·w for each pair of them; every
    layer does the same.
    """
    width = _first(config, WIDTHS) or 1024

    def operations(length: int) -> float:
        return 24 * width * length + 4 * length * length

    return operations(long) / operations(short)


def scores_bytes(config: Facts, length: int) -> int:
    """Of a layer's attention scores in float32, before and after the softmax."""
    return 2 * 4 * (_first(config, HEADS) or 16) * length * length


def _first(config: Facts, names: tuple[str, ...]) -> int | None:
    known = (config[name] for name in names if isinstance(config.get(name), int))
    return next(known, None)


def _replaced(questions: Any, texts: dict[str, str]) -> Any:
    """The same questions with other texts."""
    if isinstance(questions, str):
        return texts.get(questions, questions)
    if isinstance(questions, dict):
        return {kind: _replaced(asked, texts) for kind, asked in questions.items()}
    if isinstance(questions, list):
        return [_replaced(question, texts) for question in questions]
    return questions


def _last(ask: Facts, text: str) -> Facts:
    """Of each kind the last question that has the text: of a reranker, as a passage."""

    def has(question: Any) -> bool:
        return question == text or (isinstance(question, list) and text in question)

    return {
        kind: [question for question in asked if has(question)][-1:] for kind, asked in ask.items()
    }
