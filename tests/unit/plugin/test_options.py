"""The options: their names are known to the entry point, their values are read strictly."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from prep.plugin import entry, options
from prep.settings import Shard


def test_the_entry_point_knows_every_option() -> None:
    found: dict[str, bool] = {}  # by name, whether it takes a value in the next argument

    def add(name: str, **how: object) -> None:
        found[name] = how.get("action") != "store_true" and how.get("nargs") != "?"

    group = SimpleNamespace(addoption=add)
    parser = SimpleNamespace(getgroup=lambda *names: group, addini=lambda *names, **how: None)
    options.add_options(parser)  # type: ignore[arg-type]
    assert found.keys() == entry.OPTIONS
    assert {name for name, value in found.items() if value} == entry.WITH_VALUE


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (options._names, "a, b,,c ", ["a", "b", "c"]),
        (options._hub, "sample", "sample"),
        (options._hub, "https://mirror.example/hf", "https://mirror.example/hf"),
        (options._shard, "0/3", Shard(index=0, count=3)),
        (options._shard, "auto/3", Shard(index=None, count=3)),
        (options._seconds, "0.5", 0.5),
    ],
)
def test_a_value_is_read(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (options._hub, "ftp://hub.example", "must be a URL"),
        (options._shard, "3/3", "must be I/N, I from 0 and below N"),
        (options._shard, "1", "must be I/N"),
        (options._shard, "auto/0", "must be I/N"),
        (options._shard, "-1/3", "must be I/N"),
        (options._seconds, "0", "must be a number of seconds above 0"),
        (options._seconds, "inf", "must be a number of seconds above 0"),
        (options._seconds, "soon", "must be a number of seconds above 0"),
    ],
)
def test_another_value_is_refused(read: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        read(text)


def test_a_path_becomes_absolute_and_keeps_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("/")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert options._path("link/../x") == tmp_path / "x"
    assert options._path("link") == tmp_path / "link"
    assert options._path("~/models") == Path("/home/somebody/models")
