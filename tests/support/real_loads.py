"""What the tests of model_tests share: real loads by the stages, and substitutes for them."""

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from model_tests import test_conversion
from prep.catalogue.entries import ModelSpec
from prep.convert.content import Content
from prep.convert.conversion import OPTIONS
from prep.process.progress import Progress
from prep.settings import GivenOptions, resolve_settings
from prep.stages.context import Context
from prep.stages.converted import Converted
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from prep.stages.reference import Reference
from prep.tasks.consumers import Load
from prep.tasks.question_sets import joined
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE

Judge = Callable[[Loaded], None]
Facts = dict[str, Any]
Tensors = dict[str, tuple[str, list[int], bytes]]
"""The weights of a file: type, shape and bytes of each, by its name."""

TensorChange = Callable[[Tensors], Tensors]

VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model")


@contextmanager
def stages_of(
    home: Path, scratch: Path, planned: Mapping[str, tuple[Load, ...]] | None = None
) -> Iterator[Stages]:
    """The stages on a prepared home, offline, with an import server of their own."""
    given = GivenOptions(catalogue=SAMPLE, model_home=home, offline=True)
    settings = resolve_settings(given, os.environ, ROOT)
    made = Stages(Context(settings=settings, scratch=scratch, progress=Progress()), planned)
    try:
        yield made
    finally:
        made.close()


def spec_of(stages: Stages, task: str) -> ModelSpec:
    """The sample model of that task."""
    return next(spec for spec in stages.context.settings.models if spec.task == task)


def load(stages: Stages, task: str, wanted: str) -> Loaded:
    """The real load of that id."""
    spec = spec_of(stages, task)
    loads = {load.id: load for load in TASKS[task].loads_of(spec.repo, None, ("int8",))}
    return stages.loaded(spec, loads[wanted])


def spoiled(loaded: Loaded, spoil: Callable[[Facts], object]) -> Loaded:
    """The same load with its facts changed."""
    facts = copy.deepcopy(loaded.facts)
    spoil(facts)
    return replace(loaded, facts=facts)


def probe(stages: Stages, folder: Path, consumer: str, loaded: Loaded) -> Loaded:
    """What a consumer gets from another folder, with the same questions."""
    assert loaded.goldens is not None
    result = stages.context.server.run(
        "prep.sandbox.probe.consumers:load",
        {
            "task": loaded.spec.task,
            "consumer": consumer,
            "ask": joined(
                loaded.questions.all(), loaded.questions.sentinels(), alone=loaded.goldens.ask()
            ),
            "again": True,
            "way": {"target": str(folder)},
        },
        doing="a substitute",
    )
    return replace(loaded, facts=result.value, result=result, path=str(folder))


def measured(
    stages: Stages, task: str, source: Path, folder: Path, precision: str = "int8"
) -> Content:
    """What the stages measure of a converted folder against an original."""
    questions = TASKS[task].questions()
    asked = {"task": task, "ask": questions.plain(), "way": {"target": str(source)}}
    server = stages.context.server
    facts = server.run("prep.sandbox.probe.consumers:reference", asked, doing="asking").value
    reference = Reference(facts=facts, ask=questions.plain(), given=TASKS[task].given(facts))
    order = {
        "task": task,
        "folder": str(folder),
        "ask": joined(reference.ask, reference.given),
        "texts": questions.texts(),
        "languages": {},
    }
    found = server.run("prep.convert.content:measure", order, doing="measuring").value
    bound = questions.agreement[precision]
    return Content(
        task=task,
        elements=found["elements"],
        vocabulary=found["vocabulary"],
        source_vocabulary=facts["vocabulary"],
        agreement=reference.agreement(task, found["answers"], bound),
        differences=tuple(found["differences"]),
    )


def problems_of(content: Content, precision: str) -> dict[str, str]:
    """What is wrong with it by the bounds of its task."""
    return content.problems(precision, TASKS[content.task].questions().agreement[precision])


def message(judge: Judge, loaded: Loaded) -> str:
    """What the judge says; it must fail."""
    with pytest.raises(pytest.fail.Exception) as caught:
        judge(loaded)
    return str(caught.value)


def folder_like(loaded: Loaded, to: Path) -> Path:
    """A copy of what was loaded, to be changed."""
    shutil.copytree(loaded.path, to)
    return to


def remove_tokenizer(folder: Path) -> None:
    """transformers 5 builds an empty tokenizer, without an error, where its files are missing."""
    for name in VOCABULARIES:
        (folder / name).unlink(missing_ok=True)


def configure(folder: Path, **changes: object) -> None:
    """Change keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: TensorChange) -> None:
    """Write the folder's weights anew as `change` makes them."""
    path = folder / "model.safetensors"
    body = path.read_bytes()
    start = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:start])
    kept = {"__metadata__": header.pop("__metadata__", {})}
    tensors: Tensors = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        tensors[name] = (tensor["dtype"], tensor["shape"], body[start + begin : start + end])
    told_anew: dict[str, object] = dict(kept)
    data = b""
    for name, (dtype, shape, numbers) in change(tensors).items():
        offsets = [len(data), len(data) + len(numbers)]
        told_anew[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += numbers
    text = json.dumps(told_anew).encode()
    text = text.ljust(len(text) + -len(text) % 8)
    path.unlink()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def renamed(prefix: str) -> TensorChange:
    """Other names for all weights that begin so: loaders fill in random numbers, and only warn."""
    return lambda tensors: {
        f"other.{name}" if name.startswith(prefix) else name: tensor
        for name, tensor in tensors.items()
    }


def negated(prefix: str) -> TensorChange:
    """The other sign for every number (float32, little-endian) of weights that begin so."""

    def turn(numbers: bytes) -> bytes:
        return bytes(byte ^ 0x80 if at % 4 == 3 else byte for at, byte in enumerate(numbers))

    return lambda tensors: {
        name: (dtype, shape, turn(numbers) if name.startswith(prefix) else numbers)
        for name, (dtype, shape, numbers) in tensors.items()
    }


def zeroed(*parts: str) -> TensorChange:
    """Nothing but zeros in all weights whose names hold one of the parts."""

    def zero(tensor: tuple[str, list[int], bytes]) -> tuple[str, list[int], bytes]:
        dtype, shape, numbers = tensor
        return dtype, shape, bytes(len(numbers))

    return lambda tensors: {
        name: zero(tensor) if any(part in name for part in parts) else tensor
        for name, tensor in tensors.items()
    }


def shuffled(part: str, *, rows: bool = False) -> TensorChange:
    """The same numbers (float32), or whole rows, in another order, where names hold the part."""

    def shuffle(tensor: tuple[str, list[int], bytes]) -> tuple[str, list[int], bytes]:
        dtype, shape, numbers = tensor
        size = len(numbers) // shape[0] if rows else 4
        blocks = [numbers[at : at + size] for at in range(0, len(numbers), size)]
        random.Random(0).shuffle(blocks)
        return dtype, shape, b"".join(blocks)

    return lambda tensors: {
        name: shuffle(tensor) if part in name else tensor for name, tensor in tensors.items()
    }


def filled(name: str, word: bytes) -> TensorChange:
    """One weight filled with that word of four bytes."""

    def fill(tensors: Tensors) -> Tensors:
        dtype, shape, numbers = tensors[name]
        return tensors | {name: (dtype, shape, word * (len(numbers) // len(word)))}

    return fill


def converted(stages: Stages, task: str, source: Path, to: Path, precision: str = "fp32") -> Path:
    """A real conversion of any folder, as the suite converts."""
    to.mkdir()
    paths = [path for path in source.rglob("*") if path.is_file()]
    order = {
        "source": str(source),
        "files": sorted(str(path.relative_to(source)) for path in paths),
        "folder": str(to),
        "task": task,
        "options": dict(OPTIONS[precision]),
    }
    server = stages.context.server
    server.run("prep.convert.export:make", order, doing="converting", may_write=[to])
    order = {"folder": str(to), "texts": [], "writes": TASKS[task].generates}
    server.run("prep.convert.tokenizer:make", order, doing="converting", may_write=[to])
    return to


def without_ir(right: Loaded, source: Path, to: Path) -> Path:
    """The converted folder with the original weights in place of its IR."""
    folder = folder_like(right, to)
    for path in folder.glob("openvino_*"):
        path.unlink()
    shutil.copyfile(source / "model.safetensors", folder / "model.safetensors")
    return folder


def with_ready_made(right: Loaded, source: Path, to: Path) -> Path:
    """The original with an IR beside its weights, where the hub's ready-made ones lie."""
    shutil.copytree(source, to)
    (to / "openvino").mkdir()
    for path in Path(right.path).glob("openvino_*"):
        shutil.copyfile(path, to / "openvino" / path.name)
    return to


def passed_by(module: ModuleType, loaded: Loaded, *, but: tuple[str, ...] = ()) -> list[str]:
    """The judges of a task's answers that this load passes; `but` are not asked."""
    passed = []
    for name, judge in judges_of(module).items():
        if name in but:
            continue
        try:
            judge(loaded)
        except pytest.fail.Exception:
            continue
        passed.append(name)
    return passed


def judges_of(module: ModuleType) -> dict[str, Judge]:
    """All judges of a module, by name."""
    return {name: judge for name, judge in vars(module).items() if name.startswith("test_")}


def called_int8(stages: Stages, task: str, content: Content) -> Converted:
    """The int8 conversion with other content than it has."""
    right = stages.converted(spec_of(stages, task), "int8")
    problems = problems_of(content, "int8")
    return replace(right, content=content, content_problems=problems)


def content_message(wrong: Converted, aspect: str) -> str:
    """What the judge of a conversion's content says; it must fail."""
    with pytest.raises(pytest.fail.Exception) as caught:
        test_conversion.test_content_is_right(wrong, aspect)
    return str(caught.value)
