"""Files that nobody locked: a problem where a loader would take them, else only listed."""

import json
from pathlib import Path

import pytest

from prep.verify.source import check_source
from tests.support.small_homes import SOURCE, Tiny, safetensors, seen, tiny, write_bytes

SHARD = "model-00001-of-00001.safetensors"
INDEX = json.dumps({"weight_map": {"weight": SHARD}}).encode()
SHARDS = {SHARD: safetensors(b"weights"), "model.safetensors.index.json": INDEX}
SLOW = {"vocab.txt": b"[PAD]"}

# Taken by transformers, sentence-transformers or optimum-intel, each of which was seen to do so.
TAKEN = [
    "2_Dense/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
    "0_Transformer/chat_template.jinja", "0_Transformer/spiece.model", "0_Transformer/vocab.txt",
    "adapter_config.json", "adapter_model.safetensors", "added_tokens.json",
    "additional_chat_templates/rag.jinja", "chat_template.jinja",
    "config_sentence_transformers.json", "generation_config.json", "merges.txt",
    "preprocessor_config.json", "processor_config.json", "sentence_bert_config.json",
    "sentencepiece.bpe.model", "special_tokens_map.json", "spiece.model", "tokenizer.4.0.0.json",
    "tokenizer.model", "tokenizer_config.json", "video_preprocessor_config.json", "vocab.json",
]  # fmt: skip
NOT_TAKEN = [
    ".DS_Store", ".gitattributes", "._adapter_config.json", "1_Pooling/.DS_Store",
    "1_Pooling/._config.json", "LICENSE", "README.md", "data_config.json",
    "model.safetensors.index.json", "onnx/config.json", "onnx/model.onnx",
    "openvino/openvino_model.xml", "pytorch_model.bin", "tekken.json", "tf_model.h5",
    "tokenizer.model.v3", "train.py",
]  # fmt: skip


@pytest.mark.parametrize("path", TAKEN)
def test_an_unlocked_file_that_a_loader_takes_is_a_problem(model: Tiny, path: str) -> None:
    write_bytes(model.snapshot / path, b"{}")
    write_bytes(model.folder / path, b"{}")
    assert seen(model.source()) == seen(model.conversion()) == [f"unlocked unexpected {path}"]


@pytest.mark.parametrize("path", NOT_TAKEN)
def test_an_unlocked_file_that_no_loader_takes_is_only_listed(model: Tiny, path: str) -> None:
    write_bytes(model.snapshot / path, b"{}")
    state = model.source()
    assert (seen(state), state.unused) == ([], (path,))


@pytest.mark.parametrize(
    "path", ["openvino_model_int4.xml", "openvino_old.bin", "openvino_config.json"]
)
def test_an_unlocked_ir_is_a_problem_of_a_conversion_only(model: Tiny, path: str) -> None:
    write_bytes(model.snapshot / path, b"")
    write_bytes(model.folder / path, b"")
    assert seen(model.conversion()) == [f"unlocked unexpected {path}"]
    assert model.source().unused == (path,)


DEPENDING: dict[str, tuple[dict[str, bytes], str, bool]] = {
    "shards": (SHARDS, "model.safetensors", True),
    "slow tokenizer": (SLOW, "tokenizer.json", True),
    "sentencepiece": (SLOW, "tokenizer.model.v3", True),
    "mistral": (SLOW, "tekken.json", True),
    "tiktoken": (SLOW, "tiktoken.model", True),
    "config": (SLOW, "config.json", True),
    "modules": (SLOW, "modules.json", True),
    "index": ({"a.json": b""}, "model.safetensors.index.json", True),
    "safe module": (
        {"2_Dense/model.safetensors": safetensors(b"")}, "2_Dense/pytorch_model.bin", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("locked", "path", "taken"), DEPENDING.values(), ids=DEPENDING)
def test_what_a_loader_takes_depends_on_what_is_locked(
    tmp_path: Path, locked: dict[str, bytes], path: str, taken: bool
) -> None:
    model = tiny(tmp_path / "home", locked)
    write_bytes(model.snapshot / path, b"")
    assert seen(model.source()) == ([f"unlocked unexpected {path}"] if taken else [])


def test_a_linked_folder_is_searched_one_level_deep(model: Tiny) -> None:
    write_bytes(model.home.root / "templates" / "rag.jinja", b"")
    (model.snapshot / "additional_chat_templates").symlink_to("../../../../templates")
    (model.snapshot / "again").symlink_to(".")
    state = model.source()
    assert seen(state) == ["unlocked unexpected additional_chat_templates/rag.jinja"]
    assert set(state.unused) == {f"again/{path}" for path in SOURCE if "/" not in path}


def test_files_of_another_entry_in_the_same_snapshot_are_locked(model: Tiny) -> None:
    write_bytes(model.snapshot / "tokenizer_config.json", b"{}")
    state = check_source(model.home, model.locked, also_locked=["tokenizer_config.json"], deep=True)
    assert state.sound
    assert state.unused == ()
