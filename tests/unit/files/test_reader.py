"""JSON and TOML are read strictly, and nothing but a regular file is read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prep.files.reader import (
    DEEPEST,
    LONGEST_LINE,
    Unreadable,
    is_path,
    parse_json,
    parse_toml,
    printable,
    read_bytes,
    read_lines,
)


@pytest.mark.parametrize(
    ("parse", "data", "why"),
    [
        (parse_json, b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (parse_json, b"[NaN]", "the number NaN is not finite"),
        (parse_json, b"[1e999]", "the number 1e999 is not finite"),
        (parse_json, b"[" + b"9" * 401 + b"]", "a number of 401 digits"),
        (parse_json, b"[" * 61 + b"]" * 61, f"nested more than {DEEPEST} deep"),
        (parse_json, b"[" * 100_000, f"nested more than {DEEPEST} deep"),
        (parse_json, rb'["\ud800"]', r"half a character, '\ud800'"),
        (parse_toml, b"a = inf", "the number inf is not finite"),
        (parse_toml, b"a" + b".a" * 40 + b" = 1", "a key of more than 32 parts"),
        (parse_toml, b"a = " + b"9" * 401, "a number of too many digits"),
    ],
    ids=[
        *("key twice", "NaN", "infinite", "digits", "deep", "no end", "half a character"),
        *("inf", "dotted", "digits of TOML"),
    ],
)
def test_what_parsers_read_differently_is_unreadable(
    parse: Callable[[bytes], Any], data: bytes, why: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(data)
    assert str(caught.value) == why


def test_valid_documents_are_read() -> None:
    assert parse_json('{"a": [1, 0.5, "ä", null]}') == {"a": [1, 0.5, "ä", None]}
    assert parse_toml(b"\xef\xbb\xbfa = 1\r\n[b]\nc = [true]\r\n") == {"a": 1, "b": {"c": [True]}}


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "large", "no name"])
def test_what_is_no_regular_file_is_an_error_of_the_system(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a\0b" if kind == "no name" else "file")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b"123")
    with pytest.raises(OSError) as caught:
        read_bytes(path, most=2)
    assert caught.value.strerror


def test_only_lines_that_may_be_objects_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n\nno\n{"torn\n' + b"{" + b"a" * LONGEST_LINE + b'}\n{"b": 2}')
    assert list(read_lines(path)) == [b'{"a": 1}', b'{"b": 2}']


def test_text_of_others_is_printed_escaped_and_cut() -> None:
    assert printable("a\x1b[2Jä") == "a\\x1b[2Jä"
    assert printable("abcdef", 5) == "abcd…"
    assert is_path("a/b") and not is_path("a\0b") and not is_path("") and not is_path(7)
    assert is_path("a" * 4096) and not is_path("a" * 4097)
