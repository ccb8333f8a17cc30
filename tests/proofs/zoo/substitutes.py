"""A stand-in in place of which something else is served: each must fail where it itself passes.

Its published weights are asked by one consumer, and all judges that need no golden are called.
"""

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model_tests import test_agreement, test_embedding, test_reranker, test_seq2seq
from prep.catalogue.entries import ModelSpec
from prep.sandbox.import_server import ImportServer
from prep.stages.loaded import Loaded
from prep.stages.reference import Reference
from prep.tasks.consumers import Load
from prep.tasks.question_sets import joined
from prep.tasks.registry import TASKS
from tests.proofs.zoo.rows import Row
from tests.support.real_loads import judges_of

MODULES = {"embedding": test_embedding, "reranker": test_reranker, "seq2seq": test_seq2seq}
TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
WORDS = ("word_embeddings.", "embed_tokens.", "shared.", "tok_embeddings.", "embedding.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrogator:
    """Asks stand-ins in one import server; a reference is asked once for each row."""

    server: ImportServer

    def failed_judges(self, row: Row, served: Path, folder: Path) -> set[str]:
        """The judges that fail where `folder` is loaded and `served` is the reference."""
        task, way = TASKS[row.task], {"languages": self._languages(row)}
        spec = ModelSpec(
            name=row.name, repo=row.repo, revision="main", task=row.task, precisions=(), why="test"
        )
        questions = task.questions(row.entry.get("language", "en"))
        ask = questions.plain()
        order = {"task": row.task, "ask": ask, "way": {"target": str(served), **way}}
        call = "prep.sandbox.probe.consumers:"
        found = self.server.run(f"{call}reference", order, doing="asking").value
        reference = Reference(facts=found, ask=ask, given=task.given(found))
        readers = (c for c in task.consumers if c.name in row.consumers)
        consumer = next(reader for reader in readers if reader.reads == "source")
        order |= {
            "consumer": consumer.name,
            "ask": joined(questions.all(), questions.sentinels(), reference.given),
            "again": True,
            "way": {"target": str(folder), **way},
        }
        result = self.server.run(f"{call}load", order, doing="loading")
        loaded = Loaded(
            spec=spec,
            load=Load(consumer=consumer, case=consumer.cases[0], precision=None),
            path=str(folder),
            facts=result.value,
            result=result,
            cut="",
            goldens=None,
            questions=questions,
            reference=reference,
        )
        failed = set()
        judges = {**judges_of(MODULES[row.task]), **judges_of(test_agreement)}
        for name, judge in judges.items():
            marks = {mark.name: mark for mark in getattr(judge, "pytestmark", ())}
            named = marks["consumers"].args if "consumers" in marks else (consumer.name,)
            if {"goldens", "ours"} & marks.keys() or consumer.name not in named:
                continue
            try:
                judge(loaded)
            except pytest.fail.Exception:
                failed.add(name)
        return failed

    def _languages(self, row: Row) -> dict[str, str]:
        keys = ("source", "target")
        return {k: row.entry[f"{k}-language"] for k in keys if f"{k}-language" in row.entry}


def random_weights(folder: Path) -> None:
    """Every tensor is noise of its own spread: the files of an untrained model."""
    rng = np.random.default_rng(0)
    _rewrite(folder, lambda name, rows: rng.normal(0, rows.std() or 0.02, rows.shape))


def mixed_up_tokens(folder: Path) -> None:
    """The rows of the words are another tokenizer's: each word has the vector of any other."""
    rng = np.random.default_rng(0)

    def mix(name: str, rows: np.ndarray) -> np.ndarray:
        words = any(word in f"{name}." for word in WORDS) and rows.ndim == 2
        return rng.permutation(rows) if words else rows

    _rewrite(folder, mix)


def other_pooling(folder: Path) -> None:
    """The mean in place of the first or last token, and the first in place of the mean."""
    path = folder / "1_Pooling" / "config.json"
    config = json.loads(path.read_bytes())
    mean = config["pooling_mode_mean_tokens"]
    modes = {key: False for key in config if key.startswith("pooling_mode_")}
    modes["pooling_mode_cls_token" if mean else "pooling_mode_mean_tokens"] = True
    path.write_text(json.dumps(config | modes))


Substitute = Callable[[Path], None]
AGREEMENT = "test_answers_agree_with_the_original"
JUDGED_BY = {"embedding": "test_related_stands_above_unrelated"}
JUDGED_BY |= {"reranker": "test_relevant_stands_above_the_others"}


def substituted(folder: Path, to: Path, substitute: Substitute) -> Path:
    """A copy with that substitute."""
    shutil.copytree(folder, to)
    substitute(to)
    return to


def _rewrite(folder: Path, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
    for path in folder.glob("model*.safetensors"):
        data = bytearray(path.read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name == "__metadata__" or entry["dtype"] not in TYPES:
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            kind = TYPES[entry["dtype"]]
            rows = np.frombuffer(bytes(data[begin:end]), kind)
            if entry["dtype"] == "BF16":  # the upper half of a float32
                rows = (rows.astype("<u4") << 16).view("<f4")
            new = change(name, rows.reshape(entry["shape"])).astype("<f4")
            if entry["dtype"] == "BF16":
                data[begin:end] = (new.view("<u4") >> 16).astype("<u2").tobytes()
            else:
                data[begin:end] = new.astype(kind).tobytes()
        path.write_bytes(data)
