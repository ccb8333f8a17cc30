"""Which files of a repository the loaders open: those that are locked, and those that would be
opened without being locked.

Locked is what some consumer opens: weights as safetensors (also sharded), the configuration, the
tokenizer with the vocabularies of the slow tokenizers (older consumers ask for them). Never locked:
pickles, which run code when loaded; other frameworks' weights; ready-made exports.
"""

from collections.abc import Collection

from prep.files.patterns import matches

TRANSFORMERS = (
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
    "*.spm",
    "spm.model",
    "bpe.codes",
    "unigram.json",
)
SENTENCE_TRANSFORMERS = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
    "[0-9]_*/tokenizer.json",
    "router_config.json",
)

# Settings of its publisher; a loader that does not find them goes by settings of its own.
SETTINGS = (
    "generation_config.json",
    "tokenizer_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/config.json",
    "router_config.json",
)

# What a loader opens when it is there, whether the lock names it or not: transformers (adapters,
# configuration, tokenizers, versioned tokenizer files, processors), sentence-transformers (modules
# and theirs), openvino. Weights stand apart: they count only where they outrank the locked ones.
TAKEN = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "added_tokens.json",
    "additional_chat_templates/*",
    "chat_template.*",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_*_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "*.spm",
    "spm.model",
    "bpe.codes",
    "unigram.json",
    "router_config.json",
    "tokenizer.*json",
    "tokenizer.model",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.*",
    "[0-9]_*/[!.]*.jinja",
    "[0-9]_*/[!.]*.json",
    "[0-9]_*/[!.]*.model",
    "[0-9]_*/[!.]*.safetensors",
    "[0-9]_*/merges.txt",
    "[0-9]_*/vocab.txt",
)
# Taken for a vocabulary by transformers 5 where there is no tokenizer.json, vocab.txt or not.
TAKEN_WITHOUT_TOKENIZER = ("*tekken.json*", "*tiktoken.model*", "*tokenizer.model*")
TAKEN_CONVERTED = (*TAKEN, "openvino_*.xml", "openvino_*.bin", "openvino_config.json")


def a_loader_takes(path: str, known: Collection[str], *, converted: bool = False) -> bool:
    """Whether an unlocked file of a model's folder would be opened before or beside `known` ones.

    What upstream also ships and no loader takes there (pickles beside safetensors, other
    frameworks' weights, ready-made exports) is none of those.
    """
    return matches(path, taken_beside(known, converted=converted)) and path not in outranked(known)


def taken_beside(known: Collection[str], *, converted: bool = False) -> tuple[str, ...]:
    """Globs of what a loader takes beside `known` files; of weights, those that would outrank them:
    a loader opens one safetensors before shards."""
    globs = [
        *(TAKEN_CONVERTED if converted else TAKEN),
        "model.safetensors",
        "[0-9]_*/pytorch_model.bin",
    ]
    if "model.safetensors" not in known:
        globs.append("model.safetensors.index.json")
    if "tokenizer.json" not in known:
        globs += TAKEN_WITHOUT_TOKENIZER
    return tuple(globs)


def outranked(known: Collection[str]) -> frozenset[str]:
    """What those globs name and no loader opens, since a module's own safetensors come first."""
    return frozenset(
        f"{path.partition('/')[0]}/pytorch_model.bin"
        for path in known
        if matches(path, ("[0-9]_*/model.safetensors",))
    )
