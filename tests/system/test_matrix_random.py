"""Any change of any prepared file is a problem, whatever the file, the place and the change."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.small_homes import Tiny, lead, replace_by_folder, replace_by_pipe, tiny

Damage = Callable[[Path, Path, st.DataObject], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(tmp_path_factory.mktemp("whole") / "home")


def change(path: Path, _: Path, data: st.DataObject) -> None:
    """Another byte somewhere."""
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)


def truncate(path: Path, _: Path, data: st.DataObject) -> None:
    os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))


def grow(path: Path, _: Path, data: st.DataObject) -> None:
    path.write_bytes(path.read_bytes() + data.draw(st.binary(min_size=1, max_size=9)))


def insert(path: Path, _: Path, data: st.DataObject) -> None:
    """A byte more in the middle, or before everything."""
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at:])


def swap(path: Path, other: Path, _: st.DataObject) -> None:
    """Each gets the other's content."""
    mine, theirs = path.read_bytes(), other.read_bytes()
    assume(mine != theirs)
    path.write_bytes(theirs)
    other.write_bytes(mine)


def link(path: Path, other: Path, _: st.DataObject) -> None:
    """The other file is found under this one's name."""
    assume(path.read_bytes() != other.read_bytes())
    lead(path, os.path.relpath(other, path.parent))


DAMAGES: dict[str, Damage] = {
    "change": change,
    "truncate": truncate,
    "grow": grow,
    "insert": insert,
    "swap": swap,
    "link": link,
    "remove": lambda path, other, data: path.unlink(),
    "folder": lambda path, other, data: replace_by_folder(path),
    "pipe": lambda path, other, data: replace_by_pipe(path),
}


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_damage_to_any_prepared_file_is_seen(
    whole: Tiny, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = whole.home.root
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    files = [name for name in names if not (root / name).is_symlink()]
    name, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(files))
    damage = data.draw(st.sampled_from(sorted(DAMAGES)))
    assume((root / name).is_file() and (root / name).resolve() != root / other)
    copy = tmp_path_factory.mktemp("damaged") / "home"
    shutil.copytree(root, copy, symlinks=True)
    model = whole.at(copy)
    try:
        DAMAGES[damage](copy / name, copy / other, data)
        assert not (model.source().sound and model.conversion().sound), (damage, name, other)
    finally:
        shutil.rmtree(copy.parent)
    assert whole.source().sound
    assert whole.conversion().sound
