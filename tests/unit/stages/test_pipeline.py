"""The stages of one process: what a stage starts before it is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.errors import PrepError
from prep.sandbox.import_server import ImportServer, Job
from prep.stages import pipeline
from prep.stages.context import NotReached
from prep.stages.pipeline import Stages
from prep.tasks.registry import TASKS
from tests.support.real_loads import spec_of, stages_of
from tests.support.runs import TINY

NEXT = "tiny-reranker"
CONSUMERS = ("transformers", "sentence-transformers")


@pytest.fixture
def stages(prepared: Path, tmp_path: Path) -> Iterator[Stages]:
    """The stages on a prepared home, offline."""
    with stages_of(prepared, tmp_path) as made:
        yield made


def test_libraries_are_imported_beside_the_fetching(stages: Stages) -> None:
    stages.context.wanted = {TINY: {"int8"}}
    stages.fetched(spec_of(stages, "embedding"))
    assert list(stages.context.servers) == [None]


@pytest.mark.parametrize("wanted", [{}, {TINY: set()}, {"tiny-reranker": {"int8"}}])
def test_where_no_test_loads_the_model_nothing_is_imported(
    stages: Stages, wanted: dict[str, set[str]]
) -> None:
    stages.context.wanted = wanted
    stages.fetched(spec_of(stages, "embedding"))
    assert stages.context.servers == {}


@pytest.fixture
def in_order(prepared_all: Path, tmp_path: Path) -> Iterator[Stages]:
    """The same, with the loads of two models' original weights to come."""
    planned = {
        name: tuple(
            load for load in TASKS[task].loads_of("a/b", CONSUMERS, ()) if load.is_interrogation
        )
        for name, task in ((TINY, "embedding"), (NEXT, "reranker"))
    }
    with stages_of(prepared_all, tmp_path, planned) as made:
        yield made


def load_all(stages: Stages, task: str) -> None:
    spec = spec_of(stages, task)
    for load in stages._planned[spec.name]:
        stages.loaded(spec, load)


def test_next_models_original_is_asked_while_a_model_is_loaded(
    in_order: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    submit = ImportServer.submit

    def noted(self: ImportServer, *args: object, **more: object) -> Job:
        given.append(str(more["doing"]))
        job = submit(self, *args, **more)  # type: ignore[arg-type]  # as they came
        assert job.memory, "or loads would be started beside it as if it took nothing"
        return job

    monkeypatch.setattr(ImportServer, "submit", noted)
    in_order.fetched(spec_of(in_order, "reranker"))
    load_all(in_order, "embedding")
    asking = [f"{name}: asking the original" for name in (TINY, NEXT)]
    assert [doing for doing in given if doing in asking] == asking
    load_all(in_order, "reranker")
    assert [doing for doing in given if doing in asking] == asking


def test_original_that_fails_ahead_of_its_tests_is_reported_by_them(
    in_order: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = pipeline.finish_reference

    def fail(context: object, spec: object, job: Job) -> object:
        reference = finish(context, spec, job)  # type: ignore[arg-type]  # as they came
        if spec == spec_of(in_order, "reranker"):
            raise PrepError("it says nothing")
        return reference

    monkeypatch.setattr(pipeline, "finish_reference", fail)
    in_order.fetched(spec_of(in_order, "reranker"))
    load_all(in_order, "embedding")
    with pytest.raises(PrepError, match="it says nothing"):
        load_all(in_order, "reranker")
    with pytest.raises(NotReached):
        load_all(in_order, "reranker")


def test_original_whose_process_died_ahead_is_asked_again(in_order: Stages) -> None:
    reranker = spec_of(in_order, "reranker")
    died = Job(order={}, doing="asked beside other work", answer={"died": -9})
    in_order._asking[reranker.name] = died
    assert in_order.reference(reranker).given is not None


def test_original_is_not_asked_ahead_without_memory_for_it(
    in_order: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "reference_memory", lambda context, fetched: 1 << 60)
    in_order.fetched(spec_of(in_order, "reranker"))
    load_all(in_order, "embedding")
    assert in_order._asking == {}
