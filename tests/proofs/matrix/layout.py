"""Damage to where the original files lie: names, links, modes, and files that nobody locked."""

import shutil
from collections.abc import Callable
from pathlib import Path

from prep.home.layout import write_text
from tests.proofs.matrix.damages import (
    denied,
    folder_away,
    lead_away,
    mode,
    remove,
    somebodys_folder,
    swap_ref_for_link,
    unlocked,
)
from tests.proofs.matrix.row import Row, kind
from tests.support.small_homes import lead, replace_by_pipe, resolved

LINKS = ("test_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read",)
UNLOCKED = ("test_no_loader_takes_an_unlocked_file",)
REF = ("test_name_leads_to_the_pin",)
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
OUTSIDE = "outside the home"


_reference = kind(
    "Without --offline, pytest writes it anew.",
    group="ref",
    seen_by=REF,
    file="refs/main",
    online="repaired",
)


def _ref(name: str, change: Callable[[Path], object], *words: str, **more: object) -> Row:
    """A change of refs/main."""
    return _reference(name, lambda target: change(target.ref), *words, **more)


def _says(name: str, change: Callable[[str], str], *words: str) -> Row:
    """refs/main with another text, made of the commit."""
    return _reference(
        name, lambda target: write_text(target.ref, change(target.locked.commit)), *words
    )


REF_ROWS = (
    _ref("ref removed", remove, "missing"),
    _ref("refs folder removed", lambda path: shutil.rmtree(path.parent), "missing"),
    _says("ref of another commit", lambda commit: "0" * 40, "0000000000"),
    _says("ref with a newline", lambda commit: f"{commit}\n", "\\n'"),
    _says("ref with a space", lambda commit: f"{commit} ", " '"),
    _says("ref with a BOM", lambda commit: f"\ufeff{commit}", "\\ufeff"),
    _says("ref in capitals", str.upper, "locked"),
    _says("ref shortened", lambda commit: commit[:7], "locked"),
    _says("ref emptied", lambda commit: "", "is '', locked"),
    _says("ref names a branch", lambda commit: "main", "is 'main', locked"),
    _ref("ref is no text", lambda path: path.write_bytes(bytes(40)), "locked"),
    _ref("ref dangles", lambda path: lead(path, "nowhere"), "missing"),
    _reference("ref leads out", swap_ref_for_link, OUTSIDE),
    _ref("ref is a pipe", replace_by_pipe, "is not a file"),
    _ref("ref is endless", lambda path: lead(path, "/dev/zero"), OUTSIDE),
    _ref("ref is a folder", somebodys_folder, "is not a file", online="failed"),
)  # fmt: skip


_links = kind(group="links", seen_by=LINKS)
# What is fetched again, where a link of the weights led out; a folder that leads out is left alone.
FETCHED: dict[str, object] = {"online": "repaired", "fetches": (WEIGHTS,)}
LINK_ROWS = (
    _links("weights link leads out", lambda t: lead_away(t, t.weights), OUTSIDE, file=WEIGHTS,
        **FETCHED),
    _links("weights relative link leads out", lambda t: lead_away(t, t.weights, absolute=False),
        OUTSIDE, file=WEIGHTS, **FETCHED),
    _links("config link is absolute",
        lambda t: lead(t.snapshot / "config.json", (t.snapshot / "config.json").resolve()),
        "not there where the home is mounted elsewhere", file="config.json", online="repaired"),
    _links("blob is a link out", lambda t: lead_away(t, t.weights.resolve()), OUTSIDE,
        file=WEIGHTS, **FETCHED),
    _links("pooling folder leads out", lambda t: folder_away(t, t.snapshot / "1_Pooling"), OUTSIDE,
        file="1_Pooling/config.json"),
    _links("blobs lead out", lambda t: folder_away(t, t.repo / "blobs"), OUTSIDE, file=WEIGHTS),
    _links("snapshot leads out", lambda t: folder_away(t, t.snapshot), OUTSIDE, file=WEIGHTS),
)  # fmt: skip


_modes = kind("Services run as other users.", group="modes", seen_by=MODES, online="repaired")
MODE_ROWS = (
    _modes("weights 0600", mode(lambda p: p.weights.resolve(), 0o600), "0600", "o+r",
        file="blobs/"),
    _modes("config 0640", mode(lambda p: (p.snapshot / "config.json").resolve(), 0o640),
        file="0640"),
    _modes("ref 0600", mode(lambda p: p.ref, 0o600), "0600", file="refs/main"),
    _modes("refs 0700", mode(lambda p: p.ref.parent, 0o700), "0700", "o+rx", file="refs"),
    _modes("snapshot 0750", mode(lambda p: p.snapshot, 0o750), "0750", file="snapshots/"),
    _modes("snapshot cannot be entered", mode(lambda p: p.snapshot, 0o744), "0744",
        file="snapshots/"),
    _modes("snapshots 0700", mode(lambda p: p.snapshot.parent, 0o700), "0700", file="snapshots"),
    _modes("blobs 0700", mode(lambda p: p.repo / "blobs", 0o700), "0700", file="blobs"),
    _modes("repository 0700", mode(lambda p: p.repo, 0o700), "0700", file="hub/models--"),
    _modes("pooling folder 0700", mode(lambda p: p.snapshot / "1_Pooling", 0o700),
        file="1_Pooling"),
    _modes("plain file 0600", lambda p: resolved(p.weights).chmod(0o600), "0600", "o+r",
        file="snapshots/"),
    _modes("hub folder 0711", mode(lambda p: p.home.hub, 0o711), "0711", file="hub", scope="home"),
    _modes("home 0700", mode(lambda p: p.home.root, 0o700), "0700", "chmod o+rx", file="home",
        online="failed", scope="home", may_see=("test_everybody_can_read_the_converted",)),
)  # fmt: skip


_beside = kind("take it away by hand, or lock it.", group="unlocked", seen_by=UNLOCKED)


def _unlocked(name: str, file: str, content: bytes = b"{}", **more: object) -> Row:
    """A file more in the snapshot."""
    words = "is not locked, and a loader would take it"
    return _beside(name, unlocked(file, content), words, file=file, **more)


UNLOCKED_ROWS = (
    _unlocked("adapter beside the weights", "adapter_config.json"),
    _unlocked("added tokens", "added_tokens.json"),
    _unlocked("chat template", "chat_template.jinja", b"{{ 1 }}"),
    _unlocked("another pooling", "2_Dense/config.json"),
    _unlocked("versioned tokenizer", "tokenizer.4.0.0.json"),
    _unlocked("sentencepiece model", "spiece.model", b"\n"),
    _unlocked("generation settings", "generation_config.json"),
    _unlocked("processor", "preprocessor_config.json"),
    _unlocked("sentence-transformers modules beside a reranker", "modules.json", b"[]",
        tasks=("reranker", "seq2seq")),
    _beside("the hub's note denies the tokenizer", denied(TOKENIZER),
        "notes here that there is no such file", file=TOKENIZER),
    _unlocked("another length limit", "sentence_roberta_config.json"),
)  # fmt: skip


ROWS = (*REF_ROWS, *LINK_ROWS, *MODE_ROWS, *UNLOCKED_ROWS)
