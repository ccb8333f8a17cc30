"""Each judge of loads and answers is shown failing: on real substitutes, and on spoiled facts.

The loads are real, by the stages themselves, on a prepared home; then one fact is made wrong.
"""

import copy
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_tests import (
    test_cache_layout,
    test_conversion,
    test_embedding,
    test_offline_loading,
    test_pins,
)
from prep.consumers import Load, loads_of
from prep.errors import NoProgress
from prep.offline import ImportServer
from prep.progress import Progress
from prep.settings import Wishes, settle
from prep.stages import Context, Converted, Loaded, Stages
from prep.verify import Aspect, Problem
from tests.runs import ROOT, SAMPLE

Judge = Callable[[Loaded], None]
BY_NAME, OPENVINO = "sentence-transformers:name", "int8:optimum-intel:path"


@pytest.fixture(scope="module")
def stages(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stages on a prepared home, offline; one import server for all tests of this file."""
    wishes = Wishes(catalogue=SAMPLE, model_home=prepared, offline=True)
    settings = settle(wishes, os.environ, ROOT)
    scratch = tmp_path_factory.mktemp("scratch")
    made = Stages(Context(settings=settings, scratch=scratch, progress=Progress(None, 10)))
    yield made
    made.close()


def load(stages: Stages, wanted: str) -> Loaded:
    """The real load of that id."""
    spec = stages.context.settings.models[0]
    loads: dict[str, Load] = {one.id: one for one in loads_of(spec.task, None, ("int8",))}
    return stages.loaded(spec, loads[wanted])


def spoiled(loaded: Loaded, spoil: Callable[[dict[str, Any]], object]) -> Loaded:
    """The same load with its facts changed."""
    facts = copy.deepcopy(loaded.facts)
    spoil(facts)
    return replace(loaded, facts=facts)


def probe(stages: Stages, folder: Path, consumer: str, loaded: Loaded) -> Loaded:
    """What a consumer gets from another folder, with the same questions."""
    result = stages.context.server.run(
        "prep.offline.probe:load",
        {
            "consumer": consumer,
            "way": {"target": str(folder), "revision": None},
            "texts": [answer["text"] for answer in loaded.facts["answers"]],
        },
        doing="a substitute",
    )
    return replace(loaded, facts=result.value, result=result, path=str(folder))


def message(judge: Judge, loaded: Loaded) -> str:
    """What the judge says; it must fail."""
    with pytest.raises(pytest.fail.Exception) as caught:
        judge(loaded)
    return str(caught.value)


JUDGES: tuple[Judge, ...] = (
    test_embedding.test_tokens_are_the_published,
    test_embedding.test_vectors_are_the_published,
    test_embedding.test_similarities_are_the_published,
    test_embedding.test_pipeline_is_the_published,
    test_embedding.test_pipeline_is_the_repositorys,
    test_embedding.test_every_answer_is_a_vector,
    test_embedding.test_answers_are_the_same_again_and_in_a_batch,
    test_embedding.test_related_stands_above_unrelated,
    test_offline_loading.test_consumer_loads,
    test_offline_loading.test_consumer_reaches_for_no_network,
    test_offline_loading.test_consumer_writes_nothing,
)


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_judge_passes_what_is_right(stages: Stages, judge: Judge) -> None:
    judge(load(stages, BY_NAME))


def test_folder_of_the_models_name_here_is_not_loaded_in_its_place(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """from_pretrained("ORG/NAME") prefers ./ORG/NAME: the server stands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model-prep-samples" / "tiny-embedding").mkdir(parents=True)
    (tmp_path / "model-prep-samples" / "tiny-embedding" / "config.json").write_text("{}")
    wishes = Wishes(catalogue=SAMPLE, model_home=prepared, offline=True)
    context = Context(
        settings=settle(wishes, {}, ROOT), scratch=tmp_path, progress=Progress(None, 10)
    )
    made = Stages(context)
    try:
        test_embedding.test_vectors_are_the_published(load(made, BY_NAME))
    finally:
        made.close()


def test_late_answer_is_never_taken_for_the_next(stages: Stages, tmp_path: Path) -> None:
    """A server that was paused: it is stopped, and a fresh one answers what is asked."""
    server = ImportServer(tmp_path)
    server.ready()
    assert server._child is not None
    pid = server._child.process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(NoProgress, match="so it was stopped"):
        server.run("math:floor", {}, doing="paused", timeout=-9)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    server.stop()


def test_empty_tokenizer_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """transformers 5 builds one without an error when the tokenizer's files are missing."""
    right = load(stages, BY_NAME)
    folder = tmp_path / "model"
    shutil.copytree(right.path, folder)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    wrong = probe(stages, folder, "sentence-transformers", right)
    shape_only(wrong)
    assert wrong.facts["vocabulary"] == 5
    assert "published" in message(test_embedding.test_tokens_are_the_published, wrong)
    assert "vocabulary is 5, published 264" in message(
        test_embedding.test_pipeline_is_the_published, wrong
    )
    assert "related" in message(test_embedding.test_related_stands_above_unrelated, wrong)


def test_made_up_pooling_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """Without modules.json, sentence-transformers makes up mean pooling and leaves out the rest."""
    right = load(stages, BY_NAME)
    folder = tmp_path / "model"
    shutil.copytree(right.path, folder)
    (folder / "modules.json").unlink()
    wrong = probe(stages, folder, "sentence-transformers", right)
    assert len(wrong.facts["answers"][0]["vector"]) == 64
    assert "modules is ['Transformer', 'Pooling'], published" in message(
        test_embedding.test_pipeline_is_the_published, wrong
    )
    (folder / "modules.json").write_text((Path(right.path) / "modules.json").read_text())
    assert "modules.json says" in message(test_embedding.test_pipeline_is_the_repositorys, wrong)


def test_random_weights_pass_shapes_and_fail_here(stages: Stages, tmp_path: Path) -> None:
    """Names that do not fit the class: the loader fills in random numbers and only warns."""
    right = load(stages, "transformers:path")
    folder = tmp_path / "model"
    shutil.copytree(right.path, folder)
    rename_weights(folder / "model.safetensors")
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    assert "missing  " in message(test_offline_loading.test_no_weights_are_made_up, wrong)
    assert "off, allowed" in message(test_embedding.test_vectors_are_the_published, wrong)


def test_another_copy_in_place_of_the_prepared_is_seen(stages: Stages, tmp_path: Path) -> None:
    """As an export at load would be, or a ready-made IR of the hub: right answers, wrong folder."""
    right = load(stages, OPENVINO)
    shutil.copytree(right.path, tmp_path / "copy")
    wrong = replace(probe(stages, tmp_path / "copy", "optimum-intel", right), path=right.path)
    judge = test_offline_loading.test_consumer_reads_the_converted_folder
    judge(right)
    assert f"read from {tmp_path / 'copy'}" in message(judge, wrong)


def test_reach_for_the_network_names_host_and_caller(stages: Stages) -> None:
    right = load(stages, BY_NAME)
    reached = ({"host": "hub.example", "caller": "lib/hub.py:7 in ask"},)
    wrong = replace(right, result=replace(right.result, network=reached))
    said = message(test_offline_loading.test_consumer_reaches_for_no_network, wrong)
    assert "hub.example  asked for by lib/hub.py:7 in ask" in said


def test_write_outside_is_named(stages: Stages) -> None:
    right = load(stages, BY_NAME)
    wrong = replace(right, result=replace(right.result, writes=("/home/x/.cache/y",)))
    assert "/home/x/.cache/y" in message(test_offline_loading.test_consumer_writes_nothing, wrong)


def test_load_without_answers_is_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, BY_NAME), lambda facts: facts["answers"].clear())
    assert "no answer at all" in message(test_offline_loading.test_consumer_loads, wrong)


def test_vector_that_is_no_vector_is_seen(stages: Stages) -> None:
    def spoil(facts: dict[str, Any]) -> None:
        facts["answers"][0]["vector"][3] = float("nan")
        facts["answers"][1]["vector"] = [0.0] * 64
        facts["answers"][2]["vector"] = [2 * one for one in facts["answers"][2]["vector"]]

    said = message(
        test_embedding.test_every_answer_is_a_vector, spoiled(load(stages, BY_NAME), spoil)
    )
    assert "(3 problems)" in said
    for words in ("holds NaN or infinity", "is zero", "has length 2.0000, not 1"):
        assert words in said


@pytest.mark.parametrize("how", ["again", "batch"])
@pytest.mark.parametrize("far", [0.02, float("nan")])
def test_unsteady_answers_are_seen(stages: Stages, how: str, far: float) -> None:
    wrong = spoiled(load(stages, BY_NAME), lambda facts: facts.update({how: far}))
    judge = test_embedding.test_answers_are_the_same_again_and_in_a_batch
    assert f"{how}: " in message(judge, wrong)


def test_small_turn_of_one_vector_is_seen(stages: Stages) -> None:
    """A golden component that is off by little more than its tolerance."""

    def spoil(facts: dict[str, Any]) -> None:
        for answer in facts["answers"]:
            answer["vector"][0] += 2e-5

    wrong = spoiled(load(stages, BY_NAME), spoil)
    assert "allowed 1e-05" in message(test_embedding.test_vectors_are_the_published, wrong)


def test_other_similarities_are_seen(stages: Stages) -> None:
    def spoil(facts: dict[str, Any]) -> None:
        for number, answer in enumerate(facts["answers"]):
            answer["vector"][number % 64] += 0.5

    wrong = spoiled(load(stages, BY_NAME), spoil)
    assert "compares otherwise" in message(
        test_embedding.test_similarities_are_the_published, wrong
    )


@pytest.mark.parametrize("aspect", ["weights", "tokenizer", "agreement"])
def test_wrong_content_of_a_conversion_is_seen(stages: Stages, aspect: str) -> None:
    spec = stages.context.settings.models[0]
    right: Converted = stages.converted(spec, "int8")
    test_conversion.test_content_is_right(right, aspect)
    assert right.content is not None
    spoils: dict[str, dict[str, Any]] = {
        "weights": {"elements": {"f32": 100, "u8": 1}},
        "tokenizer": {"vocabulary": 5},
        "agreement": {"cosine": 0.5},
    }
    content = replace(right.content, **spoils[aspect])
    problems = content.problems("int8", 0.99)
    assert list(problems) == [aspect]
    wrong = replace(right, content=content, content_problems=problems)
    with pytest.raises(pytest.fail.Exception, match="conversion is wrong"):
        test_conversion.test_content_is_right(wrong, aspect)


@pytest.mark.parametrize(
    ("judge", "aspect"),
    [
        (test_pins.test_source_is_what_the_lock_says, "bytes"),
        (test_pins.test_name_leads_to_the_pin, "ref"),
        (test_cache_layout.test_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlocked_file, "extras"),
        (test_pins.test_receipt_names_the_pin, "receipt"),
        (test_conversion.test_converted_bytes_are_the_receipts, "bytes"),
        (test_cache_layout.test_converted_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read_the_converted, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlisted_converted_file, "extras"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_aspect_has_its_judge(
    stages: Stages, judge: Callable[[Any], None], aspect: Aspect
) -> None:
    """It passes on what is right, and fails on a problem of its own aspect with name and remedy."""
    spec = stages.context.settings.models[0]
    takes_source = "fetched" in judge.__annotations__
    right: Any = stages.fetched(spec) if takes_source else stages.converted(spec, "int8")
    judge(right)
    problem = Problem(aspect=aspect, kind="wrong", path="some/file", detail="got and wanted")
    wrong = replace(right, state=replace(right.state, problems=(problem,)))
    with pytest.raises(pytest.fail.Exception) as caught:
        judge(wrong)
    head, line, remedy = str(caught.value).splitlines()
    assert head.startswith(spec.name)
    assert head.endswith("(1 problem):")
    assert line == f"  {problem}"
    assert remedy


def test_nan_in_a_conversion_is_seen(stages: Stages) -> None:
    spec = stages.context.settings.models[0]
    content = stages.converted(spec, "int8").content
    assert content is not None
    problems = replace(content, finite=False).problems("int8", 0.99)
    assert problems == {"agreement": "answers hold NaN or infinity"}


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: the right size, finite, not zero. It sees no substitute."""
    for answer in loaded.facts["answers"]:
        assert len(answer["vector"]) == 64
        assert 0 < sum(one * one for one in answer["vector"]) < float("inf")


def rename_weights(path: Path) -> None:
    """Give every tensor another name, in the header of the file, of the same length."""
    body = path.read_bytes()
    size = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + size])
    renamed = {
        name if name.startswith("__") else f"x{name[1:]}": value for name, value in header.items()
    }
    text = json.dumps(renamed, separators=(",", ":")).encode()
    assert len(text) <= size
    path.unlink()
    path.write_bytes(body[:8] + text.ljust(size) + body[8 + size :])
