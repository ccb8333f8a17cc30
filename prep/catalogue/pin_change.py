"""What a new pin means to those who use the model, in words. Pure.

Derived from two entries of the lock and from the small JSON files behind them, as far as they are
known: the new ones came from the hub, the old ones lie in the home, if it still has them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prep.catalogue.lock import LockedModel
from prep.files.patterns import matches
from prep.files.reader import Unreadable, parse_json
from prep.tasks.registry import TASKS

Texts = Mapping[str, str]

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*/model.safetensors")
TOKENIZER = (
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*"),
    *("vocab.*", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
# Keys that say where a file came from or who wrote it, and nothing about what is computed.
IDLE = frozenset(
    {
        *("_name_or_path", "name_or_path", "transformers_version", "__version__"),
        *("special_tokens_map_file", "tokenizer_file"),
    }
)
LARGE = ("tokenizer.json", "vocab.json", "*.safetensors.index.json")  # judged by digest alone
SENTENCE = ("sentence_*_config.json",)
NO_LIMIT = 1_000_000  # tokens; a tokenizer without a limit gives a number far beyond


def is_compared(path: str) -> bool:
    """Whether the values of a file are compared, and not only its checksum."""
    return path.endswith(".json") and not matches(path, LARGE)


def meaning(
    before: LockedModel, after: LockedModel, task: str, old: Texts, new: Texts
) -> list[str]:
    """What changed in words, and what follows from it; empty where nothing did.

    `old` and `new` map paths to the text of the small files that are known.
    """
    changed = sorted(_changed(before, after))
    if not changed and before.repo == after.repo:
        return []
    lines, reasons = [], []
    if before.repo != after.repo:
        reasons.append("another repository")
    for what, globs in (("weights", WEIGHTS), ("tokenizer or vocabulary", TOKENIZER)):
        files = [path for path in changed if matches(path, globs) and not _idle(path, old, new)]
        if files:
            lines.append(f"{what} changed: {', '.join(files)}")
            reasons.append(what)
    for what, read in FACTS.items():
        was, now = read(old), read(new)
        if was != now and None not in (was, now):
            lines.append(f"{what}: {was} → {now}")
    rest = [path for path in changed if not matches(path, (*WEIGHTS, *TOKENIZER))]
    for path in rest:
        values = list(_values(path, old, new))
        lines += values
        idle = _idle(path, old, new) or (
            path == "generation_config.json" and not TASKS[task].generates
        )
        if not idle:
            reasons.append(path)
        elif not values:
            lines.append(f"{path}: nothing changed that is computed with")
    verdict = f"yes ({', '.join(reasons)})" if reasons else "no (nothing that answers come from)"
    return [*lines, f"{TASKS[task].new_pin}: {verdict}"]


def _changed(before: LockedModel, after: LockedModel) -> set[str]:
    """Paths that one entry has and the other has not, or with other bytes."""
    sides = [{(file.path, file.sha256) for file in model.files} for model in (before, after)]
    return {path for path, _ in sides[0] ^ sides[1]}


def _idle(path: str, old: Texts, new: Texts) -> bool:
    """Whether nothing changed in it but where it came from; an unknown file is not idle."""
    sides = [_object(texts, path) for texts in (old, new)]
    return None not in sides and not list(_differing(*sides))


def _values(path: str, old: Texts, new: Texts) -> Iterator[str]:
    """The keys of a file that changed, with both values."""
    if not is_compared(path):
        return
    was, now = _object(old, path), _object(new, path)
    if now is None:
        yield f"{path} is gone" if path not in new else f"{path} is no JSON object"
    elif was is None:
        yield f"{path} changed or came; its old values are not in this home"
    else:
        for key, then, this in _differing(was, now):
            yield f"{path}: {key} {_short(then)} → {_short(this)}"


def _differing(was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*was, *now} - IDLE):
        if was.get(key) != now.get(key):
            yield key, was.get(key), now.get(key)


def _object(texts: Texts, path: str) -> dict[str, Any] | None:
    """The file as an object; a list, as modules.json is, by its places."""
    try:
        data = parse_json(texts[path])
    except (KeyError, Unreadable):
        return None
    if isinstance(data, list):
        return {str(index): item for index, item in enumerate(data)}
    return data if isinstance(data, dict) else None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _get(texts: Texts, path: str, *keys: str) -> Any:
    data = _object(texts, path) or {}
    return next((data[key] for key in keys if data.get(key) is not None), None)


def _part(texts: Texts, kind: str) -> str | None:
    """The configuration of the last module of that kind, by the repository's own list."""
    for module in reversed(list((_object(texts, "modules.json") or {}).values())):
        if isinstance(module, dict) and str(module.get("type", "")).endswith(f".{kind}"):
            return f"{module.get('path')}/config.json"
    return None


def _dimension(texts: Texts) -> Any:
    for kind, key in (("Dense", "out_features"), ("Pooling", "word_embedding_dimension")):
        if (part := _part(texts, kind)) and (found := _get(texts, part, key)):
            return found
    return _get(texts, "config.json", "hidden_size", "d_model", "dim")


def _pooling(texts: Texts) -> str | None:
    part = _part(texts, "Pooling")
    config = _object(texts, part) if part else None
    if config is None:
        return None
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, on in config.items() if on is True and prefix in key]
    modes += [str(config["pooling_mode"])] if config.get("pooling_mode") else []
    normalised = ", normalised" if _part(texts, "Normalize") else ""
    return "+".join(sorted(modes)) + normalised


def _length(texts: Texts) -> Any:
    own = [(path, ("max_seq_length",)) for path in texts if matches(path, SENTENCE)]
    for path, keys in (
        *own,
        ("tokenizer_config.json", ("model_max_length",)),
        ("config.json", ("max_position_embeddings", "n_positions")),
    ):
        found = _get(texts, path, *keys)
        if isinstance(found, int) and found < NO_LIMIT:
            return found
    return None


def _labels(texts: Texts) -> Any:
    labels = _get(texts, "config.json", "id2label")
    return ", ".join(map(str, labels.values())) if isinstance(labels, dict) else None


FACTS: Mapping[str, Callable[[Texts], Any]] = {
    "dimension": _dimension,
    "pooling": _pooling,
    "maximum length": _length,
    "labels": _labels,
    "vocabulary": lambda texts: _get(texts, "config.json", "vocab_size"),
}
