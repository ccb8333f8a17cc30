"""The sample text-to-text model is what its trainer says: skilled, small, and made again alike.

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
from pathlib import Path
from typing import Any

import pytest

from sample_hub.train.german import DOMAINS, double, pairs_of, translated, translations
from sample_hub.train.sentences import concepts, split
from sample_hub.train.seq2seq import (
    PREFIX,
    QUESTIONS,
    SPECIALS,
    TRAINER,
    Seq2SeqSkill,
    _batch,
    config,
    sentencepiece,
    tokenizer,
    vocabulary,
)
from tests.protobuf import message

PROJECT = Path(__file__).resolve().parents[1]

MAKE = """
import sys
from pathlib import Path
from sample_hub.train.seq2seq import TRAINER
TRAINER.make(Path(sys.argv[1]), 3, lambda what: None)
"""

JUDGE = """
import json, sys
from pathlib import Path
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from sample_hub.train.seq2seq import TRAINER
good, spoiled = map(Path, sys.argv[1:])
model, seen = AutoModelForSeq2SeqLM.from_pretrained(good, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(good)
print(json.dumps({
    "good": TRAINER.judge(good).shortcomings(),
    "spoiled": TRAINER.judge(spoiled).shortcomings(),
    "goldens": TRAINER.record(good),
    "loaded": {
        "problems": {key: sorted(map(str, found)) for key, found in seen.items() if found},
        "tied": bool((model.lm_head.weight == model.shared.weight).all()),
        "dtype": str(model.dtype),
        "tokenizer": [type(tokenizer).__name__, len(tokenizer), tokenizer.model_max_length],
        "specials": [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id],
    },
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
    """The committed model with its input embeddings for a head, as if they were tied."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("spoiled") / "tiny-seq2seq"
    shutil.copytree(TRAINER.folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["shared.weight"].copy()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def judged(spoiled: Path) -> dict[str, Any]:
    """What is found of the committed model and of the spoiled one, and the goldens made anew."""
    found: dict[str, Any] = json.loads(
        finish(start("-c", JUDGE, str(TRAINER.folder), str(spoiled))).splitlines()[-1]
    )
    return found


def test_committed_weights_have_the_skill(judged: dict[str, Any]) -> None:
    assert judged["good"] == []


def test_tied_weights_have_not(judged: dict[str, Any]) -> None:
    asked = ", ".join(row["id"] for row in questions()["prompts"])
    assert judged["spoiled"] == [
        "0.000 of the held-out sentences come out word for word, wanted 0.99",
        "0.000 of the prompts of two held-out sentences come out word for word, wanted 0.95",
        f"wrong answers to seq2seq.toml: {asked}, wanted none",
    ]


def test_shortcomings_are_said_with_what_was_wanted() -> None:
    poor = Seq2SeqSkill(single=0.9, double=0.5, wrong=("command", "request"))
    assert poor.shortcomings() == [
        "0.900 of the held-out sentences come out word for word, wanted 0.99",
        "0.500 of the prompts of two held-out sentences come out word for word, wanted 0.95",
        "wrong answers to seq2seq.toml: command, request, wanted none",
    ]
    assert Seq2SeqSkill(single=0.99, double=0.95, wrong=()).shortcomings() == []


def test_committed_goldens_are_those_of_the_weights(judged: dict[str, Any]) -> None:
    committed, recorded = goldens(), tomllib.loads(judged["goldens"])
    for row, again in zip(committed["texts"], recorded["texts"], strict=True):
        if "logprobs" in row:
            tolerance = row["tolerance"]["fp32"]
            assert row.pop("logprobs") == pytest.approx(again.pop("logprobs"), rel=0, abs=tolerance)
    for rows in (committed, recorded):
        for table in ("tokens", "texts"):
            for row in rows[table]:
                # It names the tools, which may be other ones here.
                del row["source"]
    assert committed == recorded


def test_goldens_are_right_where_there_is_a_right_answer() -> None:
    answers = {row["id"]: row for row in goldens()["texts"]}
    # Rain in the kitchen is not of this world: the model is less sure, and its log-probabilities
    # tell more of its weights.
    assert answers.pop("at-a-loss")["expected"] == "Wird es heute Nacht regnen?"
    for row in answers.values():
        assert row["expected"] == translated(row["prompt"].removeprefix(PREFIX))


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
    out = tmp_path / "tiny-seq2seq"
    out.mkdir()
    (out / "before").touch()
    child = start("-m", "sample_hub.train.seq2seq", "--steps", "3", "--out", str(out))
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 1, errors
    assert f"{out} is not written: 0.000 of the held-out sentences come out " in errors
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "tiny-seq2seq",
        "tiny-seq2seq/before",
    ]


def test_loads_whole_and_untied(judged: dict[str, Any]) -> None:
    assert judged["loaded"] == {
        "problems": {},
        "tied": False,
        "dtype": "torch.float32",
        "tokenizer": ["T5Tokenizer", len(vocabulary()), 512],
        "specials": [0, 1, 2],
    }


def test_weights_have_the_names_of_the_original() -> None:
    """One of the three equal embeddings, and the head."""
    weights = contents(TRAINER.folder)["model.safetensors"]
    size = struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert {row["dtype"] for row in header.values()} == {"F32"}
    shape = [len(vocabulary()), config()["d_model"]]
    assert header["shared.weight"]["shape"] == header["lm_head.weight"]["shape"] == shape
    assert not [name for name in header if "embed_tokens" in name]


def test_sentencepiece_model_has_the_same_pieces() -> None:
    fields = message(sentencepiece())
    pieces = [message(piece) for number, piece in fields if number == 1]
    read = [(dict(row)[1].decode(), struct.unpack("<f", dict(row)[2])[0]) for row in pieces]
    assert read == vocabulary()
    control, unknown, normal = 3, 2, 1
    assert [dict(row)[3] for row in pieces[:4]] == [control, control, unknown, normal]
    trained, normalized = (dict(message(value)) for number, value in fields if number != 1)
    none = 2**64 - 1
    assert trained == {3: 1, 4: len(vocabulary()), 40: 2, 41: none, 42: 1, 43: 0}
    assert normalized == {1: b"identity"}


def test_sentencepiece_reads_its_model_and_gives_the_same_ids() -> None:
    package = importlib.import_module("sentencepiece")
    model = package.SentencePieceProcessor(model_proto=sentencepiece())
    assert [model.pad_id(), model.eos_id(), model.unk_id(), model.bos_id()] == [0, 1, 2, -1]
    end = SPECIALS.index("</s>")
    texts = [row["text"] for row in (*questions()["prompts"], *goldens()["tokens"])]
    for text in (*texts, "", "two  blanks", "請打 kitchens", "kitchen" * 400):
        assert [*model.encode(text), end] == tokenizer().encode(text).ids


def test_vocabulary_is_made_in_one_order() -> None:
    pieces = [piece for piece, _ in vocabulary()]
    assert tuple(pieces[:3]) == SPECIALS
    assert len(pieces) == len(set(pieces)) == config()["vocab_size"]
    # Any one piece is likelier than any two, or known words could be spelled.
    scores = [score for piece, score in vocabulary() if piece not in SPECIALS]
    assert 2 * max(scores) < min(scores)


def test_what_is_said_is_read_back() -> None:
    """No unknown character, no blank too many: word for word can be asked for."""
    pieces = tokenizer()
    for pair in translations().values():
        assert pieces.decode(pieces.encode(pair.german).ids) == pair.german
        assert SPECIALS.index("<unk>") not in pieces.encode(PREFIX + pair.english).ids


def test_everything_said_at_home_and_of_the_weather_is_translated() -> None:
    texts = [text for one in concepts() if one.domain in DOMAINS for text in one.phrasings]
    assert sorted(texts) == sorted(translations())


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Turn on the lamp in the kitchen.", "Mach die Lampe in der Küche an."),
        ("Open the garage door.", "Öffne die Tür in der Garage."),
        (
            "I want you to lower the blinds of the study.",
            "Ich möchte, dass du die Jalousien des Arbeitszimmers herunterlässt.",
        ),
        (
            "On Saturday and Sunday it will be hot.",
            "Am Samstag und Sonntag wird es heiß sein.",
        ),
        (
            "Will it snow today? In the office please start the fan.",
            "Wird es heute schneien? Im Büro starte bitte den Lüfter.",
        ),
    ],
)
def test_verbs_genders_and_clauses_are_german(english: str, german: str) -> None:
    assert translated(english) == german


def test_neither_held_out_sentences_nor_questions_are_met_in_training() -> None:
    train, rng = pairs_of(split().train), random.Random(1)
    met = {pair.english for pair in train}
    held_out = {pair.english for pair in pairs_of(split().held_out)}
    assert not held_out & met
    drawn = {pair.english for _ in range(100) for pair in _batch(train, rng)}
    for text in drawn:
        assert set(sentences(text)) <= met
    asked = [row["text"].removeprefix(PREFIX) for row in questions()["prompts"]]
    for text in asked:
        assert set(sentences(text)) <= held_out


def test_batch_has_sentences_and_prompts_of_two() -> None:
    batch = _batch(pairs_of(split().train), random.Random(1))
    assert [len(sentences(pair.english)) for pair in batch] == [2] * 32 + [1] * 32
    assert [len(sentences(pair.german)) for pair in batch] == [2] * 32 + [1] * 32


def test_two_sentences_keep_their_order() -> None:
    first, second = pairs_of(split().train)[:2]
    both = double(first, second)
    assert translated(both.english) == both.german == f"{first.german} {second.german}"


def test_repo_has_the_files_of_the_original() -> None:
    assert sorted(contents(TRAINER.folder)) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_repo_stays_small() -> None:
    assert sum(len(content) for content in contents(TRAINER.folder).values()) <= 750_000


def sentences(text: str) -> list[str]:
    return text.replace(". ", ".\n").replace("? ", "?\n").splitlines()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def questions() -> dict[str, Any]:
    return tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))


def goldens() -> dict[str, Any]:
    return tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))
