"""Damage to the original files and their ref is found, as what it is and where it is."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prep.home.layout import write_text
from tests.support.small_homes import (
    COMMIT,
    OTHER_COMMIT,
    SOURCE,
    Tiny,
    as_another_user,
    flip,
    lead,
    leave,
    place_source,
    replace_by_folder,
    replace_by_pipe,
    seen,
    sha256,
    tiny,
    write_bytes,
)

REPO = "hub/models--acme--tiny"
STABLE = "openvino/acme--tiny/int8"
WEIGHTS = "model.safetensors"


def weights(model: Tiny) -> Path:
    return model.snapshot / WEIGHTS


DAMAGE: dict[str, tuple[Callable[[Tiny], object], str]] = {
    "byte changed": (lambda t: flip(weights(t)), f"bytes corrupt {WEIGHTS}"),
    "truncated": (lambda t: os.truncate(weights(t), 700), f"bytes corrupt {WEIGHTS}"),
    "emptied": (lambda t: os.truncate(weights(t), 0), f"bytes corrupt {WEIGHTS}"),
    "grown": (lambda t: os.truncate(weights(t), 1300), f"bytes corrupt {WEIGHTS}"),
    "missing": (lambda t: weights(t).unlink(), f"bytes missing {WEIGHTS}"),
    "missing in a folder": (
        lambda t: (t.snapshot / "1_Pooling/config.json").unlink(),
        "bytes missing 1_Pooling/config.json",
    ),
    "dangling": (lambda t: weights(t).resolve().unlink(), f"bytes missing {WEIGHTS}"),
    "loop": (lambda t: lead(weights(t), WEIGHTS), f"bytes missing {WEIGHTS}"),
    "link out": (lambda t: leave(weights(t), t.home), f"links outside-home {WEIGHTS}"),
    "absolute link": (
        lambda t: lead(weights(t), weights(t).resolve()),
        f"links absolute-link {WEIGHTS}",
    ),
    "folder": (lambda t: replace_by_folder(weights(t)), f"bytes corrupt {WEIGHTS}"),
    "pipe": (lambda t: replace_by_pipe(weights(t)), f"bytes corrupt {WEIGHTS}"),
    "no ref": (lambda t: t.ref.unlink(), "ref missing refs/main"),
    "other ref": (lambda t: write_text(t.ref, OTHER_COMMIT), "ref mismatch refs/main"),
    "ref with newline": (lambda t: write_text(t.ref, f"{COMMIT}\n"), "ref mismatch refs/main"),
    "ref emptied": (lambda t: write_text(t.ref, ""), "ref mismatch refs/main"),
    "ref not text": (lambda t: t.ref.write_bytes(b"\xff"), "ref mismatch refs/main"),
    "ref a folder": (lambda t: replace_by_folder(t.ref), "ref corrupt refs/main"),
    "ref a pipe": (lambda t: replace_by_pipe(t.ref), "ref corrupt refs/main"),
    "ref endless": (lambda t: lead(t.ref, "/dev/zero"), "ref outside-home refs/main"),
    "ref leads out": (lambda t: leave(t.ref, t.home), "ref outside-home refs/main"),
    "note that there is none": (
        lambda t: write_bytes(t.home.repo(t.locked.repo) / ".no_exist" / COMMIT / WEIGHTS, b""),
        f"unlocked unexpected .no_exist/{COMMIT}/{WEIGHTS}",
    ),
}
DETAILS = {  # those that the message in test_files.py does not show
    "no ref": "without it the model cannot be loaded by its name",
    "folder": "is not a file",
    "missing": "1280 bytes",
    "loop": f"1280 bytes, a link to {WEIGHTS}, which is not there",
}


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(model: Tiny, name: str) -> None:
    damage, wanted = DAMAGE[name]
    damage(model)
    state = model.source()
    assert seen(state) == [wanted]
    assert state.problems[0].detail == DETAILS.get(name, state.problems[0].detail)
    assert not state.sound
    assert model.conversion().sound


def test_a_healthy_home_has_no_problem(model: Tiny) -> None:
    source, conversion = model.source(), model.conversion(wanted=model.recipe)
    assert (seen(source), source.unused, source.ref) == ([], (), COMMIT)
    assert (seen(conversion), conversion.unused) == ([], ())
    assert conversion.folder == model.folder
    assert conversion.receipt is not None
    assert conversion.receipt.recipe == model.recipe
    assert source.sound
    assert conversion.sound


def test_a_moved_home_has_no_problem(model: Tiny, tmp_path: Path) -> None:
    moved = model.at(model.home.root.rename(tmp_path / "mounted elsewhere"))
    (tmp_path / "by a link").symlink_to("mounted elsewhere")
    linked = model.at(tmp_path / "by a link")
    for there in (moved, linked):
        assert seen(there.source()) == seen(there.conversion()) == []


def test_a_copy_with_links_resolved_has_no_problem(model: Tiny, tmp_path: Path) -> None:
    copy = model.at(shutil.copytree(model.home.root, tmp_path / "copy"))
    assert not copy.stable.is_symlink()
    assert not weights(copy).is_symlink()
    shutil.rmtree(copy.folder)
    shutil.rmtree(copy.home.repo(copy.locked.repo) / "blobs")
    assert seen(copy.source()) == seen(copy.conversion()) == []


def test_what_others_keep_in_the_home_is_no_problem(model: Tiny) -> None:
    place_source(model.home, dataclasses.replace(model.locked, repo="theirs/model"))
    write_bytes(model.home.repo(model.locked.repo) / "blobs" / "x.ab12.incomplete", b"half")
    write_bytes(model.home.snapshot(model.locked.repo, OTHER_COMMIT) / "adapter_config.json", b"")
    (model.home.root / "secret").mkdir(0o700)
    model.home.root.parent.chmod(0o700)  # above the home is not ours to judge
    assert seen(model.source()) == seen(model.conversion()) == []


def test_an_empty_home_lacks_everything(model: Tiny, tmp_path: Path) -> None:
    empty = model.at(tmp_path / "elsewhere")
    state = empty.source()
    assert seen(state) == [*(f"bytes missing {path}" for path in SOURCE), "ref missing refs/main"]
    assert state.ref is None
    assert seen(empty.conversion()) == [f"receipt missing {STABLE}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_we_may_not_read_is_reported(reachable: Path) -> None:
    model = tiny(reachable / "home")
    repo, conversions = model.home.repo(model.locked.repo), model.stable.parent
    weights(model).chmod(0o600)
    conversions.chmod(0o700)
    with as_another_user():
        source, conversion = model.source(), model.conversion()
    blob = sha256(SOURCE[WEIGHTS])
    assert seen(source) == [f"bytes corrupt {WEIGHTS}", f"modes unreadable {REPO}/blobs/{blob}"]
    assert source.problems[0].detail == "cannot be read: Permission denied"
    assert seen(conversion) == [f"receipt unreadable {STABLE}"]
    assert conversion.problems[0].detail == "cannot be reached: Permission denied"
    repo.chmod(0o700)
    with as_another_user():
        source = model.source()
    assert seen(source) == [
        *(f"bytes unreadable {path}" for path in SOURCE),
        f"modes unreadable {REPO}",
        "ref missing refs/main",
    ]
    assert source.problems[0].detail == "cannot be reached: Permission denied"
