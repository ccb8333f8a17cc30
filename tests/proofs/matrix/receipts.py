"""Receipts that are truncated, forged or of something else, and the stable path to them."""

import os
import shutil

from prep.home.receipt import NAME
from tests.proofs.matrix.damages import (
    conversion_away,
    half,
    limit_changed,
    of_the_neighbour,
    other_recipe,
    receipt_edited,
    renamed_folder,
    sealed,
    source_of_other_bytes,
)
from tests.proofs.matrix.row import kind
from tests.proofs.matrix.source import ALL
from tests.support.small_homes import lead, replace_by_folder, replace_by_pipe

_receipt = kind(
    "Without --offline, pytest converts it again.",
    group="receipt",
    seen_by=("test_receipt_names_the_pin",),
    file=NAME,
    online="repaired",
)
UNFINISHED = "the conversion was never finished"
CHANGED = "it was changed after it was written"

ROWS = (
    _receipt("half a conversion", half, UNFINISHED, tasks=ALL),
    _receipt("receipt removed", lambda p: (p.folder / NAME).unlink(), UNFINISHED),
    _receipt("receipt emptied", lambda p: os.truncate(p.folder / NAME, 0), "cannot be read"),
    _receipt("receipt truncated", lambda p: os.truncate(p.folder / NAME, 700), "cannot be read"),
    _receipt("receipt a pipe", lambda p: replace_by_pipe(p.folder / NAME), "is not a file"),
    _receipt("receipt a folder", lambda p: replace_by_folder(p.folder / NAME), "is not a file"),
    _receipt("receipt no JSON", receipt_edited(lambda text: f"{text}}}"), "cannot be read"),
    _receipt("receipt a list", receipt_edited(lambda text: "[]"), "must be a table"),
    _receipt("receipt with CRLF", receipt_edited(lambda text: text.replace("\n", "\r\n")),
        CHANGED),
    _receipt("receipt's date changed",
        receipt_edited(lambda text: text.replace('"at": "2', '"at": "3')), CHANGED),
    _receipt("receipt's agreement changed",
        receipt_edited(lambda text: text.replace('"agreement": 0.9', '"agreement": 0.8')),
        CHANGED),
    _receipt("receipt of a later version",
        receipt_edited(lambda text: text.replace('"receipt-version": 1', '"receipt-version": 2')),
        "receipt-version"),
    _receipt("receipt of another repository", other_recipe(repo="theirs/model"),
        "repo is theirs/model", online="ready"),
    _receipt("receipt of another commit", other_recipe(commit="0" * 40), f"commit is {'0' * 40}",
        online="ready"),
    _receipt("receipt of another precision", other_recipe(precision="fp16"),
        "precision is fp16, wanted int8", online="ready"),
    _receipt("receipt of another task", other_recipe(task="reranker"),
        "task is 'reranker', wanted 'embedding'", online="ready"),
    _receipt("receipt of other options",
        other_recipe(options={"weights": {"bits": 8, "sym": True}, "converter": 1}), "options is",
        online="ready"),
    _receipt("receipt of other source bytes", source_of_other_bytes,
        "it was made from other bytes than the lock names", online="ready"),
    _receipt("recipe's folder renamed", renamed_folder, "its folder ffffffff"),
    _receipt("tokenizer emptied, receipt right",
        sealed(lambda p: (p.folder / "tokenizer.json").write_text("{}")),
        "it lists another tokenizer.json than the lock", group="tokenizer"),
    _receipt("tokenizer left out, receipt right",
        sealed(lambda p: [(p.folder / n).unlink() for n in ("tokenizer.json", "vocab.txt")]),
        "it lists another tokenizer.json than the lock",
        "it lists another vocab.txt than the lock", group="tokenizer"),
    _receipt("modules left out, receipt right",
        sealed(lambda p: (p.folder / "modules.json").unlink()),
        "it lists another modules.json than the lock", group="config"),
    _receipt("length limit changed, receipt right", sealed(limit_changed),
        "it lists another sentence_bert_config.json than the lock", group="config"),
    _receipt("never converted", lambda p: (shutil.rmtree(p.folder), p.stable.unlink()),
        "never converted", file="int8", online="ready"),
    _receipt("stable path removed", lambda p: p.stable.unlink(), "never converted", file="int8",
        online="ready", group="links"),
    _receipt("stable path dangles", lambda p: lead(p.stable, "0" * 64), "which is not there",
        file="int8", group="links"),
    _receipt("stable path in a circle", lambda p: lead(p.stable, "int8"), "which is not there",
        file="int8", group="links"),
    _receipt("stable path leads out", conversion_away, "outside the home", file="int8",
        group="links"),
    _receipt("stable path leads to the neighbour's", of_the_neighbour, "repo is theirs/model",
        file=NAME, group="links", online="ready"),
    _receipt("stable path leads to fp32",
        lambda p: lead(p.stable, p.home.stable(p.locked.repo, "fp32").readlink()),
        "precision is fp32, wanted int8", group="links", online="ready"),
    _receipt("stable path a file", lambda p: (p.stable.unlink(), p.stable.write_text("mine")),
        "receipt.json", group="links"),
    _receipt("stable path an empty folder", lambda p: (p.stable.unlink(), p.stable.mkdir()),
        UNFINISHED, group="links"),
    _receipt("conversion folder emptied",
        lambda p: [shutil.rmtree(x) if x.is_dir() else x.unlink() for x in p.folder.iterdir()],
        UNFINISHED),
)  # fmt: skip
