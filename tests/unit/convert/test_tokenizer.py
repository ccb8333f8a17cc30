"""The tokenizer as an IR: the same bytes twice, the repository's ids, and others are seen."""

import json
import shutil
from pathlib import Path

import numpy
import openvino
import pytest
from openvino import opset13
from openvino_tokenizers import _ext_path

from model_tests import test_embedding, test_reranker
from prep.convert.conversion import _convert_tokenizer
from prep.errors import ModelError
from prep.home.receipt import TOKENIZER, read_receipt
from prep.stages.pipeline import Stages
from prep.tasks.registry import TASKS
from tests.support.real_loads import (
    Judge,
    folder_like,
    load,
    measured,
    message,
    probe,
    problems_of,
)

IDS_AND_MASK = ("input_ids", "attention_mask")
IR = "openvino_*tokenizer.*"
OTHER = {"embedding": "reranker", "reranker": "embedding", "seq2seq": "reranker"}


def folder_of(stages: Stages, task: str, to: Path) -> Path:
    """A copy of the int8 conversion."""
    return folder_like(load(stages, task, "int8:optimum-intel:path"), to)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(IR))}


def make(stages: Stages, task: str, folder: Path) -> None:
    """Convert the tokenizer of a folder, as the suite does."""
    order = {
        "folder": str(folder),
        "texts": TASKS[task].questions().texts(),
        "writes": TASKS[task].generates,
    }
    stages.context.server.run(
        "prep.convert.tokenizer:make", order, doing="converting", may_write=[folder]
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_same_tokenizer_gives_the_same_bytes(stages: Stages, tmp_path: Path, task: str) -> None:
    folder = folder_of(stages, task, tmp_path / "copy")
    before = bytes_of(folder)
    kinds = ("detokenizer", "tokenizer") if task == "seq2seq" else ("tokenizer",)
    assert list(before) == [f"openvino_{kind}.{end}" for kind in kinds for end in ("bin", "xml")]
    for path in folder.glob(IR):
        path.unlink()
    make(stages, task, folder)
    assert bytes_of(folder) == before


@pytest.mark.parametrize("task", TASKS)
def test_the_ir_of_another_tokenizer_is_seen(stages: Stages, tmp_path: Path, task: str) -> None:
    """Whatever its receipt says: by the token ids of every text that is asked."""
    folder = folder_of(stages, task, tmp_path / "copy")
    other = folder_of(stages, OTHER[task], tmp_path / "other")
    source = Path(load(stages, task, "transformers:name").path)
    assert problems_of(measured(stages, task, source, folder), "int8") == {}
    for name in ("openvino_tokenizer.xml", "openvino_tokenizer.bin"):
        shutil.copyfile(other / name, folder / name)
    problems = problems_of(measured(stages, task, source, folder), "int8")
    assert list(problems) == ["tokenizer"]
    assert problems["tokenizer"].startswith("openvino_tokenizer.xml answers otherwise (")


def test_the_detokenizer_of_another_model_is_seen(stages: Stages, tmp_path: Path) -> None:
    folder = folder_of(stages, "seq2seq", tmp_path / "copy")
    path = folder / "openvino_detokenizer.bin"
    path.write_bytes(path.read_bytes().replace(b"the", b"eht"))
    source = Path(load(stages, "seq2seq", "transformers:name").path)
    problems = problems_of(measured(stages, "seq2seq", source, folder), "int8")
    assert " is written " in problems["tokenizer"]


def test_what_the_model_does_not_take_is_not_handed_over(stages: Stages, tmp_path: Path) -> None:
    """A DeBERTa takes no token_type_ids, and openvino-genai would set them."""
    folder = folder_of(stages, "embedding", tmp_path / "copy")
    assert outputs(folder) == {"input_ids", "attention_mask", "token_type_ids"}
    ids, mask = (opset13.parameter([-1, -1], numpy.int64, name=name) for name in IDS_AND_MASK)
    ids.output(0).set_names({"input_ids"})
    mask.output(0).set_names({"attention_mask"})
    model = openvino.Model([opset13.add(ids, mask)], [ids, mask])
    (folder / "openvino_model.xml").unlink()
    openvino.save_model(model, folder / "openvino_model.xml")
    make(stages, "embedding", folder)
    assert outputs(folder) == {"input_ids", "attention_mask"}


def outputs(folder: Path) -> set[str]:
    core = openvino.Core()
    core.add_extension(str(_ext_path))
    return {port.any_name for port in core.read_model(folder / TOKENIZER).outputs}


@pytest.mark.parametrize(
    ("task", "judge"),
    [
        ("embedding", test_embedding.test_related_stands_above_unrelated),
        ("reranker", test_reranker.test_relevant_stands_above_the_others),
    ],
)
def test_the_runtime_reads_its_own_tokenizer(
    stages: Stages, tmp_path: Path, task: str, judge: Judge
) -> None:
    """Its answers show another one, where transformers' files are right."""
    right = load(stages, task, "int8:openvino-genai:path")
    folder = folder_like(right, tmp_path / "copy")
    other = folder_of(stages, OTHER[task], tmp_path / "other")
    for name in ("openvino_tokenizer.xml", "openvino_tokenizer.bin"):
        shutil.copyfile(other / name, folder / name)
    try:
        wrong = probe(stages, folder, "openvino-genai", right)
    except ModelError:
        return  # ids that the model has no row for
    assert message(judge, wrong)


def test_a_tokenizer_that_cannot_be_converted_is_left_out_and_says_why(
    stages: Stages, tmp_path: Path
) -> None:
    """transformers reads it, and openvino-tokenizers knows no such step."""
    folder = folder_of(stages, "embedding", tmp_path / "copy")
    for name, changes in (
        ("tokenizer.json", {"pre_tokenizer": {"type": "UnicodeScripts"}}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    recipe = read_receipt(folder).recipe
    assert _convert_tokenizer(stages.context.server, folder, recipe, ["a"]) == (
        "conversion failed: converting the tokenizer of model-prep-samples/tiny-embedding failed: "
        "OVTypeError: "
        "Pre-tokenizer type 'UnicodeScripts' is not supported: 'UnicodeScripts'"
    )
    assert bytes_of(folder) == {}
