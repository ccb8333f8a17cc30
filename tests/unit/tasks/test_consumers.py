"""Consumers: cases whole in every axis, the same names as the probe's, and readable test ids."""

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from prep.catalogue.entries import read_catalogue
from prep.sandbox.probe.consumers import TASKS as PROBED
from prep.sandbox.probe.libraries import NEEDED
from prep.tasks.consumers import (
    BY_NAME_OR_PATH,
    BY_PATH,
    BY_SHORT_NAME,
    Case,
    Interpreter,
    Load,
)
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE

AXES = ("way", "cache", "user", "mount")
USERS, MOUNTS = ("owner", "other"), ("read-write", "read-only")
REPO = "acme/tiny"

Row = dict[str, Any]


def rows(cases: Iterable[Case]) -> list[Row]:
    return [{axis: getattr(case, axis) for axis in AXES} for case in cases]


def possible(ways: Iterable[str]) -> list[Row]:
    """Every case there could be: a path is looked up nowhere, a name in one of two places."""
    return [
        {"way": way, "cache": cache, "user": user, "mount": mount}
        for way, cache, user, mount in product(ways, ("HF_HOME", "cache_dir", None), USERS, MOUNTS)
        if (way == "path") == (cache is None)
    ]


TABLES = pytest.mark.parametrize(
    ("cases", "ways"),
    [
        (BY_NAME_OR_PATH, ("name", "commit", "path")),
        (BY_PATH, ("path",)),
    ],
    ids=["by name or path", "by path"],
)


@TABLES
def test_every_value_of_every_axis_is_tried(cases: tuple[Case, ...], ways: tuple[str, ...]) -> None:
    for axis in AXES:
        assert {row[axis] for row in rows(cases)} == {row[axis] for row in possible(ways)}, axis
    assert [row for row in rows(cases) if row not in possible(ways)] == []
    assert len(set(cases)) == len(cases)


@TABLES
def test_the_first_case_is_what_a_service_does_by_default(
    cases: tuple[Case, ...], ways: tuple[str, ...]
) -> None:
    """A consumer is interrogated in it, so it needs no right that some machine does not give."""
    cache = "HF_HOME" if "name" in ways else None
    assert cases[0] == Case(way="name" if cache else "path", cache=cache)
    assert (cases[0].user, cases[0].mount) == ("owner", "read-write")
    assert cases[0].id == cases[0].way


@pytest.mark.parametrize("task", TASKS)
def test_each_consumer_is_interrogated_once_a_precision_and_interpreter(task: str) -> None:
    loads = every_load(task, "sentence-transformers/tiny", "old")
    interrogations = [load for load in loads if load.is_interrogation]
    expected = [(load.consumer.name, load.precision, load.interpreter) for load in loads]
    assert [
        (load.consumer.name, load.precision, load.interpreter) for load in interrogations
    ] == list(dict.fromkeys(expected)), "each before its access checks"
    for load in loads:
        assert load.interrogation in interrogations
        assert load.interrogation.case == load.consumer.cases[0]
        assert (load.interrogation == load) == load.is_interrogation


def test_every_consumer_has_the_whole_table_of_what_it_reads() -> None:
    for consumer in (consumer for task in TASKS.values() for consumer in task.consumers):
        assert consumer.cases == (BY_NAME_OR_PATH if consumer.reads == "source" else BY_PATH)
        assert consumer.classes


def test_every_value_that_a_case_may_have_is_in_the_table() -> None:
    cases = (*BY_NAME_OR_PATH, *BY_PATH, BY_SHORT_NAME)
    hints = get_type_hints(Case)
    assert {row["way"] for row in rows(cases)} == set(get_args(hints["way"]))
    assert {row["user"] for row in rows(cases)} == set(get_args(hints["user"])) == set(USERS)
    assert {row["mount"] for row in rows(cases)} == set(get_args(hints["mount"])) == set(MOUNTS)


def test_the_tasks_and_the_probe_name_the_same_consumers() -> None:
    named = {name: [consumer.name for consumer in task.consumers] for name, task in TASKS.items()}
    assert named == {name: list(task.CONSUMERS) for name, task in PROBED.items()}
    assert {name for names in named.values() for name in names} == set(NEEDED)


def test_no_two_consumers_of_the_probe_are_the_same_function() -> None:
    functions = [load for task in PROBED.values() for load in task.CONSUMERS.values()]
    assert len(functions) == len(set(functions))


@pytest.mark.parametrize("catalogue", [SAMPLE, ROOT / "models.toml"], ids=["sample", "own"])
def test_every_model_of_the_catalogues_has_consumers(catalogue: Path) -> None:
    for spec in read_catalogue(catalogue).models:
        assert TASKS[spec.task].consumers_named(spec.consumers), spec.name


def label_of(load: Load) -> str | None:
    return load.interpreter.label if load.interpreter else None


def every_load(task: str, repo: str = REPO, *labels: str) -> tuple[Load, ...]:
    pythons = tuple(
        Interpreter(python=Path(f"/srv/{label}/python"), label=label) for label in labels
    )
    return TASKS[task].loads_of(repo, None, PRECISIONS, pythons)


@pytest.mark.parametrize("task", TASKS)
def test_ids_are_unique_and_say_what_differs(task: str) -> None:
    ids = [load.id for load in every_load(task, "sentence-transformers/tiny", "old", "new")]
    assert sorted(ids) == sorted(set(ids))
    for load_id in ids:
        assert re.fullmatch(r"[a-z0-9_.:=-]+", load_id), load_id
        assert "None" not in load_id
        assert not {"owner", "read-write"} & set(load_id.split(":")), load_id
        assert "HF_HOME" not in load_id


def test_ids_are_read_as_sentences_of_few_words() -> None:
    other = Interpreter(python=Path("/srv/search/bin/python"), label="search")
    plain_consumer, _, two, *_ = TASKS["embedding"].consumers
    away = BY_NAME_OR_PATH[2]
    assert [
        Load(consumer=plain_consumer, case=Case(way="name", cache="HF_HOME"), precision=None).id,
        Load(consumer=plain_consumer, case=away, precision=None).id,
        Load(consumer=two, case=Case(way="path", cache=None), precision="int8").id,
        Load(consumer=two, case=BY_PATH[1], precision="fp16", interpreter=other).id,
    ] == [
        "transformers:name",
        "transformers:commit:cache_dir:other:read-only",
        "int8:optimum-intel:path",
        "fp16:optimum-intel:path:other:read-only:python=search",
    ]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("repo", "short"),
    [
        ("sentence-transformers/tiny", True),
        ("acme/tiny", False),
        ("sentence-transformers-fork/tiny", False),
        ("acme/sentence-transformers", False),
    ],
)
def test_short_name_is_for_the_one_library_that_knows_its_owner(
    repo: str, short: bool, task: str
) -> None:
    found = [load for load in every_load(task, repo) if load.case.way == "short-name"]
    names = [load.consumer.name for load in found]
    assert names == (["sentence-transformers"] if short and task == "embedding" else [])
    assert [load.case for load in found] == [BY_SHORT_NAME] * len(found)


@pytest.mark.parametrize("task", TASKS)
def test_original_is_loaded_once_a_case_and_a_conversion_in_each_precision(task: str) -> None:
    loads = every_load(task)
    counted = [(load.consumer.name, load.precision, load.case) for load in loads]
    gone = {"transformers-slow"}  # this environment's transformers has no slow tokenizers
    assert sorted(map(str, counted)) == sorted(
        str((consumer.name, precision, case))
        for consumer in TASKS[task].consumers
        if consumer.name not in gone
        for precision in ((None,) if consumer.reads == "source" else PRECISIONS)
        for case in consumer.cases
    )
    read = [load.precision is None for load in loads]
    assert read == sorted(read, reverse=True), "the original's come first"


def test_without_a_conversion_nothing_converted_is_loaded() -> None:
    found = TASKS["embedding"].loads_of(REPO, None, ())
    assert {load.consumer.reads for load in found} == {"source"}


def test_the_catalogue_may_name_fewer_consumers_in_the_tables_order() -> None:
    names = ("optimum-intel", "transformers")
    chosen = [consumer.name for consumer in TASKS["seq2seq"].consumers_named(names)]
    assert chosen == ["transformers", "optimum-intel"]
    loads = TASKS["seq2seq"].loads_of(REPO, ("optimum-intel",), ("int8",))
    assert {(load.consumer.name, load.precision) for load in loads} == {("optimum-intel", "int8")}
    assert TASKS["embedding"].consumers_named(("transformers-slow",)) == ()


@pytest.mark.parametrize("task", TASKS)
def test_other_interpreters_make_every_load_after_ours(task: str) -> None:
    ours = every_load(task)
    loads = every_load(task, REPO, "old", "new")
    by = {
        label: [
            load.id.removesuffix(f":python={label}") for load in loads if label_of(load) == label
        ]
        for label in (None, "old", "new")
    }
    assert [label_of(load) for load in loads] == [
        label for label, ids in by.items() for _ in ids
    ], "ours first"
    assert by[None] == [load.id for load in ours]
    assert by["old"] == by["new"]
    # What does here what another consumer does as well may be another in theirs.
    more = {load_id.split(":")[0] for load_id in by["old"]} - {
        ids.split(":")[0] for ids in by[None]
    }
    assert more <= {"transformers-slow"}
    assert [i for i in by["old"] if i.split(":")[0] not in more] == by[None]
