"""The disk, TMPDIR and memory that a conversion needs, estimated from the files in the lock.

A safetensors file is its numbers and a short header. optimum-intel writes them once as float32 into
TMPDIR, and a precision keeps so many bytes of each number. Where the file is not there yet its
numbers count as float32, as such models are published; of an encoder and a decoder that
each hold the vocabulary, what is computed is the least.
"""

from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.lock import LockedModel
from prep.files.unsafe import tensors_of
from prep.home.layout import Home

WIDTH = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}
KEPT_WIDTH = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes of each number in a precision
LOADING = 128 << 20  # bytes that any load takes: a tokenizer, and what the libraries compute in
GRAPH = 1 << 20  # bytes; what describes the network, 0.1 to 1 MB in all that was converted
# The most memory of a converting process: its libraries, and so many bytes for each byte of the
# weights as float32. As measured of models of 0.4 to 1,461 MB, see docs/operations.md.
LIBRARIES = 470 << 20
MEMORY = {"fp32": 1.2, "fp16": 1.6, "int8": 1.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """One conversion to make. Bytes: of the folder, in TMPDIR meanwhile, and of memory."""

    precision: str
    bytes: int
    temporary: int
    memory: int


def make_of(home: Home, locked: LockedModel, precision: str) -> Make:
    """What converting to a precision takes; the sizes are those of the module's docstring."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    weights = [file for file in locked.files if file.path.endswith(".safetensors")]
    small = sum(file.size for file in locked.files) - sum(file.size for file in weights)
    numbers = sum(_numbers(snapshot / file.path, file.size) for file in weights)
    whole = numbers * 4
    return Make(
        precision=precision,
        bytes=numbers * KEPT_WIDTH[precision] + small + GRAPH,
        temporary=whole + small + GRAPH,
        memory=LIBRARIES + int(whole * MEMORY[precision]),
    )


def load_memory(home: Home, locked: LockedModel, precision: str | None) -> int:
    """What a load takes beyond the libraries, in bytes: the weights, and once more for a copy."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    weights = [file for file in locked.files if file.path.endswith(".safetensors")]
    numbers = sum(_numbers(snapshot / file.path, file.size) for file in weights)
    return LOADING + 2 * numbers * (KEPT_WIDTH[precision] if precision else 4)


def _numbers(path: Path, size: int) -> int:
    """How many numbers a safetensors file holds: by its header, else by its size as float32."""
    try:
        tensors = tensors_of(path)
    except OSError:
        tensors = None
    if tensors is None:
        return size // 4  # missing, or corrupt: reported by its own checks
    return sum(span // WIDTH.get(dtype, 1) for dtype, span in tensors)
