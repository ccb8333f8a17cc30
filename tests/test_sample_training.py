"""The sample embedding model is what its trainer says: skilled, small, and made again alike.

torch computes in child processes only. A process that forks after torch has computed may hang, and
other tests in this process do fork.
"""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import pytest

from sample_hub.train import heartbeat, toml_document
from sample_hub.train.embedding import QUESTIONS, TRAINER, EmbeddingSkill
from sample_hub.train.sentences import concepts, joined, split, spoken, words

PROJECT = Path(__file__).resolve().parents[1]

MAKE = """
import sys
from pathlib import Path
from sample_hub.train.embedding import TRAINER
TRAINER.make(Path(sys.argv[1]), 3, lambda what: None)
"""

JUDGE = """
import json, sys
from pathlib import Path
from sample_hub.train.embedding import TRAINER
good, spoiled = map(Path, sys.argv[1:])
print(json.dumps({
    "good": TRAINER.judge(good).shortcomings(),
    "spoiled": TRAINER.judge(spoiled).shortcomings(),
    "goldens": TRAINER.record(good),
}))
"""


def start(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """A Python of ours in the project's folder, cut off from every hub."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "CI": "true"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, **offline, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: "subprocess.Popen[str]") -> str:
    """What it wrote to its standard output; its error output if it failed."""
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed model with the rows of its word embeddings reversed."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("spoiled") / "tiny-embedding"
    shutil.copytree(TRAINER.folder, folder)
    weights = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    weights[name] = weights[name][::-1].copy()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def judged(spoiled: Path) -> dict[str, Any]:
    """The verdicts on the committed model and on the spoiled one, and the goldens recorded anew."""
    found: dict[str, Any] = json.loads(
        finish(start("-c", JUDGE, str(TRAINER.folder), str(spoiled))).splitlines()[-1]
    )
    return found


@pytest.fixture
def drawn() -> Iterator[str]:
    """A long run of what training draws."""
    train, rng = split().train, random.Random(1)
    return (
        text
        for _ in range(20_000)
        for text in (
            spoken(rng.choice(train), rng),
            joined(rng.choice(train), rng.choice(train), rng),
        )
    )


def test_committed_weights_have_the_skill(judged: dict[str, Any]) -> None:
    assert judged["good"] == []


def test_spoiled_weights_have_not(judged: dict[str, Any]) -> None:
    gap, top_1, margin = judged["spoiled"]
    assert gap.startswith("held-out paraphrases are ")
    assert top_1.startswith("top-1 of held-out sentences is ")
    assert margin.startswith("least margin of embedding.toml is ")


def test_shortcomings_are_said_with_what_was_wanted() -> None:
    poor = EmbeddingSkill(paraphrases=0.5, strangers=0.4, top_1=0.9, margin=0.1)
    assert poor.shortcomings() == [
        "held-out paraphrases are 0.100 above strangers, wanted 0.25 (least 0.500, greatest 0.400)",
        "top-1 of held-out sentences is 0.900, wanted 0.95",
        "least margin of embedding.toml is 0.100, wanted 0.2",
    ]
    fit = EmbeddingSkill(paraphrases=0.75, strangers=0.5, top_1=0.95, margin=0.2)
    assert fit.shortcomings() == []


def test_not_a_number_is_no_skill() -> None:
    broken = EmbeddingSkill(paraphrases=nan, strangers=nan, top_1=nan, margin=nan)
    assert len(broken.shortcomings()) == 3


def test_committed_goldens_are_those_of_the_weights(judged: dict[str, Any]) -> None:
    committed = tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))
    recorded = tomllib.loads(judged["goldens"])
    for table in ("vectors", "similarities"):
        for row, again in zip(committed[table], recorded[table], strict=True):
            tolerance = row["tolerance"]["fp32"]
            assert row.pop("expected") == pytest.approx(again.pop("expected"), rel=0, abs=tolerance)
    for rows in (committed, recorded):
        for table in ("vectors", "tokens", "similarities"):
            for row in rows[table]:
                # It names the tools, which may be other ones here.
                del row["source"]
    assert committed == recorded


def test_same_bytes_when_trained_again(tmp_path: Path) -> None:
    """Two processes with other hash seeds, so that no order of a set can have a say in it."""
    places = [tmp_path / "first", tmp_path / "second"]
    children = [
        start("-c", MAKE, str(place), PYTHONHASHSEED=str(seed))
        for seed, place in enumerate(places, start=1)
    ]
    for child in children:
        finish(child)
    first, second = (contents(place) for place in places)
    assert first == second
    assert first.keys() == contents(TRAINER.folder).keys()


def test_model_without_the_skill_is_not_published(tmp_path: Path) -> None:
    out = tmp_path / "tiny-embedding"
    out.mkdir()
    (out / "before").touch()
    child = start("-m", "sample_hub.train.embedding", "--steps", "3", "--out", str(out))
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 1, errors
    assert f"{out} is not written: held-out paraphrases are " in errors
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "tiny-embedding",
        "tiny-embedding/before",
    ]


def test_no_held_out_sentence_is_met_in_training(drawn: Iterator[str]) -> None:
    held_out = {text for concept in split().held_out for text in concept.phrasings}
    assert not held_out & {text for concept in split().train for text in concept.phrasings}
    assert not held_out & set(drawn)


def test_no_question_is_met_in_training(drawn: Iterator[str]) -> None:
    met = {spelled(text) for text in drawn}
    met |= {spelled(text) for concept in split().train for text in concept.phrasings}
    assert not {spelled(text) for text in questions()} & met


def test_no_sentence_has_two_meanings() -> None:
    texts = [text for concept in concepts() for text in concept.phrasings]
    assert len(texts) == len(set(texts))


def test_held_out_sentences_are_of_every_concept() -> None:
    parts = split()
    names = [[(c.domain, c.name) for c in side] for side in (parts.train, parts.held_out)]
    assert names[0] == names[1] == [(c.domain, c.name) for c in concepts()]
    assert min(len(concept.phrasings) for concept in parts.held_out) == 2
    for whole, train, held_out in zip(concepts(), parts.train, parts.held_out, strict=True):
        assert sorted(train.phrasings + held_out.phrasings) == list(whole.phrasings)


def test_sample_model_knows_every_word_of_the_questions() -> None:
    assert {word for text in questions() for word in spelled(text)} - set(words()) == set()


def test_repo_has_the_files_of_the_original() -> None:
    assert sorted(contents(TRAINER.folder)) == [
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_repos_are_plain_files_that_everybody_can_read() -> None:
    for path in TRAINER.folder.parents[1].rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or stat.S_ISREG(mode), path
        if stat.S_ISREG(mode):
            # Git keeps no more of the modes than the executable bit, hence not simply 0o644.
            assert mode & 0o111 == 0, path


def test_repos_stay_small() -> None:
    repos = TRAINER.folder.parents[1]
    assert sum(len(content) for content in contents(TRAINER.folder).values()) <= 600_000
    assert sum(len(content) for content in contents(repos).values()) <= 2_000_000


def test_heartbeat_logs_while_the_work_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sample_hub.train.BEAT_SECONDS", 0.01)
    with caplog.at_level("INFO", "sample_hub.train"), heartbeat() as say:
        say("musing")
        while caplog.messages.count("musing") < 3:
            time.sleep(0.01)
    assert set(caplog.messages) <= {"starting", "musing"}


def test_toml_document_is_read_back() -> None:
    head = {"a-number": 1, "small": 1e-05, "text": 'a "quoted" ☕ \t\\', "whole": True}
    rows: list[dict[str, object]] = [{"list": [0.5, -1.0], "inline": {"fp32": 0.002}}, {"list": []}]
    assert tomllib.loads(toml_document(head, {"rows": rows})) == {**head, "rows": rows}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def questions() -> list[str]:
    """The texts of all triples that every embedding model is asked."""
    asked = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))["related"]
    return [text for triple in asked for text in triple.values()]


def spelled(text: str) -> tuple[str, ...]:
    """The words alone: case and punctuation do not make another sentence."""
    return tuple("".join(one if one.isalpha() else " " for one in text.lower()).split())
