"""Damage to the original files' bytes: weights, tokenizers, configurations."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.proofs.matrix.damages import (
    body,
    crlf,
    cut,
    remove,
    remove_blob,
    somebodys_folder,
    swap,
    two_lines_swapped,
    zero_tail,
    zeros,
)
from tests.proofs.matrix.row import EVERY_FILE, Row, Target, kind
from tests.support.small_homes import flip, lead, replace_by_pipe, resolved

BYTES = ("test_source_is_what_the_lock_says",)
ALL = ("embedding", "reranker", "seq2seq")
WEIGHTS, TOKENIZER, VOCABULARY = "model.safetensors", "tokenizer.json", "vocab.txt"
CONFIG, POOLING = "config.json", "1_Pooling/config.json"
GROUPS = {WEIGHTS: "weights", TOKENIZER: "tokenizer", VOCABULARY: "tokenizer"}


_fetched_again = kind(
    "The lock is the authority. Without --offline, pytest fetches these again.",
    seen_by=BYTES,
    online="repaired",
)


def _row(name: str, file: str, do: Callable[[Target], object], *words: str, **more: object) -> Row:
    """Damage that makes this file be fetched again, unless `fetches` says otherwise."""
    given = {"group": GROUPS.get(file, "config"), "fetches": (file,), **more}
    return _fetched_again(name, do, *words, file=file, **given)


def _file(
    name: str, file: str, change: Callable[[Path], object], *words: str, **more: object
) -> Row:
    """A change of this file of the snapshot."""
    return _row(name, file, lambda target: change(target.snapshot / file), *words, **more)


SAME_SIZE = "(same size)"
# Whose blob is there and whole: a link is enough.
NOTHING: dict[str, object] = {"fetches": ()}

ROWS = (
    _file("weights bit flipped", WEIGHTS, flip, "sha256 is", SAME_SIZE, tasks=ALL),
    _file("weights first byte", WEIGHTS, body(lambda b: bytes([b[0] ^ 1]) + b[1:]), SAME_SIZE),
    _file("weights last byte", WEIGHTS, body(lambda b: b[:-1] + bytes([b[-1] ^ 128])), SAME_SIZE),
    _file("weights zero tail", WEIGHTS, zero_tail, SAME_SIZE),
    _file("weights all zero", WEIGHTS, body(zeros), SAME_SIZE),
    _file("weights truncated", WEIGHTS, cut(90000), "size is 90000, locked", tasks=ALL),
    _file("weights emptied", WEIGHTS, cut(0), "size is 0, locked"),
    _file("weights grown", WEIGHTS, body(lambda b: b + b"\0"), "size is"),
    _file("weights link removed", WEIGHTS, remove, "missing", **NOTHING),
    _file("weights blob removed", WEIGHTS, remove_blob, "missing", "which is not there"),
    _file("weights replaced by a pipe", WEIGHTS, replace_by_pipe, "is not a file", **NOTHING),
    Row(name="weights replaced by a folder", group="weights",
        do=lambda target: somebodys_folder(target.weights), seen_by=BYTES, file=WEIGHTS,
        words=("is not a file",)),
    _file("weights link in a circle", WEIGHTS, lambda path: lead(path, WEIGHTS), "missing",
        **NOTHING),
    _file("weights link leads to another file", WEIGHTS,
        lambda path: lead(path, path.with_name(CONFIG).readlink()), "size is", **NOTHING),
    _file("plain weights changed", WEIGHTS, lambda path: flip(resolved(path)), SAME_SIZE,
        **NOTHING),
    _row("blobs not copied", WEIGHTS,
        lambda target: shutil.rmtree(target.repo / "blobs") or (target.repo / "blobs").mkdir(),
        "which is not there", group="links", fetches=EVERY_FILE),
    _row("snapshot not copied", WEIGHTS, lambda t: shutil.rmtree(t.snapshot), "missing",
        fetches=()),
    _file("tokenizer bit flipped", TOKENIZER, flip, SAME_SIZE, tasks=ALL),
    _file("tokenizer emptied", TOKENIZER, cut(0), "size is 0, locked"),
    _file("tokenizer is an empty table", TOKENIZER, body(lambda b: b"{}"), "size is 2, locked"),
    _file("tokenizer removed", TOKENIZER, remove_blob, "missing", tasks=ALL),
    _file("slow vocabulary truncated", VOCABULARY, cut(100), "size is 100, locked"),
    _file("vocabulary with CRLF", VOCABULARY, body(crlf), "size is"),
    _file("vocabulary with two lines swapped", VOCABULARY, body(two_lines_swapped), SAME_SIZE),
    _file("config and tokenizer config swapped", "tokenizer_config.json",
        lambda path: swap(path.with_name(CONFIG), path), "corrupt config.json", **NOTHING),
    _file("config with a newline more", CONFIG, body(lambda b: b + b"\n"), "size is", tasks=ALL),
    _file("config with CRLF", CONFIG, body(crlf), "size is"),
    _file("config with a BOM", CONFIG, body(lambda b: b"\xef\xbb\xbf" + b), "size is"),
    _file("modules.json removed", "modules.json", remove, "missing", **NOTHING),
    _file("pooling config changed", POOLING, flip, SAME_SIZE),
    _file("pooling folder removed", POOLING, lambda p: shutil.rmtree(p.parent), "missing",
        **NOTHING),
    _file("length limit removed", "sentence_bert_config.json", remove_blob, "missing"),
)  # fmt: skip
