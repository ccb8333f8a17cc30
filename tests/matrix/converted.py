"""Damage to a converted model: bytes, receipt, links, and what no receipt can see."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prep.digest import digest_file
from prep.layout import point_link
from prep.lock import LockedFile
from prep.receipt import NAME, Receipt, Recipe, read_receipt
from tests.homes import flip, lead, replace_by_folder, replace_by_pipe
from tests.matrix.row import Place, Row
from tests.matrix.source import ALL, away, mode, rewrite, zero_tail

BYTES = ("test_converted_bytes_are_the_receipts",)
RECEIPT = ("test_receipt_names_the_pin",)
LINKS = ("test_converted_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read_the_converted",)
EXTRAS = ("test_no_loader_takes_an_unlisted_converted_file",)
WEIGHTS = ("test_content_is_right[weights]",)
AGREEMENT = ("test_content_is_right[agreement]",)
AGAIN = "Without --offline, pytest sets the folder aside and converts again."


def reseal(place: Place, recipe: Recipe | None = None) -> None:
    """A receipt that is right in every byte for what lies there, and the folder named by it."""
    folder = place.folder
    old = read_receipt(folder)
    files = tuple(
        LockedFile(path=path.relative_to(folder).as_posix(), size=got.size, sha256=got.sha256)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (NAME, "notes.txt")
        for got in [digest_file(path)]
    )
    new = Receipt(recipe=recipe or old.recipe, files=files, content=old.content, made=old.made)
    (folder / NAME).write_text(new.render(), encoding="utf-8")
    if new.recipe.digest != folder.name:
        folder.rename(folder.with_name(new.recipe.digest))
        point_link(place.stable, new.recipe.digest)


def sealed(do: Callable[[Place], object]) -> Callable[[Place], None]:
    """The deed, and a receipt that knows of it."""

    def deed(place: Place) -> None:
        do(place)
        reseal(place)

    return deed


def other_recipe(**changes: object) -> Callable[[Place], None]:
    """A whole conversion by another recipe, finished and sealed."""

    def do(place: Place) -> None:
        recipe = read_receipt(place.folder).recipe
        reseal(place, replace(recipe, **changes))  # type: ignore[arg-type]

    return do


def fp32_called_int8(place: Place) -> None:
    """float32 weights behind the int8 path."""
    fp32 = place.home.stable(place.locked.repo, "fp32")
    for path in fp32.glob("openvino_*"):
        shutil.copyfile(path, place.folder / path.name)
    reseal(place)


def half(place: Place) -> None:
    """What a kill in the middle of an export leaves: files, no receipt."""
    (place.folder / NAME).unlink()
    place.ir.unlink()


def scrambled(body: bytes) -> bytes:
    """Other numbers of the same kind: every second block of 64 bytes changes places."""
    blocks = [body[at : at + 64] for at in range(0, len(body), 64)]
    for at in range(0, len(blocks) - 3, 2):
        if len(blocks[at]) == len(blocks[at + 2]):
            blocks[at], blocks[at + 2] = blocks[at + 2], blocks[at]
    return b"".join(blocks)


def source_of_other_bytes(place: Place) -> None:
    recipe = read_receipt(place.folder).recipe
    reseal(place, replace(recipe, source=dict(recipe.source) | {"config.json": "0" * 64}))


def receipt_edited(change: Callable[[str], str]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        path = place.folder / NAME
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode())

    return do


def limit_changed(place: Place) -> None:
    path = place.folder / "sentence_bert_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"max_seq_length": 8}), encoding="utf-8")


def of_the_neighbour(place: Place) -> None:
    """The stable path leads to another model's conversion, whole and sealed."""
    home, theirs = place.home, "theirs/model"
    recipe = replace(read_receipt(place.folder).recipe, repo=theirs)
    folder = home.conversions(theirs) / recipe.digest
    shutil.copytree(place.folder, folder)
    receipt = replace(read_receipt(place.folder), recipe=recipe)
    (folder / NAME).write_text(receipt.render(), encoding="utf-8")
    lead(place.stable, os.path.relpath(folder, place.stable.parent))


def conversion_away(place: Place) -> None:
    folder = place.folder
    there = place.scratch / "conversion"
    shutil.move(folder, there)
    lead(place.stable, there)


def renamed_folder(place: Place) -> None:
    folder = place.folder
    folder.rename(folder.with_name("f" * 64))
    point_link(place.stable, "f" * 64)


def _row(
    name: str,
    do: Callable[[Place], object],
    seen_by: tuple[str, ...],
    file: str,
    *words: str,
    group: str = "ir",
    **more: object,
) -> Row:
    given = {"online": "healed", **more}
    return Row(name=name, group=group, do=do, seen_by=seen_by, file=file, words=words, **given)  # type: ignore[arg-type]


def _bytes(name: str, do: Callable[[Place], object], file: str, *words: str, **more: object) -> Row:
    return _row(name, do, BYTES, file, *words, AGAIN, **more)


BIN, XML = "openvino_model.bin", "openvino_model.xml"

BYTE_ROWS = (
    _bytes("IR bit flipped", lambda p: flip(p.ir), "openvino_", "(same size)", tasks=ALL),
    _bytes("IR zero tail", lambda p: zero_tail(p.ir), BIN, "(same size)"),
    _bytes("IR truncated", lambda p: os.truncate(p.ir, 1000), BIN, "size is 1000, locked"),
    _bytes("IR emptied", lambda p: os.truncate(p.ir, 0), BIN, "size is 0, locked"),
    _bytes("IR removed", lambda p: p.ir.unlink(), BIN, "missing"),
    _bytes("IR a pipe", lambda p: replace_by_pipe(p.ir), BIN, "is not a file"),
    _bytes("IR a folder", lambda p: replace_by_folder(p.ir), BIN, "is not a file"),
    _bytes(
        "IR of fp32 in place",
        lambda p: shutil.copyfile(p.home.stable(p.locked.repo, "fp32") / BIN, p.folder / BIN),
        BIN,
        "size is",
    ),
    _bytes("IR graph bit flipped", lambda p: flip(p.folder / XML), XML, "(same size)"),
    _bytes("IR graph truncated", lambda p: os.truncate(p.folder / XML, 500), XML, "size is 500"),
    _bytes("IR graph removed", lambda p: (p.folder / XML).unlink(), XML, "missing"),
    _bytes(
        "IR graph and weights swapped",
        lambda p: (
            (p.folder / XML).rename(p.folder / "x"),
            (p.folder / BIN).rename(p.folder / XML),
            (p.folder / "x").rename(p.folder / BIN),
        ),
        XML,
        BIN,
    ),
    _bytes(
        "converted tokenizer changed",
        lambda p: flip(p.folder / "tokenizer.json"),
        "tokenizer.json",
        "(same size)",
        group="tokenizer",
        tasks=ALL,
    ),
    _bytes(
        "converted tokenizer emptied",
        lambda p: os.truncate(p.folder / "tokenizer.json", 0),
        "tokenizer.json",
        "size is 0, locked",
        group="tokenizer",
    ),
    _bytes(
        "converted tokenizer removed",
        lambda p: (p.folder / "tokenizer.json").unlink(),
        "tokenizer.json",
        "missing",
        group="tokenizer",
    ),
    _bytes(
        "converted config with CRLF",
        lambda p: rewrite(p.folder / "config.json", lambda b: b.replace(b"\n", b"\r\n")),
        "config.json",
        "size is",
        group="config",
    ),
    _bytes(
        "converted modules removed",
        lambda p: (p.folder / "modules.json").unlink(),
        "modules.json",
        "missing",
        group="config",
    ),
    _bytes(
        "converted pooling folder removed",
        lambda p: shutil.rmtree(p.folder / "1_Pooling"),
        "1_Pooling/config.json",
        "missing",
        group="config",
    ),
    _bytes(
        "openvino's own settings changed",
        lambda p: flip(p.folder / "openvino_config.json"),
        "openvino_config.json",
        "(same size)",
        group="config",
    ),
)


def _receipt(
    name: str, do: Callable[[Place], object], *words: str, file: str = NAME, **more: object
) -> Row:
    words = (*words, "Without --offline, pytest converts it again.")
    return _row(name, do, RECEIPT, file, *words, **{"group": "receipt", **more})


UNFINISHED = "the conversion was never finished"
CHANGED = "it was changed after it was written"

RECEIPT_ROWS = (
    _receipt("half a conversion", half, UNFINISHED, tasks=ALL),
    _receipt("receipt removed", lambda p: (p.folder / NAME).unlink(), UNFINISHED),
    _receipt("receipt emptied", lambda p: os.truncate(p.folder / NAME, 0), "cannot be read"),
    _receipt("receipt torn", lambda p: os.truncate(p.folder / NAME, 700), "cannot be read"),
    _receipt("receipt a pipe", lambda p: replace_by_pipe(p.folder / NAME), "is not a file"),
    _receipt("receipt a folder", lambda p: replace_by_folder(p.folder / NAME), "is not a file"),
    _receipt("receipt no JSON", receipt_edited(lambda text: f"{text}}}"), "cannot be read"),
    _receipt("receipt a list", receipt_edited(lambda text: "[]"), "must be a table"),
    _receipt("receipt with CRLF", receipt_edited(lambda text: text.replace("\n", "\r\n")), CHANGED),
    _receipt(
        "receipt's date changed",
        receipt_edited(lambda text: text.replace('"at": "2', '"at": "3')),
        CHANGED,
    ),
    _receipt(
        "receipt's agreement changed",
        receipt_edited(lambda text: text.replace('"agreement": 0.9', '"agreement": 0.8')),
        CHANGED,
    ),
    _receipt(
        "receipt of a later version",
        receipt_edited(lambda text: text.replace('"receipt-version": 1', '"receipt-version": 2')),
        "receipt-version",
    ),
    _receipt(
        "receipt of another repository",
        other_recipe(repo="theirs/model"),
        "repo is theirs/model",
        online="ready",
    ),
    _receipt(
        "receipt of another commit",
        other_recipe(commit="0" * 40),
        f"commit is {'0' * 40}",
        online="ready",
    ),
    _receipt(
        "receipt of another precision",
        other_recipe(precision="fp16"),
        "precision is fp16, wanted int8",
        online="ready",
    ),
    _receipt(
        "receipt of another task",
        other_recipe(task="reranker"),
        "task is 'reranker', wanted 'embedding'",
        online="ready",
    ),
    _receipt(
        "receipt of other options",
        other_recipe(options={"weights": {"bits": 8, "sym": True}, "converter": 1}),
        "options is",
        online="ready",
    ),
    _receipt(
        "receipt of other source bytes",
        source_of_other_bytes,
        "it was made from other bytes than the lock names",
        online="ready",
    ),
    _receipt("recipe's folder renamed", renamed_folder, "its folder ffffffff"),
    _receipt(
        "tokenizer emptied, receipt right",
        sealed(lambda p: (p.folder / "tokenizer.json").write_text("{}")),
        "it lists another tokenizer.json than the lock",
        group="tokenizer",
    ),
    _receipt(
        "tokenizer left out, receipt right",
        sealed(lambda p: [(p.folder / n).unlink() for n in ("tokenizer.json", "vocab.txt")]),
        "it lists another tokenizer.json than the lock",
        "it lists another vocab.txt than the lock",
        group="tokenizer",
    ),
    _receipt(
        "modules left out, receipt right",
        sealed(lambda p: (p.folder / "modules.json").unlink()),
        "it lists another modules.json than the lock",
        group="config",
    ),
    _receipt(
        "length limit changed, receipt right",
        sealed(limit_changed),
        "it lists another sentence_bert_config.json than the lock",
        group="config",
    ),
    _receipt(
        "never converted",
        lambda p: (shutil.rmtree(p.folder), p.stable.unlink()),
        "never converted",
        file="int8",
        online="ready",
    ),
    _receipt(
        "stable path removed",
        lambda p: p.stable.unlink(),
        "never converted",
        file="int8",
        online="ready",
        group="links",
    ),
    _receipt(
        "stable path dangles",
        lambda p: lead(p.stable, "0" * 64),
        "which is not there",
        file="int8",
        group="links",
    ),
    _receipt(
        "stable path in a circle",
        lambda p: lead(p.stable, "int8"),
        "which is not there",
        file="int8",
        group="links",
    ),
    _receipt(
        "stable path leads out", conversion_away, "outside the home", file="int8", group="links"
    ),
    _receipt(
        "stable path leads to the neighbour's",
        of_the_neighbour,
        "repo is theirs/model",
        file=NAME,
        group="links",
        online="ready",
    ),
    _receipt(
        "stable path leads to fp32",
        lambda p: lead(p.stable, p.home.stable(p.locked.repo, "fp32").readlink()),
        "precision is fp32, wanted int8",
        group="links",
        online="ready",
    ),
    _receipt(
        "stable path a file",
        lambda p: (p.stable.unlink(), p.stable.write_text("mine")),
        "receipt.json",
        group="links",
    ),
    _receipt(
        "stable path an empty folder",
        lambda p: (p.stable.unlink(), p.stable.mkdir()),
        UNFINISHED,
        group="links",
    ),
    _receipt(
        "conversion folder emptied",
        lambda p: [shutil.rmtree(x) if x.is_dir() else x.unlink() for x in p.folder.iterdir()],
        UNFINISHED,
    ),
)


def asks_for_code(place: Place) -> None:
    """In a file that no original has, so that nothing but its own content tells."""
    told = {"auto_map": {"AutoModel": "theirs.Model"}}
    (place.folder / "video_preprocessor_config.json").write_text(json.dumps(told))


CONTENT_ROWS = (
    _row(
        "converted settings ask for code",
        sealed(asks_for_code),
        ("test_nothing_converted_asks_to_run_code",),
        "video_preprocessor_config.json",
        "auto_map",
        group="hazards",
        online="healed",
    ),
    _row(
        "fp32 called int8, receipt right",
        fp32_called_int8,
        WEIGHTS,
        "int8",
        "0% of the weights are int8, wanted at least 95%",
        AGAIN,
        tasks=ALL,
    ),
    _row(
        "weights scrambled, receipt right",
        sealed(lambda p: rewrite(p.ir, scrambled)),
        AGREEMENT,
        "int8",
        AGAIN,
        tasks=ALL,
        may_see=WEIGHTS,
    ),
    _row(
        "weights zero, receipt right",
        sealed(lambda p: rewrite(p.ir, lambda b: bytes(len(b)))),
        AGREEMENT,
        "int8",
        AGAIN,
    ),
)

LINK_ROWS = (
    _row(
        "IR leads out",
        lambda p: lead(p.ir, away(p, p.ir)),
        LINKS,
        BIN,
        "outside the home",
        group="links",
    ),
    _row(
        "IR by an absolute link",
        lambda p: _absolute(p, p.ir),
        LINKS,
        BIN,
        "not there where the home is mounted elsewhere",
        group="links",
    ),
    _row(
        "receipt leads out",
        lambda p: lead(p.folder / NAME, away(p, p.folder / NAME)),
        LINKS,
        NAME,
        "outside the home",
        group="links",
    ),
    _row(
        "stable path is absolute",
        lambda p: lead(p.stable, p.folder),
        LINKS,
        "int8",
        "not there where the home is mounted elsewhere",
        group="links",
    ),
)


def _absolute(place: Place, path: Path) -> None:
    there = path.with_name("elsewhere.bin")
    path.rename(there)
    path.symlink_to(there)


def _modes(name: str, do: Callable[[Place], object], *words: str, **more: object) -> Row:
    return _row(
        name, do, MODES, "openvino", *words, "Services run as other users.", group="modes", **more
    )


MODE_ROWS = (
    _modes("IR 0600", mode(lambda p: p.ir, 0o600), "0600", "o+r"),
    _modes("receipt 0640", mode(lambda p: p.folder / NAME, 0o640), "0640"),
    _modes("conversion 0700", mode(lambda p: p.folder, 0o700), "0700", "o+rx"),
    _modes("conversions 0750", mode(lambda p: p.conversions, 0o750), "0750"),
    _modes("converted pooling 0700", mode(lambda p: p.folder / "1_Pooling", 0o700), "0700"),
    _modes("converted tokenizer 0600", mode(lambda p: p.folder / "tokenizer.json", 0o600), "0600"),
    _modes(
        "openvino folder 0700",
        mode(lambda p: p.home.root / "openvino", 0o700),
        "0700",
        scope="home",
    ),
)


def _extra(name: str, file: str, body: bytes = b"{}") -> Row:
    def do(place: Place) -> None:
        path = place.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    return _row(
        name,
        do,
        EXTRAS,
        file,
        "is not locked, and a loader would take it",
        "take it away by hand, or lock it.",
        group="extras",
        online="red",
    )


EXTRA_ROWS = (
    _extra("another IR beside", "openvino_model_old.xml", b"<net/>"),
    _extra("another tokenizer graph", "openvino_tokenizer.xml", b"<net/>"),
    _extra("adapter beside the IR", "adapter_config.json"),
    _extra("added tokens beside the IR", "added_tokens.json"),
    _extra("another module beside the IR", "2_Dense/config.json"),
)

ROWS = (*BYTE_ROWS, *RECEIPT_ROWS, *CONTENT_ROWS, *LINK_ROWS, *MODE_ROWS, *EXTRA_ROWS)
