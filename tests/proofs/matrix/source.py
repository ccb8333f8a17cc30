"""Damage to the original files' bytes: weights, tokenizers, configurations."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.proofs.matrix.damages import (
    rewrite,
    somebodys_folder,
    swap,
    two_lines_swapped,
    zero_tail,
)
from tests.proofs.matrix.row import EVERY_FILE, Place, Row
from tests.support.small_homes import flip, lead, replace_by_pipe, resolved

BYTES = ("test_source_is_what_the_lock_says",)
ALL = ("embedding", "reranker", "seq2seq")
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"


def _bytes(
    name: str,
    do: Callable[[Place], object],
    file: str,
    *words: str,
    group: str = "weights",
    tasks: tuple[str, ...] = ("embedding",),
    fetches: tuple[str, ...] | None = None,
    may_see: tuple[str, ...] = (),
) -> Row:
    return Row(
        name=name,
        group=group,
        do=do,
        seen_by=BYTES,
        may_see=may_see,
        file=file,
        words=(*words, "The lock is the authority. Without --offline, pytest fetches these again."),
        online="repaired",
        fetches=(file,) if fetches is None else fetches,
        tasks=tasks,
    )


def _first(*names: str) -> Callable[[Place], Path]:
    """The first of these files that the model has."""
    return lambda place: next(
        place.snapshot / name for name in names if (place.snapshot / name).exists()
    )


_vocabulary = _first("vocab.txt", "sentencepiece.bpe.model", "spiece.model")


WEIGHT_ROWS = (
    _bytes(
        "weights bit flipped",
        lambda place: flip(place.weights),
        WEIGHTS,
        "sha256 is",
        "(same size)",
        tasks=ALL,
    ),
    _bytes(
        "weights first byte",
        lambda place: rewrite(place.weights, lambda body: bytes([body[0] ^ 1]) + body[1:]),
        WEIGHTS,
        "(same size)",
    ),
    _bytes(
        "weights last byte",
        lambda place: rewrite(place.weights, lambda body: body[:-1] + bytes([body[-1] ^ 128])),
        WEIGHTS,
        "(same size)",
    ),
    _bytes("weights zero tail", lambda place: zero_tail(place.weights), WEIGHTS, "(same size)"),
    _bytes(
        "weights all zero",
        lambda place: rewrite(place.weights, lambda body: bytes(len(body))),
        WEIGHTS,
        "(same size)",
    ),
    _bytes(
        "weights truncated",
        lambda place: os.truncate(place.weights, 90000),
        WEIGHTS,
        "size is 90000, locked",
        tasks=ALL,
    ),
    _bytes(
        "weights emptied", lambda place: os.truncate(place.weights, 0), WEIGHTS, "size is 0, locked"
    ),
    _bytes(
        "weights grown",
        lambda place: rewrite(place.weights, lambda body: body + b"\0"),
        WEIGHTS,
        "size is",
    ),
    _bytes(
        "weights link removed",
        lambda place: place.weights.unlink(),
        WEIGHTS,
        "missing",
        fetches=(),  # the blob is there and whole
    ),
    _bytes(
        "weights blob removed",
        lambda place: place.weights.resolve().unlink(),
        WEIGHTS,
        "missing",
        "which is not there",
    ),
    _bytes(
        "weights replaced by a pipe",
        lambda place: replace_by_pipe(place.weights),
        WEIGHTS,
        "is not a file",
        fetches=(),
    ),
    Row(
        name="weights replaced by a folder",
        group="weights",
        do=lambda place: somebodys_folder(place.weights),
        seen_by=BYTES,
        file=WEIGHTS,
        words=("is not a file",),
    ),
    _bytes(
        "weights link in a circle",
        lambda place: lead(place.weights, WEIGHTS),
        WEIGHTS,
        "missing",
        fetches=(),
    ),
    _bytes(
        "weights link leads to another file",
        lambda place: lead(place.weights, (place.snapshot / "config.json").readlink()),
        WEIGHTS,
        "size is",
        fetches=(),
    ),
    _bytes(
        "plain weights changed",
        lambda place: flip(resolved(place.weights)),
        WEIGHTS,
        "(same size)",
        fetches=(),  # the blob that it was a copy of is whole
    ),
    _bytes(
        "blobs not copied",
        lambda place: shutil.rmtree(place.repo / "blobs") or (place.repo / "blobs").mkdir(),
        WEIGHTS,
        "which is not there",
        group="links",
        fetches=EVERY_FILE,
    ),
    _bytes(
        "snapshot not copied",
        lambda place: shutil.rmtree(place.snapshot),
        WEIGHTS,
        "missing",
        group="weights",
        fetches=(),
    ),
)

SMALL_ROWS = (
    _bytes(
        "tokenizer bit flipped",
        lambda place: flip(place.snapshot / TOKENIZER),
        TOKENIZER,
        "(same size)",
        group="tokenizer",
        tasks=ALL,
    ),
    _bytes(
        "tokenizer emptied",
        lambda place: os.truncate(place.snapshot / TOKENIZER, 0),
        TOKENIZER,
        "size is 0, locked",
        group="tokenizer",
    ),
    _bytes(
        "tokenizer is an empty table",
        lambda place: (place.snapshot / TOKENIZER).write_text("{}"),
        TOKENIZER,
        "size is 2, locked",
        group="tokenizer",
    ),
    _bytes(
        "tokenizer removed",
        lambda place: (place.snapshot / TOKENIZER).resolve().unlink(),
        TOKENIZER,
        "missing",
        group="tokenizer",
        tasks=ALL,
    ),
    _bytes(
        "slow vocabulary truncated",
        lambda place: os.truncate(_vocabulary(place), 100),
        "vocab.txt",
        "size is 100, locked",
        group="tokenizer",
    ),
    _bytes(
        "vocabulary with CRLF",
        lambda place: rewrite(_vocabulary(place), lambda body: body.replace(b"\n", b"\r\n")),
        "vocab.txt",
        "size is",
        group="tokenizer",
    ),
    _bytes(
        "vocabulary with two lines swapped",
        lambda place: rewrite(_vocabulary(place), two_lines_swapped),
        "vocab.txt",
        "(same size)",
        group="tokenizer",
    ),
    _bytes(
        "config and tokenizer config swapped",
        lambda place: swap(
            place.snapshot / "config.json", place.snapshot / "tokenizer_config.json"
        ),
        "tokenizer_config.json",
        "corrupt config.json",
        group="config",
        fetches=(),
    ),
    _bytes(
        "config with a newline more",
        lambda place: rewrite(place.snapshot / "config.json", lambda body: body + b"\n"),
        "config.json",
        "size is",
        group="config",
        tasks=ALL,
    ),
    _bytes(
        "config with CRLF",
        lambda place: rewrite(
            place.snapshot / "config.json", lambda body: body.replace(b"\n", b"\r\n")
        ),
        "config.json",
        "size is",
        group="config",
    ),
    _bytes(
        "config with a BOM",
        lambda place: rewrite(place.snapshot / "config.json", lambda body: b"\xef\xbb\xbf" + body),
        "config.json",
        "size is",
        group="config",
    ),
    _bytes(
        "modules.json removed",
        lambda place: (place.snapshot / "modules.json").unlink(),
        "modules.json",
        "missing",
        group="config",
        fetches=(),
    ),
    _bytes(
        "pooling config changed",
        lambda place: flip(place.snapshot / "1_Pooling/config.json"),
        "1_Pooling/config.json",
        "(same size)",
        group="config",
    ),
    _bytes(
        "pooling folder removed",
        lambda place: shutil.rmtree(place.snapshot / "1_Pooling"),
        "1_Pooling/config.json",
        "missing",
        group="config",
        fetches=(),
    ),
    _bytes(
        "length limit removed",
        lambda place: (place.snapshot / "sentence_bert_config.json").resolve().unlink(),
        "sentence_bert_config.json",
        "missing",
        group="config",
    ),
)


ROWS = (*WEIGHT_ROWS, *SMALL_ROWS)
