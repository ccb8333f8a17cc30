"""What an access check sees: faults made in a home whose files were found right before, real loads.

The table says which cases see each fault; docs/consumers.md says it to readers.
"""

import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from model_tests import test_offline_loading
from prep.errors import NotTried, PrepError
from prep.home.layout import open_to_all
from prep.sandbox.probe.isolation import OTHER_USERS
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from prep.tasks.registry import TASKS
from tests.support.real_loads import (
    VOCABULARIES,
    TensorChange,
    change_weights,
    converted,
    load,
    message,
    negated,
    remove_tokenizer,
    spec_of,
    spoiled,
    stages_of,
)
from tests.support.restricted import open_folder
from tests.support.runs import copy_home

SAME = test_offline_loading.test_access_gives_the_same_answers
TASK = "embedding"
ORIGINAL, CONVERTED = "transformers", "int8:optimum-intel"
AWAY, PATH = "commit:cache_dir:other:read-only", "path"
Fault = Callable[["Files"], object]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a model's files lie in a home that is damaged and then repaired."""

    hub: Path
    repo: Path
    commit: str
    folder: Path

    @property
    def snapshot(self) -> Path:
        return self.repo / "snapshots" / self.commit

    @property
    def weights(self) -> Path:
        return self.snapshot / "model.safetensors"


@pytest.fixture(scope="module")
def made(prepared_all: Path) -> Iterator[Stages]:
    """The stages on a home of this file's own, in which all that is checked was found right."""
    with open_folder() as folder:
        (folder / "scratch").mkdir()
        home = copy_home(prepared_all, folder / "home")
        with stages_of(home, folder / "scratch") as stages:
            yield stages


@pytest.fixture
def files(made: Stages) -> Iterator[Files]:
    """Those of the embedding model, put back afterwards."""
    spec = spec_of(made, TASK)
    fetched, conversion = made.fetched(spec), made.converted(spec, "int8")
    home = made.context.home
    here = Files(
        hub=home.root / "hub",
        repo=home.repo(spec.repo),
        commit=fetched.locked.commit,
        folder=conversion.path.resolve(),
    )
    kept = home.root.with_name("kept")
    shutil.copytree(home.root, kept, symlinks=True)
    yield here
    shutil.rmtree(home.root)
    kept.rename(home.root)


def seen_by(made: Stages, consumer: str) -> dict[str, str]:
    """The access checks of a consumer that fail, each with its message; all loads made anew."""
    spec = spec_of(made, TASK)
    loads = TASKS[TASK].loads_of(spec.repo, None, ("int8",))
    chosen = {a_load.id: a_load for a_load in loads if a_load.id.startswith(f"{consumer}:")}
    for a_load in chosen.values():
        made.forget(spec, a_load)
    found = {}
    for name, a_load in chosen.items():
        if not a_load.is_interrogation:
            try:
                SAME(made.loaded(spec, a_load))
            except NotTried:
                continue
            except (PrepError, pytest.fail.Exception) as error:
                found[name.removeprefix(f"{consumer}:")] = str(error)
    return found


def another_revision(files: Files) -> str:
    """A snapshot beside the pinned one, of another training; gives its commit."""
    other = files.repo / "snapshots" / ("b" * 40)
    shutil.copytree(files.snapshot, other)
    change_weights(other, negated("encoder.layer.1.output.dense"))
    for path in (other, *other.rglob("*")):
        open_to_all(path)
    return other.name


def commit_leads_elsewhere(files: Files) -> None:
    """A reference that is named as the pinned commit: huggingface_hub follows it first."""
    (files.repo / "refs" / files.commit).write_text(another_revision(files))


def branch_leads_elsewhere(files: Files) -> None:
    (files.repo / "refs" / "main").write_text(another_revision(files))


def known_not_to_exist(files: Files) -> None:
    """huggingface_hub's notes that the revision has no tokenizer, beside the tokenizer."""
    notes = files.repo / ".no_exist" / files.commit
    notes.mkdir(parents=True)
    for name in VOCABULARIES:
        (notes / name).touch()
    for path in (notes.parent, notes, *notes.iterdir()):
        open_to_all(path)


def closed_by_a_list(*paths: Path) -> None:
    """An access control list shuts one user out; the mode bits still say: readable by all."""
    user, group, everybody, nobody, mask = 1, 4, 0x20, 2, 0x10
    rows = [(user, 6, -1), *((nobody, 0, uid) for uid in sorted(OTHER_USERS))]
    rows += [(group, 4, -1), (mask, 4, -1), (everybody, 4, -1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *row) for row in rows)
    for path in paths:
        try:
            os.setxattr(path.resolve(), "system.posix_acl_access", value)
        except OSError as error:
            pytest.skip(f"no access control lists here: {error}")
        assert path.resolve().stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize(
    ("fault", "cases"),
    [
        pytest.param(commit_leads_elsewhere, {PATH}, id="commit leads elsewhere"),
        pytest.param(branch_leads_elsewhere, {PATH, AWAY}, id="branch leads elsewhere"),
        pytest.param(known_not_to_exist, {PATH}, id="made-up tokenizer"),
        pytest.param(lambda files: None, set(), id="no fault"),
        pytest.param(
            lambda files: closed_by_a_list(files.weights), {AWAY}, id="closed list", marks=as_root
        ),
        pytest.param(
            lambda files: files.hub.chmod(0o700), {AWAY}, id="closed folder", marks=as_root
        ),
    ],
)
def test_fault_is_seen_by_the_cases_that_read_otherwise(
    made: Stages, files: Files, fault: Fault, cases: set[str]
) -> None:
    """By name, the interrogation reads what is wrong as well: only another way differs from it."""
    fault(files)
    seen = seen_by(made, ORIGINAL)
    away = {AWAY} if os.geteuid() != 0 else set()  # not tried
    assert seen.keys() == cases - away, seen


@as_root
@pytest.mark.parametrize(
    "fault",
    [
        lambda files: closed_by_a_list(*files.folder.glob("*.bin")),
        lambda files: files.folder.parent.chmod(0o700),
    ],
    ids=["closed list", "closed folder"],
)
def test_conversion_that_another_user_cannot_read_is_seen_by_that_user(
    made: Stages, files: Files, fault: Fault
) -> None:
    fault(files)
    assert seen_by(made, CONVERTED).keys() == {"path:other:read-only"}


def nudged(prefix: str) -> TensorChange:
    """Every number (float32, little-endian) of weights that begin so, a little otherwise."""

    def move(numbers: bytes) -> bytes:
        return bytes(byte ^ 0x08 if at % 4 == 2 else byte for at, byte in enumerate(numbers))

    return lambda tensors: {
        name: (dtype, shape, move(numbers) if name.startswith(prefix) else numbers)
        for name, (dtype, shape, numbers) in tensors.items()
    }


LAYERS = {
    "embedding": "encoder.layer.1.output.dense",
    "reranker": "roberta.encoder.layer.1.output.dense",
    "seq2seq": "decoder.block.0",
}


def asked_two(stages: Stages, folder: Path, consumer: str, interrogation: Loaded) -> Loaded:
    """What an access check gets from another folder."""
    result = stages.context.server.run(
        "prep.sandbox.probe.consumers:load",
        {
            "task": interrogation.spec.task,
            "consumer": consumer,
            "ask": interrogation.questions.sentinels(),
            "again": False,
            "way": {"target": str(folder)},
        },
        doing="an access check of a substitute",
    )
    facts = dict(result.value)  # without the place, which another check compares
    facts["built"] = {key: value for key, value in facts["built"].items() if key != "read_from"}
    facts.pop("read_from", None)
    return replace(interrogation, facts=facts, result=result, interrogation=interrogation)


@contextmanager
def source_copy(stages: Stages, task: str, to: Path) -> Iterator[Path]:
    shutil.copytree(load(stages, task, "transformers:name").path, to)
    yield to


OF_EACH = [
    (task, consumer.name)
    for task in TASKS
    for consumer in TASKS[task].consumers
    if consumer.reads == "source" and consumer.is_other_here
]


@pytest.mark.parametrize(("task", "consumer"), OF_EACH)
def test_two_answers_tell_another_revision_and_another_tokenizer(
    stages: Stages, tmp_path: Path, task: str, consumer: str
) -> None:
    interrogation = load(stages, task, f"{consumer}:name")
    with source_copy(stages, task, tmp_path / "copy") as copy:
        SAME(asked_two(stages, copy, consumer, interrogation))
    with source_copy(stages, task, tmp_path / "revision") as copy:
        change_weights(copy, nudged(LAYERS[task]))
        said = message(SAME, asked_two(stages, copy, consumer, interrogation))
        assert " off, allowed " in said
        assert said.startswith(
            f"{interrogation.name} does not answer as by {interrogation.load.id}"
        )
        assert said.endswith(
            "In this case other files are read, or not all: a service would answer differently."
        )
    with source_copy(stages, task, tmp_path / "tokenizer") as copy:
        remove_tokenizer(copy)
        try:
            wrong = asked_two(stages, copy, consumer, interrogation)
        except PrepError:
            return  # the library itself refuses it
        assert re.search(r"vocabulary is [45], the interrogation has \d+", message(SAME, wrong))


CONVERTED_BY = [
    (task, consumer.name)
    for task in TASKS
    for consumer in TASKS[task].consumers
    if consumer.reads == "converted"
]


@pytest.fixture(scope="module")
def conversions(
    stages: Stages, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, Path]]:
    """Of a task and a precision: the model's conversion and another revision's, each made once."""

    @cache
    def make(task: str, precision: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("conversions")
        with source_copy(stages, task, folder / "revision") as copy:
            right = converted(stages, task, copy, folder / "right", precision)
            change_weights(copy, nudged(LAYERS[task]))
            wrong = converted(stages, task, copy, folder / "wrong", precision)
        return right, wrong

    return make


@pytest.mark.parametrize(("task", "consumer"), CONVERTED_BY)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_two_answers_tell_a_conversion_of_another_revision(
    stages: Stages,
    conversions: Callable[[str, str], tuple[Path, Path]],
    task: str,
    consumer: str,
    precision: str,
) -> None:
    right, wrong = conversions(task, precision)
    original = load(stages, task, f"int8:{consumer}:path")
    asked = asked_two(stages, right, consumer, original)
    interrogation = replace(original, facts=asked.facts)
    SAME(asked_two(stages, right, consumer, interrogation))
    said = message(SAME, asked_two(stages, wrong, consumer, interrogation))
    assert " off, allowed " in said


def test_another_model_is_told_by_its_vocabulary_or_its_tokens(stages: Stages) -> None:
    """Of another task, whose answers cannot even be compared."""
    right = load(stages, TASK, "transformers:name")
    other = Path(load(stages, "reranker", "transformers:name").path)
    said = message(SAME, asked_two(stages, other, "transformers", right))
    assert "vocabulary is " in said
    assert " becomes [" in said


def test_export_anew_and_another_copy_are_told_by_their_place(stages: Stages) -> None:
    right = load(stages, TASK, f"{CONVERTED}:path")
    right = replace(right, interrogation=right)
    SAME(right)
    wrong = spoiled(right, lambda facts: facts.update(read_from="/tmp/exported"))
    assert f"read from /tmp/exported, prepared in {right.path}" in message(SAME, wrong)


@pytest.mark.parametrize("key", ["vocabulary", "max_length"])
def test_what_is_built_otherwise_is_told(stages: Stages, key: str) -> None:
    right = load(stages, TASK, f"transformers:{PATH}")
    assert right.interrogation is not None
    known = right.interrogation.facts["built"][key]
    wrong = spoiled(right, lambda facts: facts["built"].update({key: 7}))
    assert f"{key} is 7, the interrogation has {known}" in message(SAME, wrong)
