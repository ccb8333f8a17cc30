"""What a repository's settings say of a model, and which consumers can therefore read it. Pure.

Asked at `--relock`, of the small files that it reads anyway, so that nobody fetches what cannot be
prepared.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prep.files.fields import is_text
from prep.files.reader import Unreadable, parse_json

# The exporter gives them an input that no consumer of the conversion fills: answers are NaN.
WITH_POSITION_IDS = ("gemma", "gemma2", "llama", "mistral", "phi3", "qwen2")
ENCODER_DECODERS = ("longt5", "mt5", "t5", "umt5")
STEPS = ("Transformer", "Pooling", "Dense", "Normalize", "LayerNorm", "Dropout")
"""Modules that a service applies by itself where it loads the transformer alone."""
POOLS_BY = "pooling_mode_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One line of modules.json: the class's own name, and its folder."""

    kind: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """How tokens become one vector; `counts_prompt`: those of a prompt as well."""

    modes: tuple[str, ...]
    counts_prompt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """`model_type` and `classes` are those of config.json, None and empty where there is none.

    `modules` is None where there is no modules.json, `pooling` where no module pools.
    """

    model_type: str | None
    classes: tuple[str, ...]
    labels: int
    modules: tuple[Module, ...] | None
    tokenizer: str | None
    pooling: Pooling | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its modules."""
        return tuple(module.kind for module in self.modules or ())

    @property
    def is_modular(self) -> bool:
        """Whether its modules do what no class of transformers does alone."""
        return any(kind != "Transformer" for kind in self.kinds)


def describe(texts: Mapping[str, str]) -> Architecture:
    """From the text of the repository's JSON files by path; what cannot be read says nothing."""
    config = _object(texts, "config.json")
    modules = _json(texts, "modules.json")
    labels, count = config.get("id2label"), config.get("num_labels")
    classes = config.get("architectures")
    found = tuple(
        Module(kind=str(line.get("type")).rpartition(".")[2], folder=str(line.get("path", "")))
        for line in (modules if isinstance(modules, list) else ())
        if isinstance(line, dict)
    )
    pools = next((module.folder for module in found if module.kind == "Pooling"), None)
    return Architecture(
        model_type=_text(config.get("model_type")),
        classes=tuple(filter(is_text, classes)) if isinstance(classes, list) else (),
        labels=len(labels) if labels and isinstance(labels, dict) else _count(count, 2),
        modules=found if isinstance(modules, list) else None,
        tokenizer=_text(_object(texts, "tokenizer_config.json").get("tokenizer_class")),
        pooling=None if pools is None else _pooling(_object(texts, f"{pools}/config.json")),
    )


def _pooling(config: Mapping[str, Any]) -> Pooling:
    """By its configuration; one mode by name, or a flag for each mode."""
    flags = (key for key, value in config.items() if key.startswith(POOLS_BY) and value is True)
    old = [flag.removeprefix(POOLS_BY).partition("_token")[0] for flag in flags]
    named = config.get("pooling_mode", old or "mean")
    modes = named if isinstance(named, list) else [named]
    return Pooling(
        modes=tuple(map(str, modes)), counts_prompt=config.get("include_prompt") is not False
    )


def missing_files(
    found: Architecture, paths: Collection[str], others: Collection[str]
) -> list[str]:
    """Files that a tokenizer or a module needs and the lock does not have, in words.

    `others` are the repository's files that no glob names.
    """
    problems = []
    static = bool(found.modules) and found.kinds[0] == "StaticEmbedding"
    for module in found.modules or ():
        if module.kind not in ("Dense", "LayerNorm"):
            continue
        weights = f"{module.folder}/model.safetensors"
        if weights not in paths:
            there = f"{module.folder}/pytorch_model.bin"
            pickled = f"; the repository has {there}, a pickle" if there in others else ""
            problems.append(f"{weights}  the weights of the module {module.kind}{pickled}")
    known = {path.rpartition("/")[2] for path in paths}
    needed = NEEDED_BY.get((found.tokenizer or "").removesuffix("Fast"), ())
    if static and "tokenizer.json" not in known:
        problems.append("tokenizer.json  read by the module StaticEmbedding")
    elif "tokenizer.json" not in known:
        problems += [f"{name}  read by {found.tokenizer}" for name in needed if name not in known]
        if not needed and not known & VOCABULARIES:
            problems.append("tokenizer.json  nor any vocabulary: the tokenizer would be empty")
    return problems


VOCABULARIES = frozenset(
    {
        *("vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
        *("tokenizer.model", "bpe.codes", "unigram.json", "source.spm"),
    }
)
# What tokenizers without a tokenizer.json read, by their class.
NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "DebertaV2Tokenizer": ("spm.model",),
    "M2M100Tokenizer": ("vocab.json", "sentencepiece.bpe.model"),
    "MarianTokenizer": ("source.spm", "target.spm", "vocab.json"),
    "RobertaTokenizer": ("vocab.json", "merges.txt"),
    "T5Tokenizer": ("spiece.model",),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model",),
}


def _object(texts: Mapping[str, str], path: str) -> dict[str, Any]:
    found = _json(texts, path)
    return found if isinstance(found, dict) else {}


def _json(texts: Mapping[str, str], path: str) -> Any:
    try:
        return parse_json(texts[path])
    except (LookupError, Unreadable):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object, default: int) -> int:
    return value if type(value) is int and value > 0 else default
