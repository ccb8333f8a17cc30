"""Whatever is in a file of somebody else's, a run ends with one of our errors, and soon."""

import ast
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prep.home.layout import make_folder
from tests.proofs.fuzz.hostile import extremes, inputs
from tests.proofs.fuzz.readers import READERS, TRUSTED, Reader, outcome, written
from tests.support.paths import ROOT

EXAMPLES = 15
MOST = 20_000  # bytes of an extreme; the proof takes a megabyte
SECONDS, BYTES = 4.0, 100_000_000  # what one such file may take, with memory being traced
# The forms, once each; of other readers every sixth extreme, and all of them in the proof.
ALL_OF_THEM = ("catalogue", "lock", "ledger", "safetensors header", "config.json, what it asks")

by_name = pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that other users may enter, as a home."""
    made = tmp_path / "folder"
    make_folder(made)
    return made


def placed(reader: Reader, folder: Path) -> bytes:
    """Make what lies around the file; gives a valid one, which is read and found right."""
    reader.prepare(folder)
    seed = reader.seed(folder)
    written(reader, folder, seed)
    assert outcome(reader, folder) == "read"
    return seed


@by_name
def test_a_file_that_was_changed_is_told_of(reader: Reader, folder: Path) -> None:
    seed = placed(reader, folder)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        written(reader, folder, data.draw(inputs(seed, reader.form)))
        outcome(reader, folder)

    run()


@by_name
def test_a_file_that_is_hard_to_read_takes_no_long_time(reader: Reader, folder: Path) -> None:
    seed = placed(reader, folder)
    slow, large = {}, {}
    made = list(extremes(seed, reader.form, MOST))
    for name, data in made if reader.name in ALL_OF_THEM else made[::6]:
        written(reader, folder, data)
        tracemalloc.start()
        began = time.process_time()
        outcome(reader, folder)
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        slow |= {name: took} if took > SECONDS else {}
        large |= {name: peak} if peak > BYTES else {}
    assert (slow, large) == ({}, {})


def folder_in_place(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def closed(path: Path) -> None:
    path.touch(0o000)


def sparse(path: Path) -> None:
    """A terabyte of nothing on the disk; a safetensors header of 2**63 bytes."""
    with path.open("wb") as file:
        file.write((2**63).to_bytes(8, "little"))
        file.truncate(1 << 40)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


INSTEAD: tuple[Callable[[Path], None], ...] = (
    *(os.mkfifo, folder_in_place, loop, dangling, closed, sparse, device),
)


@by_name
def test_what_is_no_file_is_never_waited_for(reader: Reader, folder: Path) -> None:
    placed(reader, folder)
    path = reader.path(folder)
    failed: dict[str, BaseException] = {}
    for put in INSTEAD:
        remove(path)
        put(path)
        thread = threading.Thread(target=read, args=(reader, folder, put, failed), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), f"{put.__name__}: still waiting"
    remove(path)
    assert failed == {}


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def read(
    reader: Reader, folder: Path, put: Callable[[Path], None], failed: dict[str, BaseException]
) -> None:
    try:
        outcome(reader, folder)
    except OSError as error:  # told by whoever asked for it, with its place
        if not reader.name.startswith(("ready.json, by a run", "summary", "history", *LOOKS)):
            failed[put.__name__] = error
    except BaseException as error:
        failed[put.__name__] = error


# These raise `OSError`, as their readers of the files have it.
LOOKS = ("safetensors", "index", "config", "modules.json, what it", "tokenizer_config", "events")


READING = frozenset(
    {
        *("read_text", "read_bytes", "read_lines", "read_json", "read_toml", "open", "open_file"),
        *("parse_json", "parse_toml", "loads", "load", "fdopen", "_contents"),
    }
)


def calls(path: Path) -> Iterator[str]:
    """The functions of a module in which something is opened or parsed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            name = node.func if isinstance(node, ast.Call) else None
            called = getattr(name, "attr", None) or getattr(name, "id", None)
            if called in READING:
                yield f"{path.relative_to(ROOT)}:{function.name}"


def test_no_reader_is_forgotten() -> None:
    known = {place for reader in READERS for place in reader.reads}
    modules = [
        *(ROOT / "prep").rglob("*.py"),
        *(ROOT / "model_tests").glob("*.py"),
        ROOT / "deploy" / "ready.py",
    ]
    found = {place for module in modules for place in calls(module)}
    trusted = {place for place in found if place in TRUSTED or place.partition(":")[0] in TRUSTED}
    assert sorted(found - known - trusted) == [], "each needs a row in tests/proofs/fuzz/readers.py"
    stale = {place for place in TRUSTED if not any(reader.startswith(place) for reader in found)}
    assert sorted(stale) == [], "trusted, and nothing reads there"
