"""Damage to a converted model: its bytes, links and modes, and what no receipt can see."""

import os
import shutil
from collections.abc import Callable

from prep.home.receipt import NAME
from tests.proofs.matrix.damages import (
    asks_for_code,
    away,
    by_absolute_link,
    fp32_called_int8,
    mode,
    rewrite,
    scrambled,
    sealed,
    zero_tail,
)
from tests.proofs.matrix.row import Place, Row
from tests.proofs.matrix.source import ALL
from tests.support.small_homes import flip, lead, replace_by_folder, replace_by_pipe

BYTES = ("test_converted_bytes_are_the_receipts",)
LINKS = ("test_converted_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read_the_converted",)
EXTRAS = ("test_no_loader_takes_an_unlisted_converted_file",)
WEIGHTS = ("test_content_is_right[weights]",)
AGREEMENT = ("test_content_is_right[agreement]",)
AGAIN = "Without --offline, pytest sets the folder aside and converts again."


def _row(
    name: str,
    do: Callable[[Place], object],
    seen_by: tuple[str, ...],
    file: str,
    *words: str,
    group: str = "ir",
    **more: object,
) -> Row:
    given = {"online": "repaired", **more}
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


CONTENT_ROWS = (
    _row(
        "converted settings ask for code",
        sealed(asks_for_code),
        ("test_nothing_converted_asks_to_run_code",),
        "video_preprocessor_config.json",
        "auto_map",
        "pytest converts it again",
        group="unsafe",
        online="repaired",
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
        lambda p: by_absolute_link(p, p.ir),
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
        group="unlocked",
        online="failed",
    )


EXTRA_ROWS = (
    _extra("another IR beside", "openvino_model_old.xml", b"<net/>"),
    _extra("another tokenizer graph", "openvino_tokenizer.xml", b"<net/>"),
    _extra("adapter beside the IR", "adapter_config.json"),
    _extra("added tokens beside the IR", "added_tokens.json"),
    _extra("another module beside the IR", "2_Dense/config.json"),
)


ROWS = (*BYTE_ROWS, *CONTENT_ROWS, *LINK_ROWS, *MODE_ROWS, *EXTRA_ROWS)
