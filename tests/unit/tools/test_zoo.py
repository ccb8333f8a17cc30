"""Stand-ins have the files of their kind, and tokenizers that know whole words."""

from pathlib import Path
from typing import Any

import pytest

from tools.zoo import tokens
from tools.zoo.build import missing
from tools.zoo.rows import rows

FILES = {
    "bert": {"vocab.txt", "tokenizer.json"},
    "mpnet": {"vocab.txt", "tokenizer.json"},
    "plain": {"tokenizer.json"},
    "roberta": {"vocab.json", "merges.txt", "tokenizer.json"},
    "bart": {"vocab.json", "merges.txt", "tokenizer.json"},
    "xlm-roberta": {"sentencepiece.bpe.model", "tokenizer.json"},
    "deberta-v2": {"spm.model", "tokenizer.json"},
    "qwen2": {"vocab.json", "merges.txt", "tokenizer.json"},
    "gemma": {"tokenizer.model", "tokenizer.json"},
    "t5": {"spiece.model", "tokenizer.json"},
    "mt5": {"spiece.model"},
    "pegasus": {"spiece.model", "tokenizer.json"},
    "nllb": {"sentencepiece.bpe.model", "tokenizer.json"},
    "m2m100": {"vocab.json", "sentencepiece.bpe.model"},
    "mbart50": {"sentencepiece.bpe.model"},
    "marian": {"source.spm", "target.spm", "vocab.json"},
}
SETTINGS = {"special_tokens_map.json", "tokenizer_config.json"}


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize("kind", FILES)
def test_a_tokenizer_has_its_files_and_reads_a_word_as_one_token(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokens.write_tokenizer(kind, tmp_path, 64, tokens.pieces("tiny-seq2seq"))
    assert {path.name for path in tmp_path.iterdir()} == FILES[kind] | SETTINGS
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("the kitchen", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids[-1:]).strip() == "kitchen"


def test_a_row_is_built_after_the_one_whose_weights_it_begins_with(tmp_path: Path) -> None:
    assert missing(tmp_path, ["distilbart", "all-minilm"]) == [
        "bart-large-cnn",
        "distilbart",
        "all-minilm",
    ]
    (tmp_path / "bart-large-cnn").mkdir()
    assert missing(tmp_path, ["distilbart"]) == ["distilbart"]


def test_a_row_has_the_keys_of_the_one_that_it_is_like() -> None:
    like, model = rows()["deberta-spm-only"], rows()["mxbai-rerank"]
    assert like["config"] == model["config"]
    assert (like["steps"], model["steps"] > 0) == (0, True)
