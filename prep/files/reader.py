"""Strict readers, with limits, of files and answers that somebody else wrote.

What cannot be opened or is no file is an `OSError`; what was read and is invalid is `Unreadable`. A
pipe is never waited for. JSON and TOML are read strictly: only UTF-8, no key twice (parsers differ
in which value they take), finite numbers, valid Unicode, and nothing nested so deep that recursion
fails. Not for what libraries read as well: what they accept must be searched, see
`prep.files.unsafe`.
"""

import errno
import json
import math
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 1 << 28  # of a file that is read whole; a lock of a thousand models has one megabyte
LONGEST_LINE = 1 << 20  # bytes; a line of ours has some hundred
LONGEST_PATH = 4096  # bytes, as the kernel has it
DEEPEST = 60  # tables in lists in tables; what we write has eight
LONGEST_NUMBER = 400  # digits; a float64 written out has at most 309 before the point
MOST_PARTS = 32  # of a dotted TOML key, whose parser takes the square of them
# Anywhere in the text, also in a string: none of ours has so many.
DOTTED = re.compile(rf"""(?:\.[ \t]*+(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+){{{MOST_PARTS},}}""")


class Unreadable(ValueError):
    """What was read is invalid; the text says why."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """A whole regular file. Raises `OSError`, with ``strerror``."""
    with open_file(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"File too large, {size} bytes", str(path))
        data: bytes = handle.read(size)  # not `most`: so much memory would be allocated first
        return data


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that may be JSON objects of ours, as bytes.

    Only of its first `MOST_BYTES`. Raises `OSError`.
    """
    with open_file(path) as handle:
        whole = True  # whether the next piece begins a line
        while handle.tell() < MOST_BYTES and (piece := handle.readline(LONGEST_LINE)):
            line = piece.strip()
            if whole and line.startswith(b"{") and line.endswith(b"}"):
                yield line
            whole = piece.endswith(b"\n")


def open_file(path: Path) -> Any:
    """A regular file, open for reading bytes. Raises `OSError` for everything else."""
    try:
        # A pipe that nobody writes to would block.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:  # NUL, a lone surrogate
        raise OSError(errno.EINVAL, "Not a file's name", repr(path)) from None
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:  # Ctrl-C too: nothing else would close the handle
        os.close(handle)
        raise


def read_json(path: Path) -> Any:
    """A JSON file, read strictly. Raises `OSError` and `Unreadable`."""
    return parse_json(read_bytes(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, read strictly. Raises `OSError` and `Unreadable`."""
    return parse_toml(read_bytes(path))


def parse_json(data: bytes | str) -> Any:
    """A JSON document, read strictly. Raises `Unreadable`."""
    try:
        value = json.loads(
            data if isinstance(data, str) else data.decode(),
            object_pairs_hook=_once,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_float,
        )
    except RecursionError:
        _too_deep()
    except ValueError as error:  # not UTF-8, not JSON, and our own
        raise Unreadable(str(error)) from None
    return _checked(value)


def parse_toml(data: bytes) -> dict[str, Any]:
    """A TOML document, read strictly. Raises `Unreadable`."""
    try:
        text = data.decode("utf-8-sig")  # editors of Windows begin a file with a mark
        if DOTTED.search(text):
            raise Unreadable(f"a key of more than {MOST_PARTS} parts")
        value = tomllib.loads(text.replace("\r\n", "\n"), parse_float=_float)
    except RecursionError:
        _too_deep()
    except ValueError as error:
        raise Unreadable(str(error)) from None
    _checked(value)
    return value


def is_path(text: object) -> bool:
    """Whether a text can be a path at all, which need not exist."""
    if not isinstance(text, str) or not text or "\0" in text:
        return False
    try:
        return len(os.fsencode(text)) <= LONGEST_PATH
    except UnicodeEncodeError:
        return False


def printable(text: str, most: int = 200) -> str:
    """Somebody else's text for one line of a terminal: control characters are escaped."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def duplicate_key(pairs: list[tuple[str, Any]]) -> str | None:
    """A key that is there twice; parsers differ in which value they take."""
    if len(dict(pairs)) == len(pairs):
        return None
    return Counter(key for key, _ in pairs).most_common(1)[0][0]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := duplicate_key(pairs)) is not None:
        raise Unreadable(f"the key {twice[:40]!a} appears twice")
    return dict(pairs)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unreadable(f"the number {text[:40]} is not finite")
    return number


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise Unreadable(f"a number of {len(text)} digits")
    return int(text)


def _too_deep() -> NoReturn:
    raise Unreadable(f"nested more than {DEEPEST} deep") from None


def _checked(value: Any) -> Any:
    """The value, if its depth and its texts are valid; without recursion."""
    level = [value]
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper += item
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
            elif isinstance(item, str) and not item.isascii():
                try:
                    item.encode()
                except UnicodeEncodeError as error:
                    raise Unreadable(f"half a character, {item[error.start]!a}") from None
            elif isinstance(item, int) and abs(item) >= 10**LONGEST_NUMBER:  # TOML's have no hook
                raise Unreadable("a number of too many digits")
        if not deeper:
            return value
        level = deeper
    _too_deep()
