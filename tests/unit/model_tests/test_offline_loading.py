"""Each check of a load is shown failing: on other copies, other exports and spoiled records."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from model_tests import test_embedding, test_offline_loading, test_reranker, test_seq2seq
from prep.errors import PrepError
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from tests.support.real_loads import (
    Judge,
    folder_like,
    judges_of,
    load,
    message,
    passed_by,
    probe,
    spoiled,
    stages_of,
    with_ready_made,
    without_ir,
)

TASK = "embedding"
MODULES = {"embedding": test_embedding, "reranker": test_reranker, "seq2seq": test_seq2seq}
BY_NAME, BY_ITSELF = "sentence-transformers:name", "transformers:name"
OPENVINO, OPENVINO_PIPELINE = "int8:optimum-intel:path", "int8:sentence-transformers-openvino:path"
READS = test_offline_loading.test_consumer_reads_the_converted_folder
Substitute = Callable[[Loaded, Path, Path], Path]
by_substitute = pytest.mark.parametrize("substitute", [without_ir, with_ready_made])


@by_substitute
@pytest.mark.parametrize("task", ["embedding", "reranker"])
def test_ir_of_another_place_answers_rightly_and_is_seen(
    stages: Stages, tmp_path: Path, task: str, substitute: Substitute
) -> None:
    """An export anew at load, and a ready-made file of the hub: only the place differs."""
    right = load(stages, task, OPENVINO_PIPELINE)
    folder = substitute(right, Path(load(stages, task, BY_ITSELF).path), tmp_path / "model")
    wrong = probe(stages, folder, "sentence-transformers-openvino", right)
    assert passed_by(MODULES[task], wrong) == list(judges_of(MODULES[task]))
    said = message(READS, wrong)
    assert f"read from {wrong.facts['read_from']}, prepared in {folder}" in said
    assert "exported anew, or found another copy" in said
    inside = wrong.facts["read_from"] == str(folder / "openvino")
    assert inside == (substitute is with_ready_made)
    assert wrong.result.writes == ()


@by_substitute
@pytest.mark.parametrize("task", MODULES)
def test_optimum_intel_exports_nothing_by_itself(
    stages: Stages, tmp_path: Path, task: str, substitute: Substitute
) -> None:
    """Without an IR in the folder itself it is an error: no check is needed."""
    right = load(stages, task, OPENVINO)
    folder = substitute(right, Path(load(stages, task, BY_ITSELF).path), tmp_path / "model")
    with pytest.raises(PrepError, match=r"openvino_(encoder_)?model\.xml"):
        probe(stages, folder, "optimum-intel", right)


def is_of_some_consumers(judge: Judge) -> bool:
    return any(mark.name == "consumers" for mark in getattr(judge, "pytestmark", ()))


@pytest.mark.parametrize(("task", "module"), MODULES.items(), ids=MODULES)
def test_another_copy_in_place_of_the_prepared_is_seen(
    stages: Stages, tmp_path: Path, task: str, module: ModuleType
) -> None:
    right = load(stages, task, OPENVINO)
    folder = folder_like(right, tmp_path / "copy")
    wrong = replace(probe(stages, folder, "optimum-intel", right), path=right.path)
    others = tuple(name for name, judge in judges_of(module).items() if is_of_some_consumers(judge))
    wanted = [name for name in judges_of(module) if name not in others]
    assert passed_by(module, wrong, but=others) == wanted
    assert f"read from {folder}" in message(READS, wrong)


def test_original_in_place_of_the_converted_is_exported_anew_and_seen(
    stages: Stages, tmp_path: Path
) -> None:
    right = load(stages, TASK, OPENVINO_PIPELINE)
    source = Path(load(stages, TASK, BY_NAME).path)
    wrong = replace(probe(stages, source, "sentence-transformers-openvino", right), path=right.path)
    assert passed_by(test_embedding, wrong) == list(judges_of(test_embedding))
    assert f"prepared in {right.path}" in message(READS, wrong)


def test_folder_of_the_models_name_here_is_not_loaded_in_its_place(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """from_pretrained("ORG/NAME") prefers ./ORG/NAME: the server stands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model-prep-samples" / "tiny-embedding").mkdir(parents=True)
    (tmp_path / "model-prep-samples" / "tiny-embedding" / "config.json").write_text("{}")
    with stages_of(prepared, tmp_path) as made:
        test_embedding.test_vectors_are_the_published(load(made, TASK, BY_NAME))


def test_reach_for_the_network_names_host_and_caller(stages: Stages) -> None:
    right = load(stages, TASK, BY_NAME)
    reached = ({"host": "hub.example", "caller": "lib/hub.py:7 in ask"},)
    wrong = replace(right, result=replace(right.result, network=reached))
    said = message(test_offline_loading.test_consumer_reaches_for_no_network, wrong)
    assert "hub.example  asked for by lib/hub.py:7 in ask" in said


def test_write_outside_is_named(stages: Stages) -> None:
    right = load(stages, TASK, BY_NAME)
    wrong = replace(right, result=replace(right.result, writes=("/home/x/.cache/y",)))
    assert "/home/x/.cache/y" in message(test_offline_loading.test_consumer_writes_nothing, wrong)


def test_load_without_answers_is_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, TASK, BY_NAME), lambda facts: facts["vectors"].clear())
    assert "no answer at all" in message(test_offline_loading.test_consumer_loads, wrong)
