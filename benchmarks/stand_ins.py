"""Make stand-ins of the large models of models.toml, for machines that cannot have the true ones.

    python -m benchmarks.stand_ins FOLDER

Each has its original's architecture, vocabulary size, file formats and weights file to the byte;
only what is in the files is made up: random weights, and words that nobody ever said. What a
conversion or a load costs is the same; what the models say means nothing.

torch and its friends are imported inside functions: the catalogue of stand-ins is also read by a
process that must not have them in its memory.
"""

import argparse
import json
import logging
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prep.questions import RerankerQuestions, read_questions
from sample_hub.train import Say, heartbeat, repeatable, reranker, seq2seq

if TYPE_CHECKING:
    import torch

log = logging.getLogger("benchmarks.stand_ins")

SEED = 0
FILLER_SCORE = -20.0  # below every piece of the sample models: their words stay whole
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
WEIGHTS = "model.safetensors"

RERANKER: dict[str, Any] = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "classifier_dropout": None,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "id2label": {"0": "LABEL_0"},
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "label2id": {"LABEL_0": 0},
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514,
    "model_type": "xlm-roberta",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "output_past": True,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "type_vocab_size": 1,
    "use_cache": True,
    "vocab_size": 250002,
}
SEQ2SEQ: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 1024,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "num_layers": 8,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 32128,
}
SEQ2SEQ_PIECES = 32000
EXTRA_IDS = tuple(f"<extra_id_{number}>" for number in reversed(range(100)))
"""T5's sentinels, whose numbers go down while their ids go up; rows above them are never used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """One stand-in: the catalogue name of its original, and what writes its repository folder."""

    name: str
    task: str
    license: str
    write: Callable[[Path, Say], None]

    @property
    def repo(self) -> str:
        """Under an owner of its own: never to be taken for the original."""
        return f"stand-ins/{self.name}"


def write_reranker(folder: Path, say: Say) -> None:
    """All files of bge-reranker-base. `folder` must not exist."""
    say("bge-reranker-base: making up a vocabulary")
    sample = json.loads(reranker.tokenizer().to_str())
    *known, mask = sample["model"]["vocab"]
    filler = made_up(RERANKER["vocab_size"] - len(known) - 1, letters=7)
    sample["model"]["vocab"] = [*known, *filler, mask]
    for token in sample["added_tokens"]:
        if token["content"] == "<mask>":
            token["id"] = RERANKER["vocab_size"] - 1
    mask_token = reranker.SPECIALS["mask_token"]
    assert isinstance(mask_token, dict)
    _write_files(
        folder,
        {
            "config.json": RERANKER,
            "special_tokens_map.json": reranker.SPECIALS,
            "tokenizer.json": sample,
            "tokenizer_config.json": {
                **reranker.SPECIALS,
                "clean_up_tokenization_spaces": True,
                "mask_token": {"__type": "AddedToken", **mask_token},
                "model_max_length": 512,
                "tokenizer_class": "XLMRobertaTokenizer",
            },
        },
    )
    extended = reranker.sentencepiece() + _pieces(filler)
    (folder / "sentencepiece.bpe.model").write_bytes(extended)

    say("bge-reranker-base: making up weights")
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    with repeatable(SEED):
        model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**RERANKER)).eval()
        _save(model.state_dict(), folder)
