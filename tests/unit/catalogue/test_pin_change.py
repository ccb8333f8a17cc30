"""A new pin in words: what changed, and what follows for those who use the model."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from prep.catalogue.lock import LockedModel
from prep.catalogue.pin_change import meaning
from tests.support.small_homes import OTHER_COMMIT, locked_model

MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
BERT = {"hidden_size": 384, "vocab_size": 30522, "transformers_version": "4.8.2"}
Files = dict[str, object]
OLD: Files = {
    "config.json": BERT,
    "modules.json": MODULES,
    "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 256},
    "tokenizer_config.json": {"model_max_length": 512, "name_or_path": "x"},
    "tokenizer.json": {"version": "1.0"},
    "model.safetensors": "weights",
    "generation_config.json": {"max_length": 20},
}


def entry(files: Mapping[str, object], commit: str) -> tuple[LockedModel, dict[str, str]]:
    """The lock's entry of such files, and their texts."""
    texts = {path: json.dumps(content) for path, content in files.items()}
    content = {path: text.encode() for path, text in texts.items()}
    known = {path: text for path, text in texts.items() if path.endswith("config.json")}
    known |= {path: texts[path] for path in texts if path == "modules.json"}
    return locked_model(content, commit), known


def lines_of(
    new: Files, *, task: str = "embedding", here: bool = True, old: Files = OLD
) -> list[str]:
    before, was = entry(old, "c0ffee" + "0" * 34)
    after, now = entry(
        {path: content for path, content in new.items() if content is not None}, OTHER_COMMIT
    )
    return meaning(before, after, task, was if here else {}, now)


NO = "indexes must be rebuilt: no (nothing that answers come from)"


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        ({}, []),
        (
            {"model.safetensors": "others"},
            ["weights changed: model.safetensors", "indexes must be rebuilt: yes (weights)"],
        ),
        (
            {"tokenizer.json": {"version": "2.0"}, "vocab.txt": "[PAD]"},
            [
                "tokenizer or vocabulary changed: tokenizer.json, vocab.txt",
                "indexes must be rebuilt: yes (tokenizer or vocabulary)",
            ],
        ),
        (
            {"config.json": BERT | {"transformers_version": "5.0"}},
            ["config.json: nothing changed that is computed with", NO],
        ),
        ({"tokenizer_config.json": {"model_max_length": 512, "name_or_path": "y"}}, [NO]),
        (
            {
                "config.json": BERT | {"hidden_size": 768},
                "1_Pooling/config.json": {
                    "word_embedding_dimension": 768,
                    "pooling_mode_cls_token": True,
                },
            },
            [
                "dimension: 384 → 768",
                "pooling: mean_tokens, normalised → cls_token, normalised",
                "1_Pooling/config.json: pooling_mode_cls_token null → true",
                "1_Pooling/config.json: pooling_mode_mean_tokens true → null",
                "1_Pooling/config.json: word_embedding_dimension 384 → 768",
                "config.json: hidden_size 384 → 768",
                "indexes must be rebuilt: yes (1_Pooling/config.json, config.json)",
            ],
        ),
        (
            {"sentence_bert_config.json": {"max_seq_length": 128}},
            [
                "maximum length: 256 → 128",
                "sentence_bert_config.json: max_seq_length 256 → 128",
                "indexes must be rebuilt: yes (sentence_bert_config.json)",
            ],
        ),
        (
            {"modules.json": MODULES[:2]},
            [
                "pooling: mean_tokens, normalised → mean_tokens",
                (
                    'modules.json: 2 {"path": "2_Normalize", "type": "sentence_transformers.mo… '
                    "→ null"
                ),
                "indexes must be rebuilt: yes (modules.json)",
            ],
        ),
        (
            {"modules.json": None},
            ["modules.json is gone", "indexes must be rebuilt: yes (modules.json)"],
        ),
        (
            {"generation_config.json": {"max_length": 30}},
            ["generation_config.json: max_length 20 → 30", NO],
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_what_changed_is_listed_with_what_follows(new: Files, lines: list[str]) -> None:
    assert lines_of({**OLD, **new}) == lines


def test_what_is_not_known_counts_as_changed() -> None:
    new = {**OLD, "config.json": BERT | {"transformers_version": "5.0"}}
    assert lines_of(new, here=False) == [
        "config.json changed or came; its old values are not in this home",
        "indexes must be rebuilt: yes (config.json)",
    ]


def test_each_task_has_its_own_consequence() -> None:
    new = {**OLD, "generation_config.json": {"max_length": 30}}
    assert lines_of(new, task="seq2seq")[-1] == "texts change: yes (generation_config.json)"
    old = {**OLD, "config.json": BERT | {"id2label": {"0": "LABEL_0"}}}
    new = {**OLD, "config.json": BERT | {"id2label": {"0": "no", "1": "yes"}}}
    lines = lines_of(new, task="reranker", old=old)
    assert lines[0] == "labels: LABEL_0 → no, yes"
    assert lines[-1] == ("scores change, thresholds must be looked at again: yes (config.json)")


def test_another_repository_is_another_model() -> None:
    before, texts = entry(OLD, OTHER_COMMIT)
    lines = meaning(before, replace(before, repo="acme/fork"), "embedding", texts, texts)
    assert lines == ["indexes must be rebuilt: yes (another repository)"]
