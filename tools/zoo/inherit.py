"""What a trained sample knows, put into another architecture.

BERT, RoBERTa, XLM-R, MPNet, DistilBERT and ELECTRA compute nearly the same, under other names; all
others take the vectors of the words, and learn the rest (`training.py`).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

# From the names of BERT to those of another architecture.
RENAMES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mpnet": (
        (r"attention\.self\.(.)\w+", r"attention.attn.\1"),
        (r"attention\.output\.dense", "attention.attn.o"),
        (r"attention\.output\.LayerNorm", "attention.LayerNorm"),
    ),
    "distilbert": (
        (r"attention\.self\.query", "attention.q_lin"),
        (r"attention\.self\.key", "attention.k_lin"),
        (r"attention\.self\.value", "attention.v_lin"),
        (r"attention\.output\.dense", "attention.out_lin"),
        (r"attention\.output\.LayerNorm", "sa_layer_norm"),
        (r"intermediate\.dense", "ffn.lin1"),
        (r"(layer\.\d+)\.output\.dense", r"\1.ffn.lin2"),
        (r"(layer\.\d+)\.output\.LayerNorm", r"\1.output_layer_norm"),
        (r"^encoder\.layer", "transformer.layer"),
    ),
    "deberta-v2": ((r"attention\.self\.(query|key|value)", r"attention.self.\1_proj"),),
    "longt5": (
        (r"(encoder\.block\.\d+\.layer\.0)\.SelfAttention", r"\1.TransientGlobalSelfAttention"),
    ),
}
# The head of the sample reranker (dense, tanh, out_proj) as others call it.
_HEADS = {
    "bert": {"classifier.dense": "pooler.dense", "classifier.out_proj": "classifier"},
    "deberta-v2": {"classifier.dense": "pooler.dense", "classifier.out_proj": "classifier"},
}
_WORDS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_ROLES = {
    "<first>": ("[CLS]", "<s>", "<bos>"),
    "<last>": ("[SEP]", "</s>", "<eos>", "<|endoftext|>"),
    "<pad>": ("[PAD]", "<pad>"),
    "<unk>": ("[UNK]", "<unk>"),
}
_ROLE = {token: role for role, tokens in _ROLES.items() for token in tokens}


def inherit(model: Any, tokenizer: Any, source: Path) -> None:
    """Copy every tensor of `source` that has its like in the model, and words by their text."""
    theirs, kind = _weights(source), model.config.model_type
    same = json.loads((source / "config.json").read_bytes())["model_type"] == kind
    mine = {_bare(model, name): tensor for name, tensor in model.state_dict().items()}
    table = _rows(tokenizer, AutoTokenizer.from_pretrained(source))
    for name, tensor in theirs.items():
        target = mine.get(name if same else _renamed(name, kind))
        if target is not None and target.shape == tensor.shape and name != _WORDS:
            # DeBERTa divides by the root of three times as much.
            wider = kind == "deberta-v2" and not same and ".query." in name
            target.copy_(tensor * 3**0.5 if wider else tensor)
    vectors = theirs[_words_of(theirs)]
    for words in (model.get_input_embeddings(), model.get_output_embeddings()):
        if words is not None and words.weight.shape[1] == vectors.shape[1]:
            is_input = words is model.get_input_embeddings()
            given = vectors if is_input else theirs.get("lm_head.weight", vectors)
            for row, origin in table.items():
                words.weight.data[row] = given[origin]
    if not same and _POSITIONS in theirs and _POSITIONS in mine:
        _place(mine, theirs, model.config)


def _place(mine: dict[str, Any], theirs: dict[str, Any], config: Any) -> None:
    """Positions count from 0 in BERT, and behind the padding's id in RoBERTa and its like; what
    has no types of tokens gets type 0 with the positions."""
    start = config.pad_token_id + 1 if _offset(config.model_type) else 0
    origin = 0 if theirs[_TYPES].shape[0] == 2 else 2
    there, here = theirs[_POSITIONS][origin:], mine[_POSITIONS][start:]
    reach = min(len(there), len(here))
    here[:reach] = there[:reach]
    here[reach:] = there[-1]  # a longer table: no text of the small world reaches that far
    if _TYPES in mine:
        mine[_TYPES][:] = theirs[_TYPES][0]
    else:
        here += theirs[_TYPES][0]


def _offset(kind: str) -> bool:
    return kind in ("roberta", "xlm-roberta", "mpnet", "camembert")


def _weights(source: Path) -> dict[str, torch.Tensor]:
    read = load_file(source / "model.safetensors")
    return {
        re.sub(r"^(roberta|bert|model|deberta|electra)\.", "", name): t.float()
        for name, t in read.items()
    }


def _words_of(weights: Mapping[str, Any]) -> str:
    names = (_WORDS, "shared.weight", "embed_tokens.weight")
    return next(name for name in names if name in weights)


def _bare(model: Any, name: str) -> str:
    return name.removeprefix(f"{model.base_model_prefix}.")


def _renamed(name: str, kind: str) -> str:
    for old, new in _HEADS.get(kind, {}).items():
        if name.startswith(f"{old}."):
            return new + name[len(old) :]
    for pattern, new in RENAMES.get(kind, ()):
        name = re.sub(pattern, new, name)
    return name


def _rows(mine: Any, theirs: Any) -> dict[int, int]:
    """For the ids of one tokenizer those of the other, where both know the token."""
    known: dict[str, int] = {}
    for token, number in sorted(theirs.get_vocab().items(), key=lambda item: len(item[0])):
        known[_plain(token)] = number  # of "x" and "▁x", the longer one
    if mine.get_vocab() == theirs.get_vocab():
        return {number: number for number in mine.get_vocab().values()}
    found = {}
    for token, number in mine.get_vocab().items():
        word = _plain(token)
        for spelled in (word, word.lower(), word.capitalize()):
            if spelled in known:
                found[number] = known[spelled]
                break
    return found


def _plain(token: str) -> str:
    return _ROLE.get(token) or token.lstrip("▁Ġ").removeprefix("##") or token
