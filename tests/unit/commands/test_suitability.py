"""What --relock refuses before anything large is fetched, with the entry to write."""

import json
from typing import Any

import pytest

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import CONVERTER
from prep.commands.suitability import Suited, ask_exporter, check
from prep.convert import overlay
from prep.errors import ConverterMissing, Unsupported
from prep.fetch.hub import RemoteFile, RemoteModel
from prep.tasks.architecture import describe

COMMIT = "c" * 40
EXPORTED = {"exported": True, "too-new": False}
BERT = {"model_type": "bert", "architectures": ["BertModel"]}
MODULES = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
HEAD = f"not supported: tiny: will not lock acme/tiny at {COMMIT}: "


def spec(**changes: Any) -> ModelSpec:
    entry: dict[str, Any] = {
        "name": "tiny", "repo": "acme/tiny", "revision": "main", "task": "embedding",
        "precisions": ("int8",), "why": "for tests",
    }  # fmt: skip
    return ModelSpec(**entry | changes)


def remote(config: object = BERT, modules: object = MODULES, **more: str) -> RemoteModel:
    contents = {"config.json": json.dumps(config), "tokenizer.json": "{}", **more}
    if modules is not None:
        contents["modules.json"] = json.dumps(modules)
    files = tuple(
        RemoteFile(path=path, size=1, sha256="0" * 64, text=text) for path, text in contents.items()
    )
    return RemoteModel(commit=COMMIT, head=COMMIT, license="mit", files=files, others=())


def refusal(entry: ModelSpec, model: RemoteModel, **gates: Any) -> str:
    with pytest.raises(Unsupported) as caught:
        check(entry, model, {"bert embedding": EXPORTED, **gates})
    return str(caught.value)


def test_what_all_consumers_read_is_locked_without_a_word() -> None:
    gates = {"bert embedding": EXPORTED}
    assert check(spec(), remote(), gates) == Suited(consumers=None, converter=None)


def test_what_some_consumers_cannot_read_is_locked_for_the_others() -> None:
    suited = check(spec(), remote(modules=None), {"bert embedding": EXPORTED})
    assert suited == Suited(consumers=("transformers", "optimum-intel"), converter=None)


def test_what_is_not_exported_is_refused_with_the_entry_to_write() -> None:
    wanted = (
        f"{HEAD}optimum-intel does not export the architecture bert for embedding.\n"
        "Nothing was locked. To prepare it without a conversion, write precisions = [] in its "
        "entry: the published weights alone are prepared and judged."
    )
    assert refusal(spec(), remote(), **{"bert embedding": {"exported": False}}) == wanted
    assert check(spec(precisions=()), remote(), {}) == Suited(consumers=None, converter=None)


def test_what_only_an_older_library_exports_takes_the_second_converter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gates = {"bert embedding": {"exported": True, "too-new": True}}
    monkeypatch.setattr(overlay, "versions", lambda: overlay.WANTED)
    assert check(spec(), remote(), gates).converter == CONVERTER
    monkeypatch.setattr(overlay, "versions", lambda: overlay.WANTED | {"transformers": "4.56.0"})
    with pytest.raises(ConverterMissing) as caught:
        check(spec(), remote(), gates)
    assert str(caught.value) == (
        "converter not installed: tiny: it is converted with huggingface-hub==0.36.2, "
        f"transformers==4.57.6, and {overlay.folder()} has huggingface-hub==0.36.2, "
        "transformers==4.56.0. Install it (133 MB): python -m prep.convert.overlay"
    )


def test_consumers_of_the_entry_that_cannot_read_it_are_refused() -> None:
    assert refusal(spec(consumers=("sentence-transformers",)), remote(modules=None)) == (
        f"{HEAD}consumers of its entry cannot read it (1 problem):\n"
        "  sentence-transformers  there is no modules.json, so that the library would make up a "
        "pipeline\n"
        "Nothing was locked. Take them out of 'consumers'."
    )


def test_a_conversion_that_nobody_can_read_is_refused() -> None:
    said = refusal(spec(), remote({"model_type": "qwen2"}))
    assert said.startswith(f"{HEAD}no consumer can read a conversion of it (2 problems):\n")
    assert "position_ids: answers are NaN" in said
    assert "write precisions = [] in its entry" in said


def test_several_labels_and_missing_files_are_refused() -> None:
    two = {**BERT, "num_labels": 2, "architectures": ["BertForSequenceClassification"]}
    assert refusal(spec(task="reranker"), remote(two, None)) == (
        f"{HEAD}it has 2 labels, and a reranker has 1.\n"
        "Nothing was locked. Choose a model of this task, or another task."
    )
    dense = [*MODULES, {"type": "x.Dense", "path": "2_Dense"}]
    said = refusal(spec(), remote(modules=dense))
    assert "  2_Dense/model.safetensors  the weights of the module Dense\n" in said


def test_the_exporter_is_asked_once_for_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The real one: its gates move with its versions."""
    asked = [
        (spec(task=task), describe({"config.json": json.dumps({"model_type": kind})}))
        for task, kind in (
            ("embedding", "bert"), ("embedding", "modernbert"), ("seq2seq", "marian"),
            ("seq2seq", "t5"), ("reranker", "xlm-roberta"),
        )
    ]  # fmt: skip
    said: list[str] = []
    gates = ask_exporter(asked, tmp_path_factory.mktemp("scratch"), said.append)
    assert said == ["asking the exporter which architectures it converts"]
    assert gates == {
        "bert embedding": EXPORTED,
        "modernbert embedding": {"exported": False, "too-new": False},
        "marian seq2seq": {"exported": True, "too-new": True},
        "t5 seq2seq": EXPORTED,
        "xlm-roberta reranker": EXPORTED,
    }
    assert (
        ask_exporter(
            [(spec(precisions=()), asked[0][1])], tmp_path_factory.mktemp("x"), said.append
        )
        == {}
    )
