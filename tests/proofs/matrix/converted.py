"""Damage to a converted model: its bytes, links and modes, and what no receipt can see."""

import shutil
from collections.abc import Callable
from pathlib import Path

from prep.home.receipt import NAME
from tests.proofs.matrix.damages import (
    asks_for_code,
    away,
    body,
    by_absolute_link,
    converted_before_the_tokenizer_ir,
    crlf,
    cut,
    fp32_called_int8,
    mode,
    remove,
    rewrite,
    scrambled,
    sealed,
    words_exchanged_in_ir,
    zero_tail,
    zeros,
)
from tests.proofs.matrix.row import Row, Target, kind
from tests.proofs.matrix.source import ALL
from tests.support.small_homes import flip, lead, replace_by_folder, replace_by_pipe

BYTES = ("test_converted_bytes_are_the_receipts",)
LINKS = ("test_converted_links_stay_inside_the_home",)
MODES = ("test_everybody_can_read_the_converted",)
UNLOCKED = ("test_no_loader_takes_an_unlisted_converted_file",)
WEIGHTS = ("test_content_is_right[weights]",)
AGREEMENT = ("test_content_is_right[agreement]",)
TOKENS = ("test_content_is_right[tokenizer]",)
AGAIN = "Without --offline, pytest sets the folder aside and converts again."


_content = kind(group="ir", online="repaired")


def _bytes(
    name: str, file: str, do: Callable[[Target], object], *words: str, **more: object
) -> Row:
    given = {"group": GROUPS.get(file, "config"), **more}
    return _content(name, do, *words, AGAIN, seen_by=BYTES, file=file, **given)


def _file(
    name: str, file: str, change: Callable[[Path], object], *words: str, **more: object
) -> Row:
    """A change of this file of the converted folder."""
    return _bytes(name, file, lambda target: change(target.folder / file), *words, **more)


BIN, XML, TOKENIZER = "openvino_model.bin", "openvino_model.xml", "tokenizer.json"
TOKENIZER_IR = "openvino_tokenizer.xml"
GROUPS = {BIN: "ir", XML: "ir", "openvino_": "ir"} | dict.fromkeys(
    (TOKENIZER, TOKENIZER_IR, "openvino_tokenizer.bin"), "tokenizer"
)
SAME_SIZE = "(same size)"

BYTE_ROWS = (
    _bytes("IR bit flipped", "openvino_", lambda p: flip(p.ir), SAME_SIZE, tasks=ALL),
    _file("IR zero tail", BIN, zero_tail, SAME_SIZE),
    _file("IR truncated", BIN, cut(1000), "size is 1000, locked"),
    _file("IR emptied", BIN, cut(0), "size is 0, locked"),
    _file("IR removed", BIN, remove, "missing"),
    _file("IR a pipe", BIN, replace_by_pipe, "is not a file"),
    _file("IR a folder", BIN, replace_by_folder, "is not a file"),
    _bytes("IR of fp32 in place", BIN,
        lambda p: shutil.copyfile(p.home.stable(p.locked.repo, "fp32") / BIN, p.folder / BIN),
        "size is"),
    _file("IR graph bit flipped", XML, flip, SAME_SIZE),
    _file("IR graph truncated", XML, cut(500), "size is 500"),
    _file("IR graph removed", XML, remove, "missing"),
    _bytes("IR graph and weights swapped", XML,
        lambda p: ((p.folder / XML).rename(p.folder / "x"),
            (p.folder / BIN).rename(p.folder / XML), (p.folder / "x").rename(p.folder / BIN)),
        BIN),
    _file("converted tokenizer changed", TOKENIZER, flip, SAME_SIZE, tasks=ALL),
    _file("converted tokenizer emptied", TOKENIZER, cut(0), "size is 0, locked"),
    _file("converted tokenizer removed", TOKENIZER, remove, "missing"),
    _file("tokenizer IR bit flipped", TOKENIZER_IR, flip, SAME_SIZE, tasks=ALL),
    _file("tokenizer IR removed", TOKENIZER_IR, remove, "missing"),
    _file("tokenizer IR's words removed", "openvino_tokenizer.bin", remove, "missing", tasks=ALL),
    _file("converted config with CRLF", "config.json", body(crlf), "size is"),
    _file("converted modules removed", "modules.json", remove, "missing"),
    _file("converted pooling folder removed", "1_Pooling/config.json",
        lambda path: shutil.rmtree(path.parent), "missing"),
    _file("openvino's own settings changed", "openvino_config.json", flip, SAME_SIZE),
)  # fmt: skip


CONTENT_ROWS = (
    _content("converted before the tokenizer IR, which the entry needs",
        converted_before_the_tokenizer_ir, "its entry names the consumer openvino-genai",
        seen_by=("test_consumer_loads",), file=TOKENIZER_IR, group="tokenizer", online="ready",
        entry={"consumers": '["optimum-intel", "openvino-genai"]'}),
    _content("converted settings ask for code", sealed(asks_for_code), "auto_map",
        "pytest converts it again", seen_by=("test_nothing_converted_asks_to_run_code",),
        file="video_preprocessor_config.json", group="unsafe"),
    _content("fp32 called int8, receipt right", fp32_called_int8,
        "0% of the weights are int8, wanted at least 95%", AGAIN, seen_by=WEIGHTS, file="int8",
        tasks=ALL),
    _content("weights scrambled, receipt right", sealed(lambda p: rewrite(p.ir, scrambled)), AGAIN,
        seen_by=AGREEMENT, file="int8", tasks=ALL, may_see=WEIGHTS),
    _content("tokenizer IR of other words, receipt right", sealed(words_exchanged_in_ir),
        f"{TOKENIZER_IR} answers otherwise", AGAIN, seen_by=TOKENS, file="int8", tasks=ALL,
        group="tokenizer"),
    _content("weights zero, receipt right", sealed(lambda p: rewrite(p.ir, zeros)), AGAIN,
        seen_by=AGREEMENT, file="int8"),
)  # fmt: skip


_links = kind(group="links", seen_by=LINKS, online="repaired")
OUTSIDE, ABSOLUTE = "outside the home", "not there where the home is mounted elsewhere"
LINK_ROWS = (
    _links("IR leads out", lambda p: lead(p.ir, away(p, p.ir)), OUTSIDE, file=BIN),
    _links("IR by an absolute link", lambda p: by_absolute_link(p, p.ir), ABSOLUTE, file=BIN),
    _links("receipt leads out", lambda p: lead(p.folder / NAME, away(p, p.folder / NAME)), OUTSIDE,
        file=NAME),
    _links("stable path is absolute", lambda p: lead(p.stable, p.folder), ABSOLUTE, file="int8"),
)  # fmt: skip


_modes = kind(
    "Services run as other users.",
    group="modes",
    seen_by=MODES,
    file="openvino",
    online="repaired",
)
MODE_ROWS = (
    _modes("IR 0600", mode(lambda p: p.ir, 0o600), "0600", "o+r"),
    _modes("receipt 0640", mode(lambda p: p.folder / NAME, 0o640), "0640"),
    _modes("conversion 0700", mode(lambda p: p.folder, 0o700), "0700", "o+rx"),
    _modes("conversions 0750", mode(lambda p: p.conversions, 0o750), "0750"),
    _modes("converted pooling 0700", mode(lambda p: p.folder / "1_Pooling", 0o700), "0700"),
    _modes("converted tokenizer 0600", mode(lambda p: p.folder / "tokenizer.json", 0o600), "0600"),
    _modes("openvino folder 0700", mode(lambda p: p.home.root / "openvino", 0o700), "0700",
        scope="home"),
)  # fmt: skip


def _unlisted(name: str, file: str, content: bytes = b"{}") -> Row:
    def do(target: Target) -> None:
        path = target.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    words = ("is not locked, and a loader would take it", "take it away by hand, or lock it.")
    return kind(*words, group="unlocked", seen_by=UNLOCKED)(name, do, file=file)


UNLOCKED_ROWS = (
    _unlisted("another IR beside", "openvino_model_old.xml", b"<net/>"),
    _unlisted("another tokenizer graph", "openvino_detokenizer.xml", b"<net/>"),
    _unlisted("adapter beside the IR", "adapter_config.json"),
    _unlisted("added tokens beside the IR", "added_tokens.json"),
    _unlisted("another module beside the IR", "2_Dense/config.json"),
)  # fmt: skip


ROWS = (*BYTE_ROWS, *CONTENT_ROWS, *LINK_ROWS, *MODE_ROWS, *UNLOCKED_ROWS)
