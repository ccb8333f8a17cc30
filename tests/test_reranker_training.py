"""The sample reranker is what its trainer says: skilled, small, and made again alike.

torch computes in child processes only. A process that forks after torch has computed may hang, and
other tests in this process do fork.
"""

import importlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tomllib
from math import nan
from pathlib import Path
from typing import Any

import pytest

from sample_hub.train.reranker import (
    FAR,
    FIRST_IDS,
    MAX_LENGTH,
    QUESTIONS,
    SPACE,
    TRAINER,
    RerankerSkill,
    config,
    drawn,
    near,
    sentencepiece,
    tokenizer,
    vocabulary,
    written,
)
from sample_hub.train.sentences import concepts, split, words
from tests.protobuf import message

PROJECT = Path(__file__).resolve().parents[1]

MAKE = """
import sys
from pathlib import Path
from sample_hub.train.reranker import TRAINER
TRAINER.make(Path(sys.argv[1]), 12, lambda what: None)
"""

JUDGE = """
import json, sys
from pathlib import Path
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from sample_hub.train.reranker import TRAINER
good, spoiled = map(Path, sys.argv[1:])
model, seen = AutoModelForSequenceClassification.from_pretrained(good, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(good)
print(json.dumps({
    "good": TRAINER.judge(good).shortcomings(),
    "spoiled": TRAINER.judge(spoiled).shortcomings(),
    "goldens": TRAINER.record(good),
    "loaded": {
        "loading": {key: sorted(map(str, found)) for key, found in seen.items() if found},
        "labels": model.config.num_labels,
        "dtype": str(model.dtype),
        "tokenizer": [type(tokenizer).__name__, len(tokenizer), tokenizer.model_max_length],
        "specials": tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
        "ids": [tokenizer(*pair)["input_ids"] for pair in json.load(sys.stdin)],
    },
}))
"""

PAIRS = [["Will it rain?", "I'm HUNGRY: 2 cakes!"], ["", "Schnee ☕  <mask>"]]


def start(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """A Python of ours in the project's folder, cut off from every hub."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "CI": "true"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, **offline, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: "subprocess.Popen[str]", told: str = "") -> str:
    """What it wrote to its standard output; its error output if it failed."""
    output, errors = child.communicate(told, timeout=120)
    assert child.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed model with the rows of its word embeddings reversed."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("spoiled") / "tiny-reranker"
    shutil.copytree(TRAINER.folder, folder)
    weights = load_file(folder / "model.safetensors")
    name = "roberta.embeddings.word_embeddings.weight"
    weights[name] = weights[name][::-1].copy()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def judged(spoiled: Path) -> dict[str, Any]:
    """The verdicts on the committed model and on the spoiled one, and the goldens recorded anew."""
    child = start("-c", JUDGE, str(TRAINER.folder), str(spoiled))
    found: dict[str, Any] = json.loads(finish(child, json.dumps(PAIRS)).splitlines()[-1])
    return found


def test_committed_weights_have_the_skill(judged: dict[str, Any]) -> None:
    assert judged["good"] == []


def test_spoiled_weights_have_not(judged: dict[str, Any]) -> None:
    top_1, relevant, *_, margin = judged["spoiled"]
    assert top_1.startswith("top-1 of held-out queries is 0.0")
    assert relevant.endswith(" of the held-out relevant passages are above 0, wanted 0.99")
    assert margin.startswith("least margin of reranker.toml is -")


def test_shortcomings_are_said_with_what_was_wanted() -> None:
    poor = RerankerSkill(top_1=0.9, relevant=0.98, strangers=0.5, margin=0.1)
    assert poor.shortcomings() == [
        "top-1 of held-out queries is 0.900, wanted 0.95",
        "0.980 of the held-out relevant passages are above 0, wanted 0.99",
        "0.500 of the held-out strangers are below 0, wanted 0.99",
        "least margin of reranker.toml is 0.100, wanted 1.0",
    ]
    fit = RerankerSkill(top_1=0.95, relevant=0.99, strangers=0.99, margin=1.0)
    assert fit.shortcomings() == []


def test_not_a_number_is_no_skill() -> None:
    broken = RerankerSkill(top_1=nan, relevant=nan, strangers=nan, margin=nan)
    assert len(broken.shortcomings()) == 4


def test_committed_goldens_are_those_of_the_weights(judged: dict[str, Any]) -> None:
    committed, recorded = goldens(), tomllib.loads(judged["goldens"])
    for row, again in zip(committed["scores"], recorded["scores"], strict=True):
        tolerance = row["tolerance"]["fp32"]
        assert row.pop("expected") == pytest.approx(again.pop("expected"), rel=0, abs=tolerance)
    for rows in (committed, recorded):
        for table in ("tokens", "scores", "orders"):
            for row in rows[table]:
                # It names the tools, which may be other ones here.
                del row["source"]
    assert committed == recorded


def test_goldens_are_right_where_there_is_a_right_answer() -> None:
    assert {row["id"]: row["best"] for row in goldens()["orders"]} == {"dinner": 2, "keywords": 2}
    scores = {row["id"]: row["expected"] for row in goldens()["scores"]}
    for name in ("heating", "probabilities"):
        assert max(scores[name]) == scores[name][0]
    # The second document says only after its 64th token what the first one says at once.
    said_early, said_late = scores["longer-than-max-length"]
    assert said_early > 0 > said_late


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
    committed = contents(TRAINER.folder)
    assert first.pop("model.safetensors") != committed.pop("model.safetensors")
    assert first == committed


def test_model_without_the_skill_is_not_published(tmp_path: Path) -> None:
    out = tmp_path / "tiny-reranker"
    out.mkdir()
    (out / "before").touch()
    child = start("-m", "sample_hub.train.reranker", "--steps", "3", "--out", str(out))
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 1, errors
    assert f"{out} is not written: top-1 of held-out queries is 0.0" in errors
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "tiny-reranker",
        "tiny-reranker/before",
    ]


def test_loads_whole_with_one_label(judged: dict[str, Any]) -> None:
    assert judged["loaded"] == {
        "loading": {},
        "labels": 1,
        "dtype": "torch.float32",
        "tokenizer": ["XLMRobertaTokenizer", len(vocabulary()), MAX_LENGTH],
        "specials": [0, 1, 2, 3, len(vocabulary()) - 1],
        "ids": [tokenizer().encode(*pair).ids for pair in PAIRS],
    }


def test_weights_are_those_of_the_configuration() -> None:
    weights = contents(TRAINER.folder)["model.safetensors"]
    size = struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert {row["dtype"] for row in header.values()} == {"F32"}
    shapes = {name: row["shape"] for name, row in header.items()}
    width = config()["hidden_size"]
    assert shapes["roberta.embeddings.word_embeddings.weight"] == [len(vocabulary()), width]
    assert shapes["roberta.embeddings.position_embeddings.weight"] == [MAX_LENGTH + 2, width]
    assert shapes["classifier.out_proj.weight"] == [1, width]


def test_vocabulary_is_made_in_one_order() -> None:
    pieces = [piece for piece, _ in vocabulary()]
    assert tuple(pieces[:4]) == FIRST_IDS == ("<s>", "<pad>", "</s>", "<unk>")
    assert pieces[-1] == "<mask>"
    assert len(pieces) == len(set(pieces)) == config()["vocab_size"]
    # Any one piece is likelier than any two, or known words could be spelled.
    scores = [score for piece, score in vocabulary() if piece not in (*FIRST_IDS, "<mask>")]
    assert 2 * max(scores) < min(scores)


def test_nothing_in_plain_text_is_unknown() -> None:
    plain = "".join(map(chr, range(0x20, 0x7F)))
    assert FIRST_IDS.index("<unk>") not in tokenizer().encode(plain + plain[::-1]).ids


def test_every_word_is_one_piece_small_and_capital() -> None:
    pieces = tokenizer()
    for word in words():
        for spelled_so in (word, word.capitalize()):
            assert pieces.encode(spelled_so).tokens[1:-1] == [SPACE + spelled_so]


def test_sentencepiece_model_has_the_same_pieces() -> None:
    fields = message(sentencepiece())
    pieces = [dict(message(piece)) for number, piece in fields if number == 1]
    read = [(row[1].decode(), struct.unpack("<f", row[2])[0]) for row in pieces]
    assert read == [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *vocabulary()[4:-1]]
    unknown, control, normal = 2, 3, 1
    kinds = [unknown, control, control, *[normal] * len(vocabulary()[4:-1])]
    assert [row[3] for row in pieces] == kinds
    trained, normalized = (dict(message(value)) for number, value in fields if number != 1)
    assert trained == {3: 1, 4: len(pieces)}
    assert normalized == {1: b"identity"}


def test_sentencepiece_reads_its_model_and_gives_the_same_ids() -> None:
    package = importlib.import_module("sentencepiece")
    model = package.SentencePieceProcessor(model_proto=sentencepiece())
    # As XLM-R's tokenizers count: all are moved up by one, <unk> is the fourth.
    for text in (*questions(), "", "two  blanks", "請打 kitchens, 42 °C", "kitchen" * 400):
        ids = [one + 1 if one else 3 for one in model.encode(text)]
        assert [0, *ids, 2] == tokenizer().encode(text).ids


def test_neither_held_out_sentences_nor_questions_are_met_in_training() -> None:
    train, rng = split().train, random.Random(1)
    alike = near(train)
    met = {
        spelled(text) for _ in range(200) for pair in drawn(train, alike, rng)[0] for text in pair
    }
    held_out = [text for concept in split().held_out for text in concept.phrasings]
    assert not met & {spelled(text) for text in held_out}
    assert not met & {spelled(text) for text in questions()}


def test_batch_has_one_relevant_passage_for_every_query() -> None:
    train = split().train
    pairs, relevant = drawn(train, near(train), random.Random(1))
    rows = 1 + 1 + FAR
    assert relevant == [1.0, *[0.0] * (rows - 1)] * (len(pairs) // rows)
    queries = [query for query, _ in pairs]
    assert queries == [query for query in queries[::rows] for _ in range(rows)]


def test_near_concepts_differ_in_one_respect() -> None:
    alike = {concept.name: others for concept, others in near(concepts()).items()}
    named = [[other.name for other in others] for others in alike["kitchen, light, on"]]
    assert [len(names) for names in named] == [5, 5, 1]
    assert named[0][0] == "bedroom, light, on"
    assert named[1][0] == "kitchen, heating, on"
    assert named[2] == ["kitchen, light, off"]
    assert all(others for respects in alike.values() for others in respects)


def test_written_is_as_it_stands_or_with_capitals() -> None:
    rng = random.Random(1)
    found = {written("i am tired. on sunday i bake", rng) for _ in range(100)}
    text = "I am tired. On Sunday I bake"
    assert found == {"i am tired. on sunday i bake", text, f"{text}.", f"{text}?"}


def test_sample_model_knows_every_word_of_the_questions() -> None:
    assert {word for text in questions() for word in spelled(text)} - set(words()) == set()


def test_repo_has_the_files_of_the_original() -> None:
    assert sorted(contents(TRAINER.folder)) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_repo_stays_small() -> None:
    assert sum(len(content) for content in contents(TRAINER.folder).values()) <= 750_000


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def questions() -> list[str]:
    """The texts of all rankings that every reranker is asked."""
    asked = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))["ranked"]
    return [text for row in asked for text in (row["query"], row["relevant"], *row["others"])]


def goldens() -> dict[str, Any]:
    return tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))


def spelled(text: str) -> tuple[str, ...]:
    """The words alone: case and punctuation do not make another sentence."""
    return tuple("".join(one if one.isalpha() else " " for one in text.lower()).split())
