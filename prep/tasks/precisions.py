"""The precisions of a conversion, as a catalogue names them, from the finest to the coarsest."""

from collections.abc import Mapping

PRECISIONS = ("fp32", "fp16", "int8")
PUBLISHED = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""What weights are published in, as PyTorch calls it and as bounds do."""

COMPUTED = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
"""What OpenVINO computes in, as it calls it and as bounds do."""

COARSER = 8  # bfloat16 keeps 8 bits of a number, float16 keeps 11


def bound(table: Mapping[str, float], precision: str, best: float = 0.0) -> float:
    """The bound of a precision, or of a published type; `best` is what an exact answer has."""
    if precision in table:
        return table[precision]
    return best + COARSER * (table["fp16"] - best)
