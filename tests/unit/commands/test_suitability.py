"""What --relock refuses before anything large is fetched, with the entry to write."""

import json
from dataclasses import replace
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


MADE_UP = "there is no modules.json, so that the library would make up a pipeline"


def test_what_all_consumers_read_is_locked_without_a_word() -> None:
    gates = {"bert embedding": EXPORTED}
    assert check(spec(), remote(), gates) == Suited(consumers=None, converter=None, unable={})


def test_what_some_consumers_cannot_read_is_locked_for_the_others() -> None:
    suited = check(spec(), remote(modules=None), {"bert embedding": EXPORTED})
    assert suited == Suited(
        consumers=("transformers", "optimum-intel", "openvino-genai"),
        converter=None,
        unable=dict.fromkeys(("sentence-transformers", "sentence-transformers-openvino"), MADE_UP),
    )


def test_what_is_not_exported_is_refused_with_the_entry_to_write() -> None:
    wanted = (
        f"{HEAD}optimum-intel does not export the architecture bert for embedding.\n"
        "Nothing was locked. To prepare it without a conversion, write precisions = [] in its "
        "entry: the published weights alone are prepared and judged."
    )
    assert refusal(spec(), remote(), **{"bert embedding": {"exported": False}}) == wanted
    assert check(spec(precisions=()), remote(), {}) == Suited(
        consumers=None, converter=None, unable={}
    )


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
    assert said.startswith(f"{HEAD}no consumer can read a conversion of it (3 problems):\n")
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


def test_settings_of_the_publisher_that_are_not_wanted_are_refused() -> None:
    left = ("modules.json", "1_Pooling/config.json", "README.md", "onnx/config.json")
    assert refusal(spec(), replace(remote(modules=None), others=left)) == (
        f"{HEAD}files that its loaders need are not among the wanted ones (2 problems):\n"
        "  1_Pooling/config.json  without it a loader goes by settings of its own\n"
        "  modules.json  without it a loader goes by settings of its own\n"
        "Nothing was locked. Name them in 'files', or choose a revision that has them."
    )
    seq2seq = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
    model = replace(remote(seq2seq, None), others=("modules.json",))
    assert check(spec(task="seq2seq"), model, {"t5 seq2seq": EXPORTED}), "no task for that file"


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
        "marian": [],
        "t5": [],
    }
    nothing = [(spec(precisions=()), asked[0][1])]
    assert ask_exporter(nothing, tmp_path_factory.mktemp("x"), said.append) == {}


def test_tokenizers_that_know_languages_name_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The real ones, by the class that a repository names, or else by the model type."""
    asked = [
        (
            spec(task="seq2seq", precisions=()),
            describe(
                {
                    "config.json": json.dumps({"model_type": kind}),
                    "tokenizer_config.json": json.dumps({"tokenizer_class": tokenizer}),
                }
            ),
        )
        for kind, tokenizer in (
            ("m2m_100", "NllbTokenizerFast"), ("m2m_100", "M2M100Tokenizer"), ("m2m_100", None),
            ("mbart", "MBart50Tokenizer"), ("mbart", None), ("t5", "T5Tokenizer"),
            ("bart", "NoSuchTokenizer"),
        )
    ]  # fmt: skip
    said: list[str] = []
    codes = ask_exporter(asked, tmp_path_factory.mktemp("scratch"), said.append)
    assert said == ["asking for tokenizers' languages"]
    assert {name: len(found) for name, found in codes.items()} == {
        "NllbTokenizer": 202, "M2M100Tokenizer": 100, "m2m_100": 100, "MBart50Tokenizer": 52,
        "mbart": 25, "T5Tokenizer": 0, "NoSuchTokenizer": 0,
    }  # fmt: skip
    assert "deu_Latn" in codes["NllbTokenizer"]
    assert "de" in codes["M2M100Tokenizer"]
    assert "de_DE" in codes["MBart50Tokenizer"]


MBART = {"model_type": "mbart"}
LANGUAGES = {"mbart seq2seq": EXPORTED, "mbart": ["de_DE", "en_XX"]}


def test_a_translator_is_told_both_languages_by_its_tokenizers_codes() -> None:
    def entry(source: str | None, target: str | None) -> ModelSpec:
        return spec(task="seq2seq", source_language=source, target_language=target)

    check(entry("en_XX", "de_DE"), remote(MBART, None), LANGUAGES)
    remedy = (
        ".\nNothing was locked. Write source-language and target-language in its entry, by the "
        "tokenizer's codes: de_DE, en_XX."
    )
    must = f"{HEAD}its tokenizer must be told both languages{remedy}"
    for languages in ((None, None), ("en_XX", None), (None, "de_DE")):
        assert refusal(entry(*languages), remote(MBART, None), **LANGUAGES) == must
    wrong = f"{HEAD}its tokenizer does not know target-language = 'german'{remedy}"
    assert refusal(entry("en_XX", "german"), remote(MBART, None), **LANGUAGES) == wrong
    both = "source-language = 'en' nor target-language = 'de'"
    assert refusal(entry("en", "de"), remote(MBART, None), **LANGUAGES) == (
        f"{HEAD}its tokenizer does not know {both}{remedy}"
    )
