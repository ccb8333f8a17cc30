"""Each judge of loads and answers is shown failing: on real substitutes, and on spoiled facts.

The loads are real, by the stages themselves, on a prepared home; then one fact is made wrong. Here
are the embedding's judges and those of all tasks.
"""

import os
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
from prep.catalogue.goldens import Goldens
from prep.errors import PrepError, TimedOut, UnsuitableInterpreter
from prep.sandbox.import_server import ImportServer
from prep.stages.converted import Converted
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from prep.verify.problem import Aspect, Problem
from tests.support.real_loads import (
    Facts,
    Judge,
    called_int8,
    change_weights,
    content_message,
    converted,
    folder_like,
    judges_of,
    load,
    measured,
    message,
    passing,
    probe,
    problems_of,
    remove_tokenizer,
    renamed,
    spec_of,
    spoiled,
    stages_of,
    with_ready_made,
    without_ir,
)

TASK = "embedding"
BY_NAME, BY_ITSELF = "sentence-transformers:name", "transformers:name"
OPENVINO, OPENVINO_PIPELINE = "int8:optimum-intel:path", "int8:sentence-transformers-openvino:path"
READS = test_offline_loading.test_consumer_reads_the_converted_folder


@pytest.fixture(scope="module")
def stages(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stages on a prepared home, offline; one import server for all tests of this file."""
    with stages_of(prepared, tmp_path_factory.mktemp("scratch")) as made:
        yield made


JUDGES: tuple[Judge, ...] = (
    *judges_of(test_embedding).values(),
    test_offline_loading.test_consumer_loads,
    test_offline_loading.test_consumer_reaches_for_no_network,
    test_offline_loading.test_consumer_writes_nothing,
)


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_judge_passes_what_is_right(stages: Stages, judge: Judge) -> None:
    judge(load(stages, TASK, BY_NAME))


def test_judges_of_some_consumers_pass_what_is_right(stages: Stages) -> None:
    """Their vectors too: those of a service that pools by itself are not normalised."""
    for wanted in (BY_ITSELF, OPENVINO, OPENVINO_PIPELINE):
        right = load(stages, TASK, wanted)
        test_embedding.test_vectors_are_the_published(right)
        test_embedding.test_pipeline_is_the_published(right)
        if wanted == BY_ITSELF:
            test_offline_loading.test_no_weights_are_made_up(right)
        else:
            READS(right)


@pytest.mark.parametrize("wanted", [BY_NAME, BY_ITSELF])
def test_raw_golden_is_held_raw_where_the_consumer_gives_raw_vectors(
    stages: Stages, wanted: str
) -> None:
    """A vector of twice the length is another answer of those, and the same of a pipeline."""
    right, text = load(stages, TASK, wanted), "turn on the lamp in the kitchen"
    tolerance = {"fp32": 1e-5, "int8": 1e-5}
    answer: Facts = {"id": "one", "text": text, "normalized": False, "source": "this load"}
    answer |= {"expected": test_embedding.vector_of(right, text), "tolerance": tolerance}
    held = replace(right, goldens=Goldens(repo="any", task=TASK, answers={"vectors": (answer,)}))
    test_embedding.test_vectors_are_the_published(held)
    answer["expected"] = [2 * one for one in answer["expected"]]
    if wanted == BY_NAME:
        test_embedding.test_vectors_are_the_published(held)
    else:
        said = message(test_embedding.test_vectors_are_the_published, held)
        assert "off, allowed 1e-05 (this load)" in said


def test_folder_of_the_models_name_here_is_not_loaded_in_its_place(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """from_pretrained("ORG/NAME") prefers ./ORG/NAME: the server stands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model-prep-samples" / "tiny-embedding").mkdir(parents=True)
    (tmp_path / "model-prep-samples" / "tiny-embedding" / "config.json").write_text("{}")
    with stages_of(prepared, tmp_path) as made:
        test_embedding.test_vectors_are_the_published(load(made, TASK, BY_NAME))


def test_consumer_that_our_own_environment_lacks_is_no_skip(prepared: Path, tmp_path: Path) -> None:
    """Else `ready` would rest on the other consumers, and nobody had looked at this one."""
    with stages_of(prepared, tmp_path) as made:
        lacking = made.context.server.ready()["not-tried"][TASK]
        lacking["sentence-transformers"] = "not installed: sentence_transformers"
        with pytest.raises(UnsuitableInterpreter) as caught:
            load(made, TASK, BY_NAME)
        assert str(caught.value) == (
            "tiny-embedding: this environment cannot be the consumer sentence-transformers: not "
            "installed: sentence_transformers. Install what requirements.txt names, or name the "
            "consumers that count in the catalogue."
        )
        assert load(made, TASK, BY_ITSELF).facts


def test_late_answer_is_never_taken_for_the_next(tmp_path: Path) -> None:
    """A server that was paused: it is stopped, and a fresh one answers what is asked."""
    server = ImportServer(tmp_path)
    server.ready()
    assert server._child is not None
    pid = server._child.process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimedOut, match="so it was stopped"):
        server.run("math:floor", {}, doing="paused", timeout=-9)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    server.stop()


def test_empty_tokenizer_passes_shapes_and_fails_here(stages: Stages, tmp_path: Path) -> None:
    """transformers 5 builds one without an error when the tokenizer's files are missing."""
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    remove_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
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
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    (folder / "modules.json").unlink()
    wrong = probe(stages, folder, "sentence-transformers", right)
    shape_only(wrong)
    assert "modules is ['Transformer', 'Pooling'], published" in message(
        test_embedding.test_pipeline_is_the_published, wrong
    )
    (folder / "modules.json").write_text((Path(right.path) / "modules.json").read_text())
    assert "modules.json says" in message(test_embedding.test_pipeline_is_the_repositorys, wrong)


def test_other_length_limit_than_the_files_is_seen(stages: Stages) -> None:
    wrong = spoiled(load(stages, TASK, BY_NAME), lambda facts: facts.update(max_length=512))
    said = message(test_embedding.test_pipeline_is_the_repositorys, wrong)
    assert "longest text is 512 tokens, the file: 64" in said


def test_random_weights_pass_shapes_and_fail_here(stages: Stages, tmp_path: Path) -> None:
    """Names that do not fit the class: the loader fills in random numbers and only warns."""
    right = load(stages, TASK, BY_ITSELF)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, renamed(""))
    wrong = probe(stages, folder, "transformers", right)
    shape_only(wrong)
    said = message(test_offline_loading.test_no_weights_are_made_up, wrong)
    assert "missing  embeddings.word_embeddings.weight" in said
    assert "unused   other.embeddings.word_embeddings.weight" in said
    assert "off, allowed" in message(test_embedding.test_vectors_are_the_published, wrong)


@pytest.mark.parametrize("substitute", [without_ir, with_ready_made])
def test_ir_of_another_place_answers_rightly_and_is_seen(
    stages: Stages, tmp_path: Path, substitute: Callable[[Loaded, Path, Path], Path]
) -> None:
    """An export anew at load, and a ready-made file of the hub: only the place tells."""
    right = load(stages, TASK, OPENVINO_PIPELINE)
    source = Path(load(stages, TASK, BY_NAME).path)
    folder = substitute(right, source, tmp_path / "model")
    wrong = probe(stages, folder, "sentence-transformers-openvino", right)
    shape_only(wrong)
    assert passing(test_embedding, wrong) == list(judges_of(test_embedding))
    said = message(READS, wrong)
    assert f"read from {wrong.facts['read_from']}, prepared in {folder}" in said
    assert "exported anew, or found another copy" in said
    inside = wrong.facts["read_from"] == str(folder / "openvino")
    assert inside == (substitute is with_ready_made)
    assert wrong.result.writes == ()


def test_original_in_place_of_the_converted_is_exported_anew_and_seen(
    stages: Stages, tmp_path: Path
) -> None:
    right = load(stages, TASK, OPENVINO_PIPELINE)
    source = Path(load(stages, TASK, BY_NAME).path)
    wrong = replace(probe(stages, source, "sentence-transformers-openvino", right), path=right.path)
    assert passing(test_embedding, wrong) == list(judges_of(test_embedding))
    assert f"prepared in {right.path}" in message(READS, wrong)


def test_optimum_intel_exports_nothing_by_itself(stages: Stages, tmp_path: Path) -> None:
    """A folder without an IR is an error of its own there: no judge is needed."""
    right = load(stages, TASK, OPENVINO)
    source = Path(load(stages, TASK, BY_NAME).path)
    folder = without_ir(right, source, tmp_path / "model")
    with pytest.raises(PrepError, match=r"openvino_model\.xml"):
        probe(stages, folder, "optimum-intel", right)


def test_another_copy_in_place_of_the_prepared_is_seen(stages: Stages, tmp_path: Path) -> None:
    right = load(stages, TASK, OPENVINO)
    folder = folder_like(right, tmp_path / "copy")
    wrong = replace(probe(stages, folder, "optimum-intel", right), path=right.path)
    assert f"read from {folder}" in message(READS, wrong)


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


def test_vector_that_is_no_vector_is_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        first, second, third, *_ = facts["vectors"]
        facts["vectors"][first][3] = float("nan")
        facts["vectors"][second] = [0.0] * 64
        facts["vectors"][third] = [2 * fact for fact in facts["vectors"][third]]

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    said = message(test_embedding.test_every_answer_is_a_vector, wrong)
    assert "(3 problems)" in said
    for words in ("holds NaN or infinity", "is zero", "has length 2.0000, not 1"):
        assert words in said


@pytest.mark.parametrize("how", ["again", "batch"])
@pytest.mark.parametrize("far", [0.02, float("nan")])
def test_unsteady_answers_are_seen(stages: Stages, how: str, far: float) -> None:
    wrong = spoiled(load(stages, TASK, BY_NAME), lambda facts: facts.update({how: far}))
    judge = test_embedding.test_answers_are_the_same_again_and_in_a_batch
    assert f"{how}: " in message(judge, wrong)


def test_small_turn_of_one_vector_is_seen(stages: Stages) -> None:
    """A golden component that is off by little more than its tolerance."""

    def spoil(facts: Facts) -> None:
        for vector in facts["vectors"].values():
            vector[0] += 2e-5

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    assert "allowed 1e-05" in message(test_embedding.test_vectors_are_the_published, wrong)


def test_other_direction_than_the_published_is_seen(stages: Stages) -> None:
    """Where the source promised no more than a cosine."""
    right = load(stages, TASK, BY_NAME)
    assert right.goldens is not None
    one = dict(right.goldens.of("vectors")[0])
    del one["tolerance"]
    one |= {
        "expected": test_embedding.vector_of(right, one["text"]),
        "least-cosine": {"fp32": 0.99},
    }
    right = replace(right, goldens=Goldens(repo="any", task=TASK, answers={"vectors": (one,)}))
    test_embedding.test_vectors_are_the_published(right)
    wrong = spoiled(right, lambda facts: facts["vectors"][one["text"]].reverse())
    said = message(test_embedding.test_vectors_are_the_published, wrong)
    assert "lamp: cosine " in said
    assert "at least 0.99" in said


def test_other_similarities_are_seen(stages: Stages) -> None:
    def spoil(facts: Facts) -> None:
        for number, vector in enumerate(facts["vectors"].values()):
            vector[number % 64] += 0.5

    wrong = spoiled(load(stages, TASK, BY_NAME), spoil)
    assert "gives other similarities" in message(
        test_embedding.test_similarities_are_the_published, wrong
    )


def test_float32_weights_called_int8_are_seen(stages: Stages, tmp_path: Path) -> None:
    """A real conversion, whose answers are the best there are."""
    source = Path(load(stages, TASK, BY_NAME).path)
    content = measured(stages, TASK, source, converted(stages, TASK, source, tmp_path / "made"))
    assert problems_of(content, "fp32") == {}
    wrong = called_int8(stages, TASK, content)
    said = content_message(wrong, "weights")
    assert "tiny-embedding: the int8 conversion is wrong (1 problem):" in said
    assert "0% of the weights are int8, wanted at least 95% (elements: 90624 f32)" in said
    for aspect in ("tokenizer", "agreement"):
        test_conversion.test_content_is_right(wrong, aspect)


def test_conversion_of_other_weights_is_seen(stages: Stages, tmp_path: Path) -> None:
    right = load(stages, TASK, BY_NAME)
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, renamed("encoder."))
    made = converted(stages, TASK, folder, tmp_path / "made")
    problems = problems_of(measured(stages, TASK, Path(right.path), made), "fp32")
    assert list(problems) == ["agreement"]
    assert problems["agreement"].startswith("the lowest cosine to the PyTorch original is ")
    assert problems["agreement"].endswith("wanted at least 0.99999")


@pytest.mark.parametrize(
    ("aspect", "spoil"),
    [
        ("weights", {"elements": {"f32": 100, "u8": 1}}),
        ("tokenizer", {"vocabulary": 5}),
        ("agreement", {"agreement": 0.5}),
        ("agreement", {"finite": False}),
    ],
)
def test_wrong_content_of_a_conversion_is_seen(
    stages: Stages, aspect: str, spoil: dict[str, Any]
) -> None:
    right: Converted = stages.converted(spec_of(stages, TASK), "int8")
    test_conversion.test_content_is_right(right, aspect)
    assert right.content is not None
    wrong = called_int8(stages, TASK, replace(right.content, **spoil))
    assert list(wrong.content_problems) == [aspect]
    assert wrong.content_problems[aspect] in content_message(wrong, aspect)


@pytest.mark.parametrize(
    ("judge", "aspect"),
    [
        (test_pins.test_source_is_what_the_lock_says, "bytes"),
        (test_pins.test_name_leads_to_the_pin, "ref"),
        (test_cache_layout.test_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlocked_file, "unlocked"),
        (test_pins.test_nothing_converted_asks_to_run_code, "unsafe"),
        (test_pins.test_receipt_names_the_pin, "receipt"),
        (test_conversion.test_converted_bytes_are_the_receipts, "bytes"),
        (test_cache_layout.test_converted_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read_the_converted, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlisted_converted_file, "unlocked"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_aspect_has_its_judge(
    stages: Stages, judge: Callable[[Any], None], aspect: Aspect
) -> None:
    """It passes on what is right, and fails on a problem of its own aspect with name and remedy."""
    spec = spec_of(stages, TASK)
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


def shape_only(loaded: Loaded) -> None:
    """What a check of shapes asks: the right size, finite, not zero. It sees no substitute."""
    for vector in loaded.facts["vectors"].values():
        assert len(vector) == 64
        assert 0 < sum(one * one for one in vector) < float("inf")
