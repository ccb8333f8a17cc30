"""Unsafe files: settings that ask a library to run code, and weights whose header lies.

Pure: a file is checked by its path and by a reader of its bytes, so that the messages are the same
for a hub's answers (``--relock``), for fetched files and for a prepared home. Our own loads never
trust remote code; a consumer may, or be of a version that does so without being asked:
https://huggingface.co/docs/transformers/models#custom-models
"""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prep.files.fields import path_problem
from prep.files.patterns import is_pickle, matches
from prep.files.reader import DEEPEST, LONGEST_NUMBER, duplicate_key, open_file, printable

Read = Callable[[int, int], bytes]
"""``read(start, count)``: that part of a file, less where the file ends earlier."""

CODE = ("*.py", "*.pyc", "*.pyd", "*.so", "*.dll", "*.dylib")
# Their keys are words of a language, and no library reads settings from them.
VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
# A key that names code of this repository, or of another, for a class.
CODE_KEYS = ("auto_map", "custom_pipelines", "auto_mapping")
# Types of config.json whose code became a class of transformers that computes the same, so that
# nothing of the repository is run. Having a class of that name is not enough: others changed what
# it computes (gte-Qwen2), and would be read by the wrong class.
NATIVE_TYPES = ("nomic_bert",)
# A key whose value may name a repository of compiled kernels: transformers, hub_kernels.py.
KERNEL_KEYS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation_internal",
)
# A key whose value is imported as a class, and in older sentence-transformers whatever it names.
CLASS_KEYS = (
    "activation_function",
    "activation_fn",
    "sbert_ce_default_activation_function",
    "tokenizer_class",
)
MODULES = "sentence_transformers."
KNOWN_CLASSES = (MODULES, "torch.")

# The format's own limit, and its types with the bits of an element:
# https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs
LONGEST_HEADER = 100_000_000
COUNT_LIMIT = 2**64  # a shape, its product and offsets are less
BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
BITS |= dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8)
BITS |= dict.fromkeys(("I16", "U16", "F16", "BF16"), 16)
BITS |= dict.fromkeys(("I32", "U32", "F32"), 32)
BITS |= dict.fromkeys(("I64", "U64", "F64", "C64"), 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsafe:
    """`kind` is ``code`` (it would be run) or ``lies`` (its header); `detail` says what."""

    kind: Literal["code", "lies"]
    detail: str


class _InvalidHeader(Exception):
    """A header or an index does not fit its file."""


class _Pairs(dict[str, Any]):
    """A JSON object with all its pairs: of a key that is there twice, parsers take either value."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def of_name(path: str) -> str | None:
    """Why a file of that path is never locked, whatever is in it; None where it may be."""
    if problem := path_problem(path):
        return f"{problem}; it must stay inside the model's folder"
    if is_pickle(path):
        return "may run code when loaded; only safetensors weights are taken"
    if matches(path.lower().rpartition("/")[2], CODE):
        return "is code, and a model whose loading needs its own code is not taken"
    return None


def is_read(path: str) -> bool:
    """Whether `of_file` looks into a file of that path."""
    name = path.rpartition("/")[2]
    return path.endswith((".safetensors", ".json")) and name not in VOCABULARIES


def of_file(path: str, size: int, read: Read, locked: Collection[str]) -> Unsafe | None:
    """Why a file of `size` bytes is unsafe; `locked` are the paths of all files of its model.

    Raises only what `read` raises.
    """
    if not is_read(path):
        return None
    if path.endswith(".safetensors"):
        return _checked(lambda: _check_header(size, read))
    if size > LONGEST_HEADER:
        detail = f"has {size} bytes, too many to be searched for code to import"
        return Unsafe(kind="code", detail=detail)
    text = read(0, size)
    if path.endswith(".safetensors.index.json"):
        return _checked(lambda: _check_index(path, text, locked))
    try:
        settings = json.loads(text, object_pairs_hook=_Pairs, parse_int=_number)
        requests = list(dict.fromkeys(_code_requests(path, settings)))
    except RecursionError:
        # How deep a library reads depends on its Python: deeper settings could be hidden from us.
        return Unsafe(kind="code", detail="is nested too deep to be searched for code to import")
    except ValueError:
        return None  # no library reads settings from it either, and loading will fail
    return Unsafe(kind="code", detail="; ".join(requests)) if requests else None


def of_path(path: str, file: Path, locked: Collection[str]) -> Unsafe | None:
    """The same of a file on the disk, which may have another name there. Raises `OSError`."""
    if not is_read(path):
        return None
    with _opened(file) as (size, read):
        return of_file(path, size, read, locked)


def tensors_of(file: Path) -> list[tuple[str, int]] | None:
    """Type and bytes of each tensor of a safetensors file, None where its header lies.

    Raises `OSError`.
    """
    with _opened(file) as (size, read):
        try:
            return [(dtype, ends - begin) for begin, ends, _, dtype in _check_header(size, read)]
        except _InvalidHeader:
            return None


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[int, Read]]:
    """The size of the file, and a reader of its bytes."""
    with open_file(file) as handle:

        def read(start: int, count: int) -> bytes:
            handle.seek(start)
            found: bytes = handle.read(count)
            return found

        yield os.fstat(handle.fileno()).st_size, read


def _code_requests(path: str, settings: object) -> Iterator[str]:
    """What settings ask to run."""
    if path.rpartition("/")[2] == "modules.json" and isinstance(settings, list):
        for module in settings:
            pairs = module.pairs if isinstance(module, _Pairs) else []
            for kind in [kind for key, kind in pairs if key == "type"] or [None]:
                if not str(kind).startswith(MODULES):
                    yield _module(kind)
    native = _native_map(path, settings)
    for key, value in _settings(settings):
        if key in CODE_KEYS and value is native:
            continue
        if key in CODE_KEYS and isinstance(value, dict | list | str) and value:
            yield f"{key} names code to import: {_shown(value)}"
        elif key == "trust_remote_code" and value:
            yield "trust_remote_code is set, which is the reader's to say and not the model's"
        elif key in KERNEL_KEYS and "/" in str(value):
            yield f"{key} names kernels of a repository, which are code: {_shown(value)}"
        elif key in CLASS_KEYS and _is_foreign(value, KNOWN_CLASSES):
            yield f"{key} names a class to import: {_shown(value)}"
        elif key == "types":  # of a sentence-transformers Router
            kinds = [kind for _, kind in value.pairs] if isinstance(value, _Pairs) else []
            yield from (_module(kind) for kind in kinds if _is_foreign(kind, (MODULES,)))


def _native_map(path: str, settings: object) -> object:
    """The `auto_map` that no loader follows, since the library has the class itself; else None."""
    pairs = settings.pairs if path == "config.json" and isinstance(settings, _Pairs) else []
    types = [value for key, value in pairs if key == "model_type"]
    maps = [value for key, value in pairs if key == "auto_map"]
    if len(maps) == 1 and len(types) == 1 and types[0] in NATIVE_TYPES:
        classes = maps[0] if isinstance(maps[0], dict) else {"": None}
        if all(name == "AutoConfig" or name.startswith("AutoModel") for name in classes):
            return maps[0]
    return None


def _module(kind: object) -> str:
    return f"the module type {_shown(kind)} is code of the repository, or of any package"


def _is_foreign(name: object, known: tuple[str, ...]) -> bool:
    """Whether it is the dotted name of a class outside the `known` packages."""
    return isinstance(name, str) and "." in name and not name.startswith(known)


def _settings(data: object) -> Iterator[tuple[str, object]]:
    """Every key with its value, in nested tables too. Raises `RecursionError`."""
    level = [data]
    for _ in range(DEEPEST):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, _Pairs):
                yield from item.pairs
                deeper += (value for _, value in item.pairs)
            elif isinstance(item, list):
                deeper += item
        if not deeper:
            return
        level = deeper
    raise RecursionError


def _checked(check: Callable[[], object]) -> Unsafe | None:
    try:
        check()
    except _InvalidHeader as error:
        return Unsafe(kind="lies", detail=str(error))
    return None


def _check_header(size: int, read: Read) -> list[tuple[int, int, str, str]]:
    """Compare a safetensors header with the format and with the file's size.

    Gives where each tensor begins and ends, its name and its type.
    """
    if size < 8:
        raise _InvalidHeader(f"{size} bytes cannot hold a safetensors header")
    length = int.from_bytes(read(0, 8), "little")
    if length > LONGEST_HEADER or 8 + length > size:
        least = min(LONGEST_HEADER, size - 8)
        raise _InvalidHeader(f"the header claims {length} bytes, and at most {least} can be there")
    header = _object(read(8, length), "the header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _InvalidHeader("the header's __metadata__ does not map texts to texts")
    spans = sorted((*_span(name, entry), name, entry["dtype"]) for name, entry in header.items())
    end = 0
    for begin, ends, name, _ in spans:
        if begin != end:
            what = "leaves a hole before" if begin > end else "overlaps with the one before"
            raise _InvalidHeader(
                f"{_shown(name)} {what}: it begins at {begin}, and {end} was reached"
            )
        end = ends
    if end != size - 8 - length:
        raise _InvalidHeader(
            f"the tensors end at {end}, and {size - 8 - length} bytes follow the header"
        )
    return spans


def _span(name: str, entry: object) -> tuple[int, int]:
    """Where a tensor begins and ends among the data, which must fit its shape and type."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _InvalidHeader(
            f"{_shown(name)} must have exactly dtype, shape and data_offsets: {_shown(entry)}"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _InvalidHeader(f"{_shown(name)} has the unknown type {_shown(dtype)}")
    if not _are_counts(shape):
        raise _InvalidHeader(f"{_shown(name)} has the shape {_shown(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _InvalidHeader(f"{_shown(name)} has the offsets {_shown(offsets)}")
    span = offsets[1] - offsets[0]
    elements = 1
    for count in shape:
        elements *= count
        if elements >= COUNT_LIMIT:  # where the library stops, before it has millions of digits
            break
    if BITS[dtype] * elements != 8 * span:
        claim = f"{dtype} {_shown(shape)}"
        raise _InvalidHeader(f"{_shown(name)} is {claim}, which does not fill its {span} bytes")
    return offsets[0], offsets[1]


def _check_index(path: str, text: bytes, locked: Collection[str]) -> None:
    """An index of shards may name locked files beside it, and nothing else."""
    shards = _object(text, "the index").get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise _InvalidHeader("the index has no weight_map of weights to files")
    folder = path.rpartition("/")[0]
    for shard in sorted(set(shards.values())):
        if problem := path_problem(shard):
            raise _InvalidHeader(f"the index leads to {_shown(shard)}, which {problem}")
        place = f"{folder}/{shard}" if folder else shard
        if not matches(shard, ("*.safetensors",)) or place not in locked:
            raise _InvalidHeader(
                f"the index leads to {_shown(shard)}, which is no locked safetensors file"
            )


def _object(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object without duplicate keys: parsers differ in which value they take."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if (twice := duplicate_key(pairs)) is not None:
            raise _InvalidHeader(f"{what} names {_shown(twice)} twice")
        return dict(pairs)

    try:
        value = json.loads(text.decode(), object_pairs_hook=once, parse_int=_number)
    except (ValueError, RecursionError):
        raise _InvalidHeader(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise _InvalidHeader(f"{what} is not a JSON object")
    return value


def _are_counts(value: object) -> bool:
    """A list of whole numbers from 0 to below the limit; True is none."""
    return isinstance(value, list) and all(
        type(count) is int and 0 <= count < COUNT_LIMIT for count in value
    )


def _shown(value: object) -> str:
    """The value in a short line."""
    try:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # just shallow enough to be parsed
        shown = "something nested deep"
    shown = printable(" ".join(shown.split()), 81)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _number(text: str) -> float:
    """A whole number; a float for -0, as safetensors reads it, and for too many digits."""
    return float(text) if text == "-0" or len(text) > LONGEST_NUMBER else int(text)
