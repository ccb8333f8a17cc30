"""What a converted model holds, measured in a child without network; and what it must hold.

The receipt proves bytes, not rightness: these checks run on a new conversion before its receipt is
written, and on every prepared one in every run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Element types of IR constants that count as weights of each precision.
WEIGHTS = {"fp32": ("f32",), "fp16": ("f16",), "int8": ("u8", "i8")}
LEAST_SHARE = 0.95  # of all weight elements; the rest are small constants the compressor leaves
LEAST_ELEMENTS = 256  # a constant with fewer is no weight matrix

# How a converted model's answers are held against the original's, and which way is better.
MEASURES = {
    "embedding": "the lowest cosine to the PyTorch original",
    "reranker": "the greatest difference of a logit to the PyTorch original's, of their spread,",
    "seq2seq": "the share of the PyTorch original's tokens that come first here as well",
}
AT_MOST = ("reranker",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Facts about one converted folder.

    `elements` counts the weight elements of each IR element type; `agreement` is the task's measure
    of the converted model's answers against those of the PyTorch original on the same questions,
    `contradictions` are answers that mean something else.
    """

    task: str
    elements: Mapping[str, int]
    vocabulary: int
    source_vocabulary: int
    finite: bool
    agreement: float
    contradictions: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As the receipt keeps it."""
        return {"elements": dict(self.elements), "agreement": self.agreement}

    def share(self, precision: str) -> float:
        """The share of weight elements that are stored in that precision."""
        total = sum(self.elements.values())
        own = sum(self.elements.get(kind, 0) for kind in WEIGHTS[precision])
        return own / total if total else 0.0

    def problems(self, precision: str, bound: float) -> dict[str, str]:
        """What is wrong with it, by aspect: the same sentences when it is made and ever after."""
        found = {}
        if self.share(precision) < LEAST_SHARE:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.elements.items()))
            found["weights"] = (
                f"{self.share(precision):.0%} of the weights are {precision}, wanted at least "
                f"{LEAST_SHARE:.0%} (elements: {kinds or 'none'})"
            )
        if self.vocabulary != self.source_vocabulary:
            found["tokenizer"] = (
                f"the tokenizer has {self.vocabulary} tokens, the original has "
                f"{self.source_vocabulary}"
            )
        if answers := self._disagreement(bound):
            found["agreement"] = answers
        return found

    def _disagreement(self, bound: float) -> str | None:
        if not self.finite:
            return "answers hold NaN or infinity"
        less_is_better = self.task in AT_MOST
        if not (self.agreement <= bound if less_is_better else self.agreement >= bound):
            wanted = "at most" if less_is_better else "at least"
            return f"{MEASURES[self.task]} is {self.agreement:.4f}, wanted {wanted} {bound}"
        return "; ".join(self.contradictions) or None


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Measure ``order["folder"]`` against ``order["source"]``; runs in a forked child."""
    from prep.sandbox.probe.consumers import CONSUMERS
    from prep.sandbox.probe.loading import Way

    task = order["task"]
    original = CONSUMERS[task]["transformers"](Way(target=order["source"]))
    converted = CONSUMERS[task]["optimum-intel"](Way(target=order["folder"]))
    compare = {"embedding": _vectors, "reranker": _logits, "seq2seq": _tokens}[task]
    return {
        "task": task,
        "elements": _elements(order["folder"]),
        "vocabulary": len(converted.tokenizer),
        "source_vocabulary": len(original.tokenizer),
        "contradictions": [],
        **compare(original, converted, order["ask"]),
    }


def _vectors(original: Any, converted: Any, ask: dict[str, Any]) -> dict[str, Any]:
    """The lowest cosine between vectors of one text."""
    pairs = [(original.embed([text])[0], converted.embed([text])[0]) for text in ask["texts"]]
    finite = _all_finite(number for pair in pairs for vector in pair for number in vector)
    return {"finite": finite, "agreement": min(cosine(*pair) for pair in pairs) if finite else 0.0}


def _logits(original: Any, converted: Any, ask: dict[str, Any]) -> dict[str, Any]:
    """The greatest difference of a logit, of the original's spread; and who is put first."""
    pairs = ask["pairs"]
    theirs = [original.logits([pair])[0] for pair in pairs]
    ours = [converted.logits([pair])[0] for pair in pairs]
    if not _all_finite([*theirs, *ours]):
        return {"finite": False, "agreement": 1.0}
    spread = max(theirs) - min(theirs)
    gap = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    contradictions = []
    for query in dict.fromkeys(query for query, _ in pairs):
        own = [number for number, pair in enumerate(pairs) if pair[0] == query]
        first, other = (max(own, key=scores.__getitem__) for scores in (theirs, ours))
        if first != other:
            contradictions.append(
                f"{query!r}: {pairs[other][1]!r} comes first, not {pairs[first][1]!r}"
            )
    return {
        "finite": True,
        "agreement": gap / spread if spread else float(gap > 0),
        "contradictions": contradictions,
    }


def _tokens(original: Any, converted: Any, ask: dict[str, Any]) -> dict[str, Any]:
    """The share of the original's greedy tokens that come first here, shown those before them.

    Free answers of two nearly equal models part for good at the first token that differs.
    """
    import torch

    same = total = 0
    finite = True
    for prompt, length in ask["prompts"]:
        written = original.write(prompt, length)["ids"]
        start = original.model.config.decoder_start_token_id
        shown = torch.tensor([[start, *written[:-1]]])
        with torch.inference_mode():
            out = converted.model(**converted.encode(prompt), decoder_input_ids=shown)
        logits = torch.as_tensor(out.logits)[0]
        finite = finite and bool(torch.isfinite(logits).all())
        total += len(written)
        same += int((logits.argmax(-1) == torch.tensor(written)).sum())
    return {"finite": finite, "agreement": same / total if total else 0.0}


def cosine(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors; one of zeros only is like no other."""
    import math

    dot = sum(a * b for a, b in zip(one, other, strict=True))
    lengths = math.hypot(*one) * math.hypot(*other)
    return dot / lengths if lengths else 0.0


def _all_finite(numbers: Any) -> bool:
    import math

    return all(map(math.isfinite, numbers))


def _elements(folder: str) -> dict[str, int]:
    """How many elements the weight constants of every IR in the folder have, by element type."""
    import math
    from pathlib import Path

    import openvino

    counts: dict[str, int] = {}
    for path in sorted(Path(folder).glob("openvino_*.xml")):
        if "tokenizer" in path.name:
            continue
        for node in openvino.Core().read_model(path).get_ops():
            if node.get_type_name() != "Constant":
                continue
            shape = list(node.get_output_shape(0))
            kind = node.get_output_element_type(0).get_type_name()
            if len(shape) > 1 and math.prod(shape) >= LEAST_ELEMENTS and kind[0] in "fbui":
                if kind in ("i64", "i32", "boolean"):
                    continue  # positions and masks, not weights
                counts[kind] = counts.get(kind, 0) + math.prod(shape)
    return counts
