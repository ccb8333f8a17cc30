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
from tests.proofs.matrix.row import Row, Target
from tests.support.small_homes import lead, replace_by_pipe, resolved

LINKS = ("test_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read",)
UNLOCKED = ("test_no_loader_takes_an_unlocked_file",)
REF = ("test_name_leads_to_the_pin",)
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
OUTSIDE = "outside the home"


def _ref(name: str, change: Callable[[Path], object], *words: str, **more: object) -> Row:
    """A change of refs/main."""
    return _reference(name, lambda target: change(target.ref), *words, **more)


def _reference(name: str, do: Callable[[Target], object], *words: str, **more: object) -> Row:
    given = {"online": "repaired", **more}
    words = (*words, "Without --offline, pytest writes it anew.")
    return Row(
        name=name,
        group="ref",
        do=do,
        seen_by=REF,
        file="refs/main",
        words=words,
        **given,  # type: ignore[arg-type]
    )


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
)


def _links(
    name: str, file: str, do: Callable[[Target], object], words: str = OUTSIDE, **more: object
) -> Row:
    return Row(
        name=name,
        group="links",
        do=do,
        seen_by=LINKS,
        file=file,
        words=(words,),
        **more,  # type: ignore[arg-type]
    )


# What is fetched again, where a link of the weights led out; a folder that leads out is left alone.
FETCHED: dict[str, object] = {"online": "repaired", "fetches": (WEIGHTS,)}
LINK_ROWS = (
    _links("weights link leads out", WEIGHTS, lambda t: lead_away(t, t.weights), **FETCHED),
    _links("weights relative link leads out", WEIGHTS,
        lambda t: lead_away(t, t.weights, absolute=False), **FETCHED),
    _links("config link is absolute", "config.json",
        lambda t: lead(t.snapshot / "config.json", (t.snapshot / "config.json").resolve()),
        "not there where the home is mounted elsewhere", online="repaired"),
    _links("blob is a link out", WEIGHTS, lambda t: lead_away(t, t.weights.resolve()), **FETCHED),
    _links("pooling folder leads out", "1_Pooling/config.json",
        lambda t: folder_away(t, t.snapshot / "1_Pooling")),
    _links("blobs lead out", WEIGHTS, lambda t: folder_away(t, t.repo / "blobs")),
    _links("snapshot leads out", WEIGHTS, lambda t: folder_away(t, t.snapshot)),
)  # fmt: skip


def _modes(
    name: str, do: Callable[[Target], object], file: str, *words: str, **more: object
) -> Row:
    given = {"online": "repaired", **more}
    return Row(
        name=name,
        group="modes",
        do=do,
        seen_by=MODES,
        file=file,
        words=(*words, "Services run as other users."),
        **given,  # type: ignore[arg-type]
    )


MODE_ROWS = (
    _modes("weights 0600", mode(lambda p: p.weights.resolve(), 0o600), "blobs/", "0600", "o+r"),
    _modes("config 0640", mode(lambda p: (p.snapshot / "config.json").resolve(), 0o640), "0640"),
    _modes("ref 0600", mode(lambda p: p.ref, 0o600), "refs/main", "0600"),
    _modes("refs 0700", mode(lambda p: p.ref.parent, 0o700), "refs", "0700", "o+rx"),
    _modes("snapshot 0750", mode(lambda p: p.snapshot, 0o750), "snapshots/", "0750"),
    _modes("snapshot cannot be entered", mode(lambda p: p.snapshot, 0o744), "snapshots/", "0744"),
    _modes("snapshots 0700", mode(lambda p: p.snapshot.parent, 0o700), "snapshots", "0700"),
    _modes("blobs 0700", mode(lambda p: p.repo / "blobs", 0o700), "blobs", "0700"),
    _modes("repository 0700", mode(lambda p: p.repo, 0o700), "hub/models--", "0700"),
    _modes("pooling folder 0700", mode(lambda p: p.snapshot / "1_Pooling", 0o700), "1_Pooling"),
    _modes("plain file 0600", lambda p: resolved(p.weights).chmod(0o600), "snapshots/", "0600",
        "o+r"),
    _modes("hub folder 0711", mode(lambda p: p.home.hub, 0o711), "hub", "0711", scope="home"),
    _modes("home 0700", mode(lambda p: p.home.root, 0o700), "home", "0700", "chmod o+rx",
        online="failed", scope="home", may_see=("test_everybody_can_read_the_converted",)),
)  # fmt: skip


def _unlocked(name: str, file: str, content: bytes = b"{}", **more: object) -> Row:
    """A file more in the snapshot."""
    return Row(
        name=name,
        group="unlocked",
        do=unlocked(file, content),
        seen_by=UNLOCKED,
        file=file,
        words=("is not locked, and a loader would take it", "take it away by hand, or lock it."),
        **more,  # type: ignore[arg-type]
    )


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
    Row(name="the hub's note denies the tokenizer", group="unlocked", do=denied(TOKENIZER),
        seen_by=UNLOCKED, file=TOKENIZER,
        words=("notes here that there is no such file", "take it away by hand, or lock it.")),
    _unlocked("another length limit", "sentence_roberta_config.json"),
)  # fmt: skip


ROWS = (*REF_ROWS, *LINK_ROWS, *MODE_ROWS, *UNLOCKED_ROWS)
