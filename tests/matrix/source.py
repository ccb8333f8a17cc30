"""Damage to the original files: bytes, links, modes, names, and files that nobody locked."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from prep.layout import write_text
from tests.homes import flip, lead, replace_by_folder, replace_by_pipe, resolved
from tests.matrix.row import Place, Row

BYTES = ("test_source_is_what_the_lock_says",)
LINKS = ("test_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read",)
EXTRAS = ("test_no_loader_takes_an_unlocked_file",)
REF = ("test_name_leads_to_the_pin",)
ALL = ("embedding", "reranker", "seq2seq")
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Other bytes in place, through whatever links lead there."""
    path.write_bytes(change(path.read_bytes()))


def zero_tail(path: Path) -> None:
    """What a crash of the machine leaves of the last blocks."""
    rewrite(path, lambda body: body[:-4096] + bytes(4096))


def swap(one: Path, other: Path) -> None:
    """Each link leads to the other's file."""
    targets = one.readlink(), other.readlink()
    lead(one, targets[1])
    lead(other, targets[0])


def away(place: Place, path: Path) -> Path:
    """Move what `path` leads to out of the home; gives where it is now."""
    there = place.scratch / "away"
    shutil.move(path.resolve(), there)
    return there


def lead_away(place: Place, path: Path, *, absolute: bool = True) -> None:
    there = away(place, path)
    lead(path, there if absolute else os.path.relpath(there, path.parent))


def folder_away(place: Place, folder: Path) -> None:
    """A whole folder, reached by a link that leaves the home."""
    there = place.scratch / "away"
    shutil.copytree(folder, there)  # its links resolved: nothing is missing there
    shutil.rmtree(folder)
    folder.symlink_to(there)


def somebodys_folder(path: Path) -> None:
    """A folder with something in it where a file of ours belongs."""
    replace_by_folder(path)
    (path / "notes.txt").write_text("somebody's")


def extra(*names: str, body: bytes = b"{}") -> Callable[[Place], None]:
    def do(place: Place) -> None:
        for name in names:
            path = place.snapshot / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    return do


def denied(name: str) -> Callable[[Place], None]:
    """The hub's client once had a 404 for it, from a mirror that was not whole."""

    def do(place: Place) -> None:
        note = place.repo / ".no_exist" / place.locked.commit / name
        note.parent.mkdir(parents=True)
        note.touch()

    return do


def mode(where: Callable[[Place], Path], bits: int) -> Callable[[Place], None]:
    return lambda place: where(place).chmod(bits)


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
        online="healed",
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
        lambda place: rewrite(_vocabulary(place), _two_lines_swapped),
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
        "changed config.json",
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


def _two_lines_swapped(body: bytes) -> bytes:
    lines = body.split(b"\n")
    lines[-3], lines[-2] = lines[-2], lines[-3]
    return b"\n".join(lines)


def _ref(name: str, do: Callable[[Place], object], *words: str, online: str = "healed") -> Row:
    return Row(
        name=name,
        group="ref",
        do=do,
        seen_by=REF,
        file="refs/main",
        words=(
            *words,
            "Without --offline, pytest writes it anew.",
        ),
        online=online,  # type: ignore[arg-type]
    )


def _swap_ref_for_link(place: Place) -> None:
    there = place.scratch / "ref"
    there.write_text(place.locked.commit)
    lead(place.ref, there)


REF_ROWS = (
    _ref("ref removed", lambda place: place.ref.unlink(), "missing"),
    _ref("refs folder removed", lambda place: shutil.rmtree(place.ref.parent), "missing"),
    _ref("ref of another commit", lambda place: write_text(place.ref, "0" * 40), "0000000000"),
    _ref(
        "ref with a newline",
        lambda place: write_text(place.ref, f"{place.locked.commit}\n"),
        "\\n'",
    ),
    _ref("ref with a space", lambda place: write_text(place.ref, f"{place.locked.commit} "), " '"),
    _ref(
        "ref with a BOM",
        lambda place: place.ref.write_bytes(b"\xef\xbb\xbf" + place.locked.commit.encode()),
        "\\ufeff",
    ),
    _ref(
        "ref in capitals",
        lambda place: write_text(place.ref, place.locked.commit.upper()),
        "locked",
    ),
    _ref("ref shortened", lambda place: write_text(place.ref, place.locked.commit[:7]), "locked"),
    _ref("ref emptied", lambda place: write_text(place.ref, ""), "is '', locked"),
    _ref("ref names a branch", lambda place: write_text(place.ref, "main"), "is 'main', locked"),
    _ref("ref is no text", lambda place: place.ref.write_bytes(bytes(40)), "locked"),
    _ref("ref dangles", lambda place: lead(place.ref, "nowhere"), "missing"),
    _ref("ref leads out", _swap_ref_for_link, "outside the home"),
    _ref("ref is a pipe", lambda place: replace_by_pipe(place.ref), "is not a file"),
    _ref("ref is endless", lambda place: lead(place.ref, "/dev/zero"), "outside the home"),
    _ref(
        "ref is a folder", lambda place: somebodys_folder(place.ref), "is not a file", online="red"
    ),
)


def _links(name: str, do: Callable[[Place], object], file: str, *words: str, **more: object) -> Row:
    return Row(
        name=name,
        group="links",
        do=do,
        seen_by=LINKS,
        file=file,
        words=words,
        **more,  # type: ignore[arg-type]
    )


LINK_ROWS = (
    _links(
        "weights link leads out",
        lambda place: lead_away(place, place.weights),
        WEIGHTS,
        "outside the home",
        online="healed",
        fetches=(WEIGHTS,),
    ),
    _links(
        "weights relative link leads out",
        lambda place: lead_away(place, place.weights, absolute=False),
        WEIGHTS,
        "outside the home",
        online="healed",
        fetches=(WEIGHTS,),
    ),
    _links(
        "config link is absolute",
        lambda place: lead(
            place.snapshot / "config.json", (place.snapshot / "config.json").resolve()
        ),
        "config.json",
        "not there where the home is mounted elsewhere",
        online="healed",
    ),
    _links(
        "blob is a link out",
        lambda place: lead_away(place, place.weights.resolve()),
        WEIGHTS,
        "outside the home",
        online="healed",
        fetches=(WEIGHTS,),
    ),
    _links(
        "pooling folder leads out",
        lambda place: folder_away(place, place.snapshot / "1_Pooling"),
        "1_Pooling/config.json",
        "outside the home",
    ),
    _links(
        "snapshot leads out",
        lambda place: folder_away(place, place.snapshot),
        WEIGHTS,
        "outside the home",
    ),
)


def _modes(
    name: str,
    do: Callable[[Place], object],
    file: str,
    *words: str,
    online: str = "healed",
    scope: str = "model",
    may_see: tuple[str, ...] = (),
) -> Row:
    return Row(
        name=name,
        group="modes",
        do=do,
        seen_by=MODES,
        may_see=may_see,
        file=file,
        words=(*words, "Services run as other users."),
        online=online,  # type: ignore[arg-type]
        scope=scope,  # type: ignore[arg-type]
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
    _modes(
        "plain file 0600", lambda p: resolved(p.weights).chmod(0o600), "snapshots/", "0600", "o+r"
    ),
    _modes("hub folder 0711", mode(lambda p: p.home.hub, 0o711), "hub", "0711", scope="home"),
    _modes(
        "home 0700",
        mode(lambda p: p.home.root, 0o700),
        "home",
        "0700",
        "chmod o+rx",
        online="red",
        scope="home",
        may_see=("test_everybody_can_read_the_converted",),
    ),
)


def _extras(name: str, do: Callable[[Place], object], file: str, **more: object) -> Row:
    return Row(
        name=name,
        group="extras",
        do=do,
        seen_by=EXTRAS,
        file=file,
        words=("is not locked, and a loader would take it", "take it away by hand, or lock it."),
        **more,  # type: ignore[arg-type]
    )


EXTRA_ROWS = (
    _extras("adapter beside the weights", extra("adapter_config.json"), "adapter_config.json"),
    _extras("added tokens", extra("added_tokens.json"), "added_tokens.json"),
    _extras("chat template", extra("chat_template.jinja", body=b"{{ 1 }}"), "chat_template.jinja"),
    _extras("another pooling", extra("2_Dense/config.json"), "2_Dense/config.json"),
    _extras("versioned tokenizer", extra("tokenizer.4.0.0.json"), "tokenizer.4.0.0.json"),
    _extras("sentencepiece model", extra("spiece.model", body=b"\n"), "spiece.model"),
    _extras("generation settings", extra("generation_config.json"), "generation_config.json"),
    _extras("processor", extra("preprocessor_config.json"), "preprocessor_config.json"),
    _extras(
        "sentence-transformers modules beside a reranker",
        extra("modules.json", body=b"[]"),
        "modules.json",
        tasks=("reranker", "seq2seq"),
    ),
    Row(
        name="the hub's note denies the tokenizer",
        group="extras",
        do=denied(TOKENIZER),
        seen_by=EXTRAS,
        file=f"{TOKENIZER}",
        words=("notes here that there is no such file", "take it away by hand, or lock it."),
    ),
    _extras("another length limit", extra("sentence_roberta_config.json"), "sentence_roberta_"),
)

ROWS = (*WEIGHT_ROWS, *SMALL_ROWS, *REF_ROWS, *LINK_ROWS, *MODE_ROWS, *EXTRA_ROWS)
