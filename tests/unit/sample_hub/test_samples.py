"""The committed sample models are what their cards and the lock say. Nothing is trained here."""

import hashlib
import importlib
import json
import re
import stat
import struct
import tomllib
from typing import Any

import pytest
from tokenizers import Tokenizer

from prep.tasks.task import FOLDER
from sample_hub.served import SAMPLES
from tests.support.paths import ROOT
from tools.samples import languages
from tools.samples.german import translations
from tools.samples.sentences import words

FOLDERS = {
    task: SAMPLES / "model-prep-samples" / f"tiny-{task}"
    for task in ("embedding", "reranker", "seq2seq")
}
SENTENCEPIECE = {"reranker": "sentencepiece.bpe.model", "seq2seq": "spiece.model"}
SPACE = "▁"

FILES = {
    "embedding": "1_Pooling/config.json README.md config.json config_sentence_transformers.json "
    "model.safetensors modules.json sentence_bert_config.json special_tokens_map.json "
    "tokenizer.json tokenizer_config.json vocab.txt",
    "reranker": "README.md config.json model.safetensors sentencepiece.bpe.model "
    "special_tokens_map.json tokenizer.json tokenizer_config.json",
    "seq2seq": "README.md config.json generation_config.json model.safetensors "
    "special_tokens_map.json spiece.model tokenizer.json tokenizer_config.json",
}

each_sample = pytest.mark.parametrize("task", FOLDERS)


def contents(task: str) -> dict[str, bytes]:
    """Every file of a sample, by its path."""
    folder = FOLDERS[task]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_json(task: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(contents(task)[name])
    return content


def tensors(task: str) -> dict[str, tuple[str, list[int], bytes]]:
    """Of every tensor of model.safetensors: its type, its shape and its bytes."""
    content = contents(task)["model.safetensors"]
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:start])
    assert header.pop("__metadata__") == {"format": "pt"}
    found = {}
    for name, tensor in header.items():
        first, end = tensor["data_offsets"]
        found[name] = (tensor["dtype"], tensor["shape"], content[start + first : start + end])
    return found


def tokenizer(task: str) -> Tokenizer:
    return Tokenizer.from_file(str(FOLDERS[task] / "tokenizer.json"))


def scored_pieces(task: str) -> list[tuple[str, float]]:
    """Piece and score of a unigram vocabulary, in the order of the ids."""
    return [tuple(row) for row in read_json(task, "tokenizer.json")["model"]["vocab"]]


def questions(task: str) -> list[str]:
    """All texts that every model of the task is asked, word by word as they stand."""
    asked = tomllib.loads((FOLDER / "en" / f"{task}.toml").read_text("utf-8"))
    if task == "embedding":
        return [text for row in asked["related"] for text in row.values()]
    if task == "reranker":
        rows = asked["ranked"]
        return [text for row in rows for text in (row["query"], row["relevant"], *row["others"])]
    return [asked["instruction"] + row["text"] for row in asked["prompts"]]


def sentencepiece(task: str) -> Any:
    """The sentencepiece file, read by its own library. No types ship with it."""
    library = importlib.import_module("sentencepiece")
    return library.SentencePieceProcessor(model_proto=contents(task)[SENTENCEPIECE[task]])


def translated_words() -> set[str]:
    texts = [text for pair in translations().values() for text in (pair.english, pair.german)]
    return {word for text in texts for word in re.findall(r"\w+", text)}


@each_sample
def test_repo_has_the_files_of_the_original(task: str) -> None:
    assert list(contents(task)) == FILES[task].split()


@each_sample
def test_files_are_those_of_the_lock(task: str) -> None:
    lock = tomllib.loads((ROOT / "sample_hub" / "models.lock.toml").read_text("utf-8"))
    [locked] = [row for row in lock["models"] if row["name"] == f"tiny-{task}"]
    found = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents(task).items()
        if path != "README.md"
    ]
    assert found == locked["files"]


@each_sample
def test_card_says_the_license_and_how_to_train_such_a_model(task: str) -> None:
    card = contents(task)["README.md"].decode()
    assert re.findall(r"^license: (.+)$", card, re.MULTILINE) == ["apache-2.0"]
    assert f"`python -m tools.train_samples {task} --out DIR`" in card
    files = re.findall(r"`(tools/[^`]+)`", card)
    assert "tools/samples/sentences.py" in files
    assert [path for path in files if not (ROOT / path).is_file()] == []


def test_repos_are_plain_files_that_are_not_executable() -> None:
    for path in SAMPLES.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or stat.S_ISREG(mode), path
        assert stat.S_ISDIR(mode) or mode & 0o111 == 0, path


def test_repos_stay_small() -> None:
    sizes = [sum(map(len, contents(task).values())) for task in FOLDERS]
    assert max(sizes) <= 750_000
    assert sum(sizes) <= 2_000_000


@pytest.mark.parametrize(
    ("task", "width", "names"),
    [
        ("embedding", "hidden_size", ["embeddings.word_embeddings.weight"]),
        ("reranker", "hidden_size", ["roberta.embeddings.word_embeddings.weight"]),
        ("seq2seq", "d_model", ["shared.weight", "lm_head.weight"]),
    ],
)
def test_weights_are_float32_and_those_of_the_configuration(
    task: str, width: str, names: list[str]
) -> None:
    config = read_json(task, "config.json")
    assert {dtype for dtype, _, _ in tensors(task).values()} == {"F32"}
    for name in names:
        assert tensors(task)[name][1] == [config["vocab_size"], config[width]]
    assert tokenizer(task).get_vocab_size() == config["vocab_size"]


def test_reranker_has_one_logit() -> None:
    assert tensors("reranker")["classifier.out_proj.weight"][1] == [1, 64]
    assert read_json("reranker", "config.json")["id2label"] == {"0": "LABEL_0"}


def test_reranker_counts_positions_from_behind_the_padding() -> None:
    config = read_json("reranker", "config.json")
    most = read_json("reranker", "tokenizer_config.json")["model_max_length"]
    assert config["max_position_embeddings"] == most + config["pad_token_id"] + 1 == 66


def test_seq2seq_has_a_head_of_its_own() -> None:
    found = tensors("seq2seq")
    assert read_json("seq2seq", "config.json")["tie_word_embeddings"] is False
    assert found["lm_head.weight"][2] != found["shared.weight"][2]
    # The two copies of the embeddings are not in the file, as in the original.
    assert [name for name in found if "embed_tokens" in name] == []


@pytest.mark.parametrize(
    ("task", "first", "last"),
    [
        ("embedding", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], []),
        ("reranker", ["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"]),
        ("seq2seq", ["<pad>", "</s>", "<unk>"], []),
    ],
)
def test_special_tokens_have_the_ids_of_the_original(
    task: str, first: list[str], last: list[str]
) -> None:
    ids = tokenizer(task).get_vocab(with_added_tokens=True)
    pieces = sorted(ids, key=ids.__getitem__)
    assert [ids[piece] for piece in pieces] == list(range(len(pieces)))
    assert pieces[: len(first)] == first
    assert pieces[len(pieces) - len(last) :] == last
    added = read_json(task, "tokenizer.json")["added_tokens"]
    assert [token["content"] for token in added] == [*first, *last]


def test_embedding_has_its_vocabulary_in_both_files() -> None:
    ids = read_json("embedding", "tokenizer.json")["model"]["vocab"]
    assert contents("embedding")["vocab.txt"].decode().splitlines() == sorted(ids, key=ids.get)


@pytest.mark.parametrize("task", ["reranker", "seq2seq"])
def test_one_piece_is_likelier_than_any_two(task: str) -> None:
    """Or a known word could be spelled. Special tokens have the score 0."""
    scores = [score for _, score in scored_pieces(task) if score]
    assert 2 * max(scores) < min(scores)


@each_sample
def test_nothing_in_plain_text_is_unknown(task: str) -> None:
    plain = "".join(map(chr, range(0x20, 0x7F)))
    assert not {"[UNK]", "<unk>"} & {*tokenizer(task).encode(plain + plain[::-1]).tokens}


@each_sample
def test_every_word_that_training_knows_is_one_piece(task: str) -> None:
    known = {
        "embedding": words(),
        "reranker": [SPACE + form for word in words() for form in (word, word.capitalize())],
        "seq2seq": [SPACE + word for word in translated_words()],
    }
    pieces = tokenizer(task)
    for piece in known[task]:
        found = pieces.encode(piece.removeprefix(SPACE)).tokens
        assert [token for token in found if token[0] not in "[<"] == [piece]


@each_sample
def test_every_word_of_the_questions_is_one_piece(task: str) -> None:
    pieces = tokenizer(task)
    for word in {word for text in questions(task) for word in re.findall(r"\w+", text)}:
        found = pieces.encode(word).tokens
        assert len([token for token in found if token[0] not in "[<"]) == 1, word


@pytest.mark.parametrize(("task", "name"), SENTENCEPIECE.items())
def test_sentencepiece_file_has_the_same_pieces_and_scores(task: str, name: str) -> None:
    model = sentencepiece(task)
    pieces = scored_pieces(task)
    if task == "reranker":
        # XLM-R's tokenizers put <pad> and <mask> in themselves.
        pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *pieces[4:-1]]
    ids = range(model.get_piece_size())
    assert [(model.id_to_piece(id_), model.get_score(id_)) for id_ in ids] == pieces
    kinds = [("<unk>", model.is_unknown), ("</s>", model.is_control)]
    for piece, is_kind in kinds:
        assert is_kind(model.piece_to_id(piece))
    assert len(contents(task)[name]) < 10_000  # no table of characters: texts are not normalised


@pytest.mark.parametrize("task", SENTENCEPIECE)
def test_sentencepiece_gives_the_same_ids(task: str) -> None:
    model = sentencepiece(task)
    for text in (*questions(task), "", "two  blanks", "請打 kitchens, 42 °C", "kitchen" * 400):
        ids = model.encode(text)
        # As XLM-R's tokenizers count: all are moved up by one, <unk> is the fourth.
        wanted = (
            [0, *(id_ + 1 if id_ else 3 for id_ in ids), 2] if task == "reranker" else [*ids, 1]
        )
        assert tokenizer(task).encode(text).ids == wanted


def test_everything_that_seq2seq_answers_is_read_back() -> None:
    """No unknown character, no blank too many: word for word can be asked for."""
    pieces = tokenizer("seq2seq")
    for pair in translations().values():
        assert pieces.decode(pieces.encode(pair.german).ids) == pair.german


@pytest.mark.parametrize("language", languages.WORLDS)
def test_the_world_is_the_same_in_every_language(language: str) -> None:
    """The same concepts, and one translation of each sentence."""
    found, english = languages.concepts(language), languages.concepts("en")
    assert [(known.domain, known.name) for known in found] == [
        (known.domain, known.name) for known in english
    ]
    assert all(len(known.phrasings) > 1 for known in found)
    assert not [text for known in found for text in known.phrasings if re.search("[{}…]", text)]
    pairs = languages.parallel("en", language)
    assert len(pairs) == len(dict(pairs)) == 928
