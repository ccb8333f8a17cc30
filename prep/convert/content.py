"""What a conversion holds, measured in a child without network; and what it must hold.

The receipt proves bytes, not that they are right: these checks run on a new conversion before its
receipt is written, and on every prepared conversion in every run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.convert import tokenizer
from prep.errors import listing
from prep.home.receipt import TOKENIZER
from prep.tasks.measure import Agreement
from prep.tasks.registry import TASKS

# Element types of IR constants that count as weights of each precision.
WEIGHTS = {"fp32": ("f32",), "fp16": ("f16",), "int8": ("u8", "i8")}
LEAST_SHARE = 0.95  # of all weight elements; the rest are small constants the compressor leaves
CONSUMER = "optimum-intel"  # by which a conversion is judged
# So begins the name of an operation's result. Folded into a constant it is no weight of the source:
# DeBERTa's positions, by head. One with two dimensions may be a weight that was only turned.
COMPUTED = "__module."
LEAST_ELEMENTS = 256  # a constant with fewer is no weight matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was measured of one converted folder.

    `elements` counts the weight elements of each IR element type; `agreement` is that of its
    answers with the reference's on the same questions; `differences` are where the tokenizer's IR
    answers otherwise than the tokenizer.
    """

    task: str
    elements: Mapping[str, int]
    vocabulary: int
    source_vocabulary: int
    agreement: Agreement
    differences: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As the receipt keeps it."""
        return {"elements": dict(self.elements), "agreement": self.agreement.value}

    def share(self, precision: str) -> float:
        """The share of weight elements that are stored in that precision."""
        total = sum(self.elements.values())
        own = sum(self.elements.get(kind, 0) for kind in WEIGHTS[precision])
        return own / total if total else 0.0

    def problems(self, precision: str, bound: float) -> dict[str, str]:
        """What is wrong with it, by aspect: the same messages when it is made and in later runs."""
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
        elif self.differences:
            found["tokenizer"] = listing(f"{TOKENIZER} answers otherwise", self.differences)
        if answers := TASKS[self.task].measure.problems(self.agreement, bound):
            found["agreement"] = "; ".join(answers)
        return found


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """What ``order["folder"]`` holds, and its answers; runs in a forked child."""
    from prep.sandbox.probe import consumers
    from prep.sandbox.probe.loading import Way

    task = consumers.TASKS[order["task"]]
    way = Way(target=order["folder"], languages=order["languages"])
    model = task.CONSUMERS[CONSUMER](way)
    answers = task.answer(model, order["ask"])
    written = [answer["ids"] for answer in answers.get("written", ())]
    return {
        "elements": _elements(order["folder"]),
        "vocabulary": model.facts["vocabulary"],
        "answers": answers,
        "differences": tokenizer.differences(
            Path(order["folder"]), model.tokenizer, order["texts"], written
        ),
    }


def _elements(folder: str) -> dict[str, int]:
    """How many elements the weight constants of every IR in the folder have, by element type."""
    import math

    import openvino

    counts: dict[str, int] = {}
    for path in sorted(Path(folder).glob("openvino_*.xml")):
        if "tokenizer" in path.name:
            continue
        for node in openvino.Core().read_model(path).get_ops():
            if node.get_type_name() != "Constant":
                continue
            shape = list(node.get_output_shape(0))
            if len(shape) > 2 and node.get_friendly_name().startswith(COMPUTED):
                continue
            kind = node.get_output_element_type(0).get_type_name()
            if len(shape) > 1 and math.prod(shape) >= LEAST_ELEMENTS and kind[0] in "fbui":
                if kind in ("i64", "i32", "boolean"):
                    continue  # positions and masks, not weights
                counts[kind] = counts.get(kind, 0) + math.prod(shape)
    return counts
