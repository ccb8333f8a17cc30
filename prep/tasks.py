"""The tasks a catalogue may name, and which files of a repository each needs.

Needed is what some consumer opens: weights as safetensors (also sharded), the configuration, the
tokenizer with the vocabularies of the slow tokenizers (older consumers ask for them). Never
needed: pickles, which run code when loaded; other frameworks' weights; ready-made exports.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

PRECISIONS = ("fp32", "fp16", "int8")

# Formats that run code, or may, when a library loads them: never in a lock.
PICKLES = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.pickle",
    "*.joblib",
    "*.npy",
    "*.npz",
    "*.h5",
    "*.keras",
)

_TRANSFORMERS = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_SENTENCE_TRANSFORMERS = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one kind of model needs; `built` is False until its stages exist."""

    name: str
    files: tuple[str, ...]
    built: bool = True


TASKS = {
    task.name: task
    for task in (
        Task(name="embedding", files=_TRANSFORMERS + _SENTENCE_TRANSFORMERS),
        Task(name="reranker", files=_TRANSFORMERS, built=False),
        Task(name="seq2seq", files=_TRANSFORMERS, built=False),
    )
}


def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Whether a path of a repository is one of those that the globs name; ``*`` stops at ``/``."""
    parts = path.split("/")
    return any(
        len(parts) == len(glob.split("/")) and all(map(fnmatchcase, parts, glob.split("/")))
        for glob in globs
    )


def is_pickle(path: str) -> bool:
    """Whether loading the file could run code; judged by its name, as loaders do."""
    return matches(path.lower().rpartition("/")[2], PICKLES)
