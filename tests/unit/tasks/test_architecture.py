"""What small files say of a model, and who can read it."""

import json
from typing import Any

import pytest

from prep.tasks.architecture import Architecture, Module, Pooling, describe, missing_files
from prep.tasks.registry import TASKS

WHOLE = ("config.json", "model.safetensors", "tokenizer.json", "spiece.model")


def texts(**files: Any) -> dict[str, str]:
    return {f"{name}.json": json.dumps(content) for name, content in files.items()}


def modules(*kinds: str) -> list[dict[str, str]]:
    return [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{at}_{kind}" if at else ""}
        for at, kind in enumerate(kinds)
    ]


def found(model_type: str | None, *kinds: str, classes: tuple[str, ...] = ()) -> Architecture:
    config = {} if model_type is None else {"config": {"model_type": model_type}}
    if model_type and classes:
        config["config"] |= {"architectures": list(classes)}  # type: ignore[dict-item]
    return describe(texts(**config, **({"modules": modules(*kinds)} if kinds else {})))


def test_a_description_is_what_the_files_say() -> None:
    described = describe(
        texts(
            config={"model_type": "bert", "architectures": ["BertModel"], "id2label": {"0": "a"}},
            modules=modules("Transformer", "Pooling"),
            tokenizer_config={"tokenizer_class": "BertTokenizer"},
        )
    )
    assert described == Architecture(
        model_type="bert",
        classes=("BertModel",),
        labels=1,
        modules=(
            Module(kind="Transformer", folder=""),
            Module(kind="Pooling", folder="1_Pooling"),
        ),
        tokenizer="BertTokenizer",
        pooling=Pooling(modes=("mean",), counts_prompt=True),
    )


@pytest.mark.parametrize(
    ("config", "modes", "counts_prompt"),
    [
        ({}, ("mean",), True),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",), True),
        ({"pooling_mode_lasttoken": True, "include_prompt": False}, ("lasttoken",), False),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt_len",), True),
        ({"pooling_mode": "mean"}, ("mean",), True),
        ({"pooling_mode": ["cls", "max"]}, ("cls", "max"), True),
        ({"pooling_mode": 7, "include_prompt": "x"}, ("7",), True),
    ],
)
def test_pooling_is_what_its_module_says(
    config: dict[str, Any], modes: tuple[str, ...], counts_prompt: bool
) -> None:
    assert pooled(config).pooling == Pooling(modes=modes, counts_prompt=counts_prompt)


def pooled(config: dict[str, Any], *kinds: str) -> Architecture:
    names = modules("Transformer", "Pooling", *kinds)
    files = texts(config={"model_type": "bert"}, modules=names)
    return describe(files | {"1_Pooling/config.json": json.dumps(config)})


GENAI = [
    (pooled({"pooling_mode": "cls"}, "Normalize"), None),
    (found("bert"), None),
    (pooled({"pooling_mode": "max"}), "the runtime has no pooling max"),
    (pooled({"pooling_mode": ["cls", "mean"]}), "the runtime has no pooling cls, mean"),
    (pooled({"include_prompt": False}), "the runtime pools over the prompt as well"),
    (pooled({}, "Dense"), "the runtime has no module Dense"),
    (found("bert", "Transformer"), "the runtime always pools"),
]


@pytest.mark.parametrize(("described", "why"), GENAI)
def test_openvinos_own_runtime_reads_what_it_has_names_for(
    described: Architecture, why: str | None
) -> None:
    unable = TASKS["embedding"].consumers_unable(described, WHOLE)
    assert unable.get("openvino-genai") == why


def test_openvinos_own_runtime_joins_the_texts_of_a_qwen3_reranker() -> None:
    files = texts(
        config={"model_type": "qwen3", "architectures": ["Qwen3ForSequenceClassification"]}
    )
    assert TASKS["reranker"].consumers_unable(describe(files), WHOLE) == {
        "openvino-genai": "the runtime joins query and passage of a qwen3 to one text"
    }


ODD = json.dumps(
    {"model_type": 7, "architectures": 7, "id2label": 7, "num_labels": "x", "tokenizer_class": []}
)


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"architectures": null}', "7", "[" * 100_000, ODD]
)
def test_a_file_that_cannot_be_read_says_nothing(text: str) -> None:
    nothing = describe({"config.json": text, "modules.json": text})
    assert (nothing.model_type, nothing.classes, nothing.kinds) == (None, (), ())
    assert (nothing.labels, nothing.tokenizer) == (2, None)


ST = ("sentence-transformers", "sentence-transformers-openvino")
RAW = ("transformers", "optimum-intel", "openvino-genai")
CONVERTED = ("optimum-intel", "sentence-transformers-openvino", "openvino-genai")
UNABLE: list[tuple[str, Architecture, tuple[str, ...]]] = [
    ("embedding", found("bert", "Transformer", "Pooling", "Normalize"), ()),
    ("embedding", found("distilbert", "Transformer", "Pooling", "Dense"), ("openvino-genai",)),
    ("embedding", found("bert"), ST),
    ("embedding", found(None, "StaticEmbedding"), ("transformers", *CONVERTED)),
    ("embedding", found("t5", "Transformer", "Pooling"), ("transformers", *CONVERTED)),
    ("embedding", found("qwen2", "Transformer", "Pooling"), CONVERTED),
    ("embedding", found("bert", "Transformer", "Pooling", "WordWeights"), RAW),
    ("reranker", found("bert", classes=("BertForSequenceClassification",)), ()),
    ("reranker", found("bert", "Transformer", classes=("BertForSequenceClassification",)), ()),
    (
        "reranker",
        found("qwen3", "Transformer", "LogitScore", classes=("Qwen3ForCausalLM",)),
        ("transformers", *CONVERTED),
    ),
    ("reranker", found("qwen3", classes=("Qwen3ForCausalLM",)), ("transformers", *CONVERTED)),
    ("seq2seq", found("t5"), ()),
]


@pytest.mark.parametrize(("task", "described", "names"), UNABLE)
def test_consumers_that_would_make_something_up_are_named(
    task: str, described: Architecture, names: tuple[str, ...]
) -> None:
    unable = TASKS[task].consumers_unable(described, WHOLE)
    assert sorted(unable) == sorted(names)
    assert all(unable.values())


def test_a_slow_tokenizer_is_asked_only_where_there_is_its_file() -> None:
    assert list(TASKS["seq2seq"].consumers_unable(found("bart"), ("vocab.json",))) == [
        "transformers-slow"
    ]


def test_a_reranker_has_one_label() -> None:
    described = describe(texts(config={"num_labels": 3}))
    assert TASKS["reranker"].other_kind(described) == "it has 3 labels, and a reranker has 1"
    assert TASKS["reranker"].other_kind(describe(texts(config={"num_labels": 1}))) is None
    assert TASKS["embedding"].other_kind(described) is None


PICKLED = (
    "2_Dense/model.safetensors  the weights of the module Dense; the repository has "
    "2_Dense/pytorch_model.bin, a pickle"
)
EMPTY = "tokenizer.json  nor any vocabulary: the tokenizer would be empty"
STATIC = "tokenizer.json  read by the module StaticEmbedding"
DENSE = texts(modules=modules("Transformer", "Pooling", "Dense"))
MISSING: list[tuple[dict[str, str], tuple[str, ...], tuple[str, ...], list[str]]] = [
    (DENSE, ("tokenizer.json", "2_Dense/model.safetensors"), (), []),
    (
        DENSE,
        ("tokenizer.json",),
        ("2_Dense/pytorch_model.bin",),
        [
            PICKLED,
        ],
    ),
    (
        texts(tokenizer_config={"tokenizer_class": "MarianTokenizer"}),
        ("source.spm", "vocab.json"),
        (),
        ["target.spm  read by MarianTokenizer"],
    ),
    (
        texts(tokenizer_config={"tokenizer_class": "DebertaV2TokenizerFast"}),
        ("config.json",),
        (),
        ["spm.model  read by DebertaV2TokenizerFast"],
    ),
    (texts(), ("config.json",), (), [EMPTY]),
    (texts(modules=modules("StaticEmbedding")), ("0_StaticEmbedding/tokenizer.json",), (), []),
    (texts(modules=modules("StaticEmbedding")), ("vocab.txt",), (), [STATIC]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "paths", "others", "problems"), MISSING)
def test_files_that_a_loader_needs_are_named(
    files: dict[str, str], paths: tuple[str, ...], others: tuple[str, ...], problems: list[str]
) -> None:
    assert missing_files(describe(files), paths, others) == problems
