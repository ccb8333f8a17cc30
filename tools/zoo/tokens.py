"""Tokenizer files as the real repositories have them, with the vocabulary of the samples.

Every word is one token in all of them, so that what a sample knows of a word can be put into
another architecture (`inherit.py`). tokenizer.json is built by the class of transformers that
reads it; files that it does not write (vocab.txt, merges.txt, *.model, *.spm) are written here.
"""

import json
import shutil
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import sentencepiece
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers.models.m2m_100.tokenization_m2m_100 import (
    FAIRSEQ_LANGUAGE_CODES as M2M100_CODES,
)
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

SAMPLES = Path(__file__).resolve().parents[2] / "sample_hub" / "repos" / "model-prep-samples"
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # kinds of a piece in a sentencepiece file
FIRST, PAD, LAST, UNK, MASK = FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END = "<|endoftext|>"
SPACE = "▁"


def write_tokenizer(kind: str, folder: Path, length: int, pieces: Sequence[str]) -> None:
    """All tokenizer files of that kind: `pieces` are characters and, after "▁", whole words;
    `length` is the greatest number of tokens of a text."""
    _KINDS[kind](folder, length, list(pieces))


@cache
def pieces(sample: str) -> tuple[str, ...]:
    """The vocabulary of a sample with a Unigram tokenizer, without its special tokens."""
    vocab = json.loads((SAMPLES / sample / "tokenizer.json").read_bytes())["model"]["vocab"]
    return tuple(piece for piece, _ in vocab if not piece.startswith("<") or len(piece) == 1)


def spm(given: Iterable[tuple[str, int]], unknown: int = 0) -> bytes:
    """A sentencepiece Unigram model of these pieces and kinds."""
    data = b""
    for piece, kind in given:
        text, score = piece.encode(), struct.pack("<f", -8.0 if kind == NORMAL else 0.0)
        data += _field(1, _field(1, text) + b"\x15" + score + b"\x18" + _varint(kind))
    # trainer_spec: a Unigram model (field 3), and the ids of unk, bos, eos and pad, -1 for none.
    none = (1 << 64) - 1
    numbers = {3: 1, 40: unknown, 41: none, 42: none, 43: none}
    spec = b"".join(_varint(number << 3) + _varint(value) for number, value in numbers.items())
    return data + _field(2, spec) + _field(3, _normalizer())


@cache
def _normalizer() -> bytes:
    """What real models say of it (nmt_nfkc with its table); one without a table cannot be read by
    transformers 5 where tokenizer.json is missing."""
    made = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b"]),
        model_writer=made,
        vocab_size=8,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    data, at = made.getvalue(), 0
    while data[at] != 3 << 3 | 2:
        length, after = _number(data, at + 1)
        at = after + length
    length, after = _number(data, at + 1)
    return data[after : after + length]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The varint at that place, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes((low | 128,)) + _varint(rest) if rest else bytes((low,))


def _merged(
    specials: Sequence[str], found: Sequence[str], space: str, alphabet: Sequence[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a BPE that makes one token of every word, from left to right.

    First come the words after a space: their merges all contain it, so none of the others, which
    come later, is taken inside of a word.
    """
    words = [piece[1:] for piece in found if piece.startswith(SPACE) and len(piece) > 1]
    if space == "Ġ":
        words = [_bytes(word) for word in words]
    merges: dict[tuple[str, str], None] = {}
    for head in (space, ""):
        for word in words:
            for end in range(len(head) or 1, len(head + word)):
                merges[(head + word)[:end], (head + word)[end]] = None
    tokens = [*specials, *alphabet, *(first + second for first, second in merges)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}, [*merges]


def _bytes(text: str) -> str:
    """As a byte-level BPE spells it."""
    return str(ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0])


def _write(folder: Path, kind: str, length: int, tokenizer: Any, **more: object) -> None:
    """tokenizer.json, if there is one, and the two files of settings beside it."""
    if tokenizer is not None:
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
    given = {name: getattr(tokenizer, name, None) for name in (*names, "mask_token")}
    specials = {name: token for name, token in given.items() if token} | {
        name: token for name, token in more.items() if name in (*names, "mask_token")
    }
    settings = {**specials, "model_max_length": length, "tokenizer_class": kind, **more}
    _json(folder / "special_tokens_map.json", specials)
    _json(folder / "tokenizer_config.json", settings)


def _json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _wordpieces(specials: Sequence[str], found: Sequence[str]) -> dict[str, int]:
    words = [piece.removeprefix(SPACE).lower() for piece in found if piece != SPACE]
    # A word that is not known falls apart into its characters, which are known inside of a word.
    inside = [f"##{word}" for word in dict.fromkeys(words) if len(word) == 1 and word.isalpha()]
    return {word: number for number, word in enumerate(dict.fromkeys((*specials, *words, *inside)))}


def _wordpiece(kind: str, specials: Sequence[str], named: str = "", txt: bool = True) -> Any:
    def write(folder: Path, length: int, found: list[str]) -> None:
        vocab = _wordpieces(specials, found)
        if txt:
            (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in vocab), "utf-8")
        tokenizer = getattr(transformers, kind)(vocab=vocab, do_lower_case=True)
        _write(folder, named or kind, length, tokenizer, do_lower_case=True)

    return write


def _byte_level(folder: Path, length: int, found: list[str], kind: str) -> None:
    vocab, merges = _merged(FAIRSEQ[:4], found, "Ġ", sorted(ByteLevel.alphabet()))
    vocab[MASK] = len(vocab)
    tokenizer = getattr(transformers, kind)(vocab=vocab, merges=merges)
    _write_bpe(folder, vocab, merges)
    _write(folder, kind, length, tokenizer, add_prefix_space=False)


def _write_bpe(folder: Path, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _roberta(folder: Path, length: int, found: list[str]) -> None:
    _byte_level(folder, length, found, "RobertaTokenizer")


def _bart(folder: Path, length: int, found: list[str]) -> None:
    _byte_level(folder, length, found, "BartTokenizer")


def _qwen2(folder: Path, length: int, found: list[str]) -> None:
    vocab, merges = _merged((), found, "Ġ", sorted(ByteLevel.alphabet()))
    vocab = {**vocab, END: len(vocab), "<|im_start|>": len(vocab) + 1, "<|im_end|>": len(vocab) + 2}
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}", pair=f"$A $B {END}", special_tokens=[(END, vocab[END])]
    )
    _write_bpe(folder, vocab, merges)
    _write(folder, "Qwen2Tokenizer", length, tokenizer, padding_side="left")


def _gemma(folder: Path, length: int, found: list[str]) -> None:
    specials = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    fallback = [f"<0x{number:02X}>" for number in range(256)]
    characters = sorted({character for piece in found for character in piece})
    vocab, merges = _merged(specials, found, SPACE, [*fallback, *characters])
    kinds = {"<unk>": UNKNOWN, **dict.fromkeys(("<pad>", "<eos>", "<bos>"), CONTROL)}
    (folder / "tokenizer.model").write_bytes(
        spm(((token, kinds.get(token, NORMAL)) for token in vocab), unknown=3)
    )
    tokenizer = transformers.GemmaTokenizer(vocab=vocab, merges=merges)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> <bos> $B <eos>",
        special_tokens=[("<bos>", vocab["<bos>"]), ("<eos>", vocab["<eos>"])],
    )
    _write(folder, "GemmaTokenizer", length, tokenizer, add_bos_token=True, add_eos_token=True)


def _scored(specials: Sequence[str], found: Sequence[str]) -> list[tuple[str, float]]:
    return [*((token, 0.0) for token in specials), *((piece, -8.0) for piece in found)]


def _fairseq(found: Sequence[str]) -> bytes:
    """A sentencepiece file whose ids a tokenizer moves: it has a <pad> of its own."""
    return spm([(UNK, UNKNOWN), (FIRST, CONTROL), (LAST, CONTROL), *((p, NORMAL) for p in found)])


def _xlm_roberta(folder: Path, length: int, found: list[str]) -> None:
    (folder / "sentencepiece.bpe.model").write_bytes(_fairseq(found))
    vocab = [*_scored(FAIRSEQ[:4], found), (MASK, 0.0)]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=vocab)
    _write(folder, "XLMRobertaTokenizer", length, tokenizer)


def _deberta(folder: Path, length: int, found: list[str]) -> None:
    specials = {"[PAD]": CONTROL, "[CLS]": CONTROL, "[SEP]": CONTROL, "[UNK]": UNKNOWN}
    given = [*specials.items(), *((piece, NORMAL) for piece in found)]
    (folder / "spm.model").write_bytes(spm(given, unknown=3))
    vocab = [*_scored([*specials], found), ("[MASK]", 0.0)]
    tokenizer = transformers.DebertaV2Tokenizer(vocab=vocab, unk_id=3)
    more = {"do_lower_case": False, "split_by_punct": False, "vocab_type": "spm"}
    _write(folder, "DebertaV2Tokenizer", length, tokenizer, **more)


def _t5(folder: Path, length: int, found: list[str]) -> None:
    names = ("spiece.model", "tokenizer.json", "special_tokens_map.json", "tokenizer_config.json")
    for name in names:
        shutil.copyfile(SAMPLES / "tiny-seq2seq" / name, folder / name)


def _mt5(folder: Path, length: int, found: list[str]) -> None:
    given = [(PAD, CONTROL), (LAST, CONTROL), (UNK, UNKNOWN), *((p, NORMAL) for p in found)]
    (folder / "spiece.model").write_bytes(spm(given, unknown=2))
    names = {name: FAIRSEQ_NAMES[name] for name in ("eos_token", "unk_token", "pad_token")}
    _write(folder, "T5Tokenizer", length, None, **names, extra_ids=0)


def _pegasus(folder: Path, length: int, found: list[str]) -> None:
    tokens = [PAD, LAST, "<mask_1>", "<mask_2>", *(f"<unk_{n}>" for n in range(2, 103)), UNK]
    kinds = dict.fromkeys(tokens, CONTROL) | {UNK: UNKNOWN}
    given = [*kinds.items(), *((piece, NORMAL) for piece in found)]
    (folder / "spiece.model").write_bytes(spm(given, unknown=tokens.index(UNK)))
    tokenizer = transformers.PegasusTokenizer(vocab=_scored(tokens, found))
    _write(folder, "PegasusTokenizer", length, tokenizer, offset=103)


def _nllb(folder: Path, length: int, found: list[str]) -> None:
    characters = sorted({character for piece in found for character in piece})
    vocab, merges = _merged(FAIRSEQ[:4], found, SPACE, characters)
    (folder / "sentencepiece.bpe.model").write_bytes(_fairseq([*vocab][4:]))
    tokenizer = transformers.NllbTokenizer(vocab=vocab, merges=merges)
    more = {"additional_special_tokens": FAIRSEQ_LANGUAGE_CODES}
    _write(folder, "NllbTokenizer", length, tokenizer, **more)


FAIRSEQ_NAMES = {"bos_token": FIRST, "eos_token": LAST, "unk_token": UNK, "pad_token": PAD}


def _m2m100(folder: Path, length: int, found: list[str]) -> None:
    vocab = {token: number for number, token in enumerate((*FAIRSEQ[:4], *found))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(_fairseq(found))
    codes = [f"__{code}__" for code in M2M100_CODES["m2m100"]]
    more: dict[str, object] = {**FAIRSEQ_NAMES, "sep_token": LAST, "num_madeup_words": 8}
    more["additional_special_tokens"] = codes
    _write(folder, "M2M100Tokenizer", length, None, **more)


def _mbart50(folder: Path, length: int, found: list[str]) -> None:
    (folder / "sentencepiece.bpe.model").write_bytes(_fairseq(found))
    more = {**FAIRSEQ_NAMES, "sep_token": LAST, "cls_token": FIRST, "mask_token": MASK}
    _write(folder, "MBart50Tokenizer", length, None, **more, src_lang=None, tgt_lang=None)


def _marian(folder: Path, length: int, found: list[str]) -> None:
    given = [(LAST, CONTROL), (UNK, UNKNOWN), *((piece, NORMAL) for piece in found)]
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(spm(given, unknown=1))
    vocab = {token: number for number, token in enumerate((LAST, UNK, *found, PAD))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    more = {"eos_token": LAST, "unk_token": UNK, "pad_token": PAD, "separate_vocabs": False}
    _write(folder, "MarianTokenizer", length, None, **more, source_lang="en", target_lang="de")


_KINDS: Mapping[str, Callable[[Path, int, list[str]], None]] = {
    "bert": _wordpiece("BertTokenizer", BERT),
    "mpnet": _wordpiece("MPNetTokenizer", (*FAIRSEQ, "[UNK]")),
    # Only tokenizer.json, and no class of its own.
    "plain": _wordpiece("BertTokenizer", BERT, named="PreTrainedTokenizerFast", txt=False),
    "roberta": _roberta,
    "bart": _bart,
    "xlm-roberta": _xlm_roberta,
    "deberta-v2": _deberta,
    "qwen2": _qwen2,
    "gemma": _gemma,
    "t5": _t5,
    "mt5": _mt5,
    "pegasus": _pegasus,
    "nllb": _nllb,
    "m2m100": _m2m100,
    "mbart50": _mbart50,
    "marian": _marian,
}
