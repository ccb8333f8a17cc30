"""Sizes alone or every byte are compared; a message names got and wanted of all files at once."""

import os
from pathlib import Path

from prep.errors import listing
from prep.home.layout import write_text
from prep.verify.problem import Problem
from prep.verify.source import check_source
from tests.support.small_homes import (
    COMMIT,
    SOURCE,
    Tiny,
    flip,
    leave,
    replace_by_folder,
    resolved,
    seen,
    sha256,
    tiny,
    write_bytes,
)

WEIGHTS, IR = "model.safetensors", "openvino_model.bin"


def test_without_checksums_only_sizes_are_compared(model: Tiny) -> None:
    flip(model.snapshot / WEIGHTS)
    flip(model.folder / IR)
    assert seen(model.source(deep=False)) == seen(model.conversion(deep=False)) == []
    os.truncate(model.snapshot / WEIGHTS, 1)
    os.truncate(model.folder / IR, 1)
    assert seen(model.source(deep=False)) == [f"bytes corrupt {WEIGHTS}"]
    assert seen(model.conversion(deep=False)) == [f"bytes corrupt {IR}"]
    os.truncate(model.snapshot / WEIGHTS, 1281)
    assert "\n".join(map(str, model.source(deep=False).problems)) == (
        "corrupt      model.safetensors        size is 1281, locked 1280"
    )


def test_every_byte_is_counted_while_it_is_digested(model: Tiny) -> None:
    counts: list[int] = []
    check_source(model.home, model.locked, deep=True, on_bytes=counts.append)
    assert sum(counts) == model.locked.bytes


def test_a_message_names_got_and_wanted_of_all_at_once(model: Tiny) -> None:
    flip(model.snapshot / WEIGHTS)
    os.truncate(model.snapshot / "config.json", 3)
    (model.snapshot / "modules.json").resolve().unlink()
    leave(model.snapshot / "vocab.txt", model.home)
    model.snapshot.chmod(0o700)
    write_text(model.ref, f"{COMMIT}\n")
    write_bytes(model.snapshot / "adapter_config.json", b"{}")
    digest = sha256((model.snapshot / WEIGHTS).read_bytes())
    small = sha256((model.snapshot / "config.json").read_bytes())
    locked = sha256(SOURCE[WEIGHTS])
    away = model.home.root.parent / "away"
    blob = f"../../blobs/{sha256(b'[]')}"
    snapshot = f"hub/models--acme--tiny/snapshots/{COMMIT}"
    assert listing("tiny is not whole", [str(problem) for problem in model.source().problems]) == (
        f"""\
tiny is not whole (7 problems):
  missing      modules.json             2 bytes, a link to {blob}, which is not there
  outside-home vocab.txt                leads to {away}, outside the home
  corrupt      config.json              size is 3, locked 22  (sha256 {small[:12]}…)
  corrupt      model.safetensors        sha256 is {digest[:12]}…, locked {locked[:12]}…  (same size)
  unreadable   {snapshot} mode is 0700, other users need o+rx
  unexpected   adapter_config.json      is not locked, and a loader would take it
  mismatch     refs/main                is '{COMMIT}\\n', locked '{COMMIT}'"""
    )


def test_any_other_checksum_is_seen(model: Tiny) -> None:
    """One that is less, or greater."""
    less = set()
    for number in range(8):
        other = b"%022d" % number
        (model.snapshot / "config.json").write_bytes(other)
        assert seen(model.source()) == ["bytes corrupt config.json"]
        less.add(sha256(other) < sha256(SOURCE["config.json"]))
    assert less == {True, False}


def test_files_after_a_wrong_one_are_looked_at(model: Tiny) -> None:
    leave(model.snapshot / "1_Pooling/config.json", model.home)
    replace_by_folder(model.snapshot / "config.json")
    flip(model.snapshot / "tokenizer.json")
    (model.snapshot / "vocab.txt").unlink()
    assert seen(model.source()) == [
        "links outside-home 1_Pooling/config.json",
        "bytes corrupt config.json",
        "bytes missing vocab.txt",
        "bytes corrupt tokenizer.json",
    ]


def test_unsafe_files_are_those_whose_bytes_are_locked(tmp_path: Path) -> None:
    """The lock may have been written by hand."""
    asks = b'{"auto_map": {"AutoModel": "modeling.Model"}}'
    model = tiny(tmp_path / "home", {**SOURCE, "1_Pooling/config.json": asks, "config.json": asks})
    problem = 'code         {}{} auto_map names code to import: {{"AutoModel": "modeling.Model"}}'
    assert [str(found) for found in model.source().problems] == [
        problem.format("1_Pooling/config.json", "   "),
        problem.format("config.json", " " * 13),
    ]
    assert seen(model.source(deep=False)) == []
    for path in ("1_Pooling/config.json", "config.json"):
        resolved(model.snapshot / path)
    flip(model.snapshot / "1_Pooling/config.json")
    assert seen(model.source()) == [
        "bytes corrupt 1_Pooling/config.json",
        "unsafe code config.json",
    ]


def test_a_problem_is_one_line() -> None:
    problem = Problem(aspect="bytes", kind="missing", path="vocab.txt", detail="12 bytes")
    assert str(problem) == "missing      vocab.txt                12 bytes"
