"""Every kind of damage is seen, as what it is and where it is; harmless differences stay green."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedModel
from prep.errors import listing
from prep.home.layout import point_link, write_text
from prep.home.receipt import NAME
from prep.verify.problem import Problem
from prep.verify.source import check_source
from tests.support.small_homes import (
    COMMIT,
    OTHER_COMMIT,
    SOURCE,
    Tiny,
    as_another_user,
    flip,
    lead,
    leave,
    locked_model,
    place_conversion,
    place_source,
    recipe_for,
    replace_by_folder,
    replace_by_pipe,
    resolved,
    seen,
    sha256,
    tiny,
    write_bytes,
)

Damage = Callable[[Tiny], object]
REPO_NAME = "acme/tiny"
WEIGHTS, IR = "model.safetensors", "openvino_model.bin"
REPO = "hub/models--acme--tiny"
SNAPSHOT = f"{REPO}/snapshots/{COMMIT}"
BLOB = sha256(SOURCE[WEIGHTS])
STABLE = "openvino/acme--tiny/int8"
RECIPE = recipe_for(locked_model()).digest
FOLDER = f"openvino/acme--tiny/{RECIPE}"


def convert_instead(tiny: Tiny, locked: LockedModel, precision: str = "int8") -> None:
    """A whole conversion of something else, and the stable path led to it."""
    other = recipe_for(locked, precision)
    place_conversion(tiny.home, other)
    point_link(tiny.stable, other.digest)


SOURCE_DAMAGE: dict[str, tuple[Damage, str]] = {
    "byte changed": (lambda t: flip(t.snapshot / WEIGHTS), f"bytes corrupt {WEIGHTS}"),
    "truncated": (lambda t: os.truncate(t.snapshot / WEIGHTS, 700), f"bytes corrupt {WEIGHTS}"),
    "emptied": (lambda t: os.truncate(t.snapshot / WEIGHTS, 0), f"bytes corrupt {WEIGHTS}"),
    "grown": (lambda t: os.truncate(t.snapshot / WEIGHTS, 1300), f"bytes corrupt {WEIGHTS}"),
    "missing": (lambda t: (t.snapshot / WEIGHTS).unlink(), f"bytes missing {WEIGHTS}"),
    "deep one missing": (
        lambda t: (t.snapshot / "1_Pooling/config.json").unlink(),
        "bytes missing 1_Pooling/config.json",
    ),
    "dangling": (lambda t: (t.snapshot / WEIGHTS).resolve().unlink(), f"bytes missing {WEIGHTS}"),
    "loop": (lambda t: lead(t.snapshot / WEIGHTS, WEIGHTS), f"bytes missing {WEIGHTS}"),
    "link out": (lambda t: leave(t.snapshot / WEIGHTS, t.home), f"links outside-home {WEIGHTS}"),
    "absolute link": (
        lambda t: lead(t.snapshot / WEIGHTS, (t.snapshot / WEIGHTS).resolve()),
        f"links absolute-link {WEIGHTS}",
    ),
    "folder": (lambda t: replace_by_folder(t.snapshot / WEIGHTS), f"bytes corrupt {WEIGHTS}"),
    "pipe": (lambda t: replace_by_pipe(t.snapshot / WEIGHTS), f"bytes corrupt {WEIGHTS}"),
    "no ref": (lambda t: t.ref.unlink(), "ref missing refs/main"),
    "other ref": (lambda t: write_text(t.ref, OTHER_COMMIT), "ref mismatch refs/main"),
    "ref with newline": (lambda t: write_text(t.ref, f"{COMMIT}\n"), "ref mismatch refs/main"),
    "ref emptied": (lambda t: write_text(t.ref, ""), "ref mismatch refs/main"),
    "ref not text": (lambda t: t.ref.write_bytes(b"\xff"), "ref mismatch refs/main"),
    "ref a folder": (lambda t: replace_by_folder(t.ref), "ref corrupt refs/main"),
    "ref a pipe": (lambda t: replace_by_pipe(t.ref), "ref corrupt refs/main"),
    "ref endless": (lambda t: lead(t.ref, "/dev/zero"), "ref outside-home refs/main"),
    "ref leads out": (lambda t: leave(t.ref, t.home), "ref outside-home refs/main"),
    "blob closed": (
        lambda t: (t.snapshot / WEIGHTS).chmod(0o640),
        f"modes unreadable {REPO}/blobs/{BLOB}",
    ),
    "plain file closed": (
        lambda t: resolved(t.snapshot / WEIGHTS).chmod(0o640),
        f"modes unreadable {SNAPSHOT}/{WEIGHTS}",
    ),
    "ref closed": (lambda t: t.ref.chmod(0o600), f"modes unreadable {REPO}/refs/main"),
    "denied by a note": (
        lambda t: write_bytes(t.home.repo(REPO_NAME) / ".no_exist" / COMMIT / WEIGHTS, b""),
        f"unlocked unexpected .no_exist/{COMMIT}/{WEIGHTS}",
    ),
    "refs closed": (lambda t: t.ref.parent.chmod(0o700), f"modes unreadable {REPO}/refs"),
    "snapshot closed": (lambda t: t.snapshot.chmod(0o750), f"modes unreadable {SNAPSHOT}"),
    "snapshot not entered": (lambda t: t.snapshot.chmod(0o744), f"modes unreadable {SNAPSHOT}"),
    "folder of links closed": (  # what the links lead to is open
        lambda t: (t.snapshot / "1_Pooling").chmod(0o700),
        f"modes unreadable {SNAPSHOT}/1_Pooling",
    ),
    "hub closed": (lambda t: t.home.hub.chmod(0o711), "modes unreadable hub"),
    "root closed": (lambda t: t.home.root.chmod(0o700), "modes unreadable ROOT"),
}

CONVERSION_DAMAGE: dict[str, tuple[Damage, str]] = {
    "never converted": (lambda t: t.stable.unlink(), f"receipt missing {STABLE}"),
    "dangling": (lambda t: lead(t.stable, "0" * 64), f"receipt missing {STABLE}"),
    "loop": (lambda t: lead(t.stable, "int8"), f"receipt missing {STABLE}"),
    "leads out": (lambda t: leave(t.stable, t.home), f"receipt outside-home {STABLE}"),
    "absolute link": (lambda t: lead(t.stable, t.folder), f"links absolute-link {STABLE}"),
    "a file": (
        lambda t: write_bytes(t.home.conversions(t.locked.repo) / "x", b"").replace(t.stable),
        f"receipt corrupt {STABLE}/{NAME}",
    ),
    "no receipt": (lambda t: (t.folder / NAME).unlink(), f"receipt corrupt {STABLE}/{NAME}"),
    "receipt changed": (lambda t: flip(t.folder / NAME), f"receipt corrupt {STABLE}/{NAME}"),
    "receipt emptied": (
        lambda t: os.truncate(t.folder / NAME, 0),
        f"receipt corrupt {STABLE}/{NAME}",
    ),
    "byte changed": (lambda t: flip(t.folder / IR), f"bytes corrupt {IR}"),
    "truncated": (lambda t: os.truncate(t.folder / IR, 1), f"bytes corrupt {IR}"),
    "missing": (lambda t: (t.folder / IR).unlink(), f"bytes missing {IR}"),
    "file leads out": (lambda t: leave(t.folder / IR, t.home), f"links outside-home {IR}"),
    "closed": (lambda t: t.folder.chmod(0o700), f"modes unreadable {FOLDER}"),
    "file closed": (lambda t: (t.folder / IR).chmod(0o600), f"modes unreadable {FOLDER}/{IR}"),
    "receipt closed": (
        lambda t: (t.folder / NAME).chmod(0o600),
        f"modes unreadable {FOLDER}/{NAME}",
    ),
    "of another commit": (
        lambda t: convert_instead(t, locked_model(commit=OTHER_COMMIT)),
        f"receipt mismatch {STABLE}/{NAME}",
    ),
    "of other bytes": (
        lambda t: convert_instead(t, locked_model({**SOURCE, "config.json": b"{}"})),
        f"receipt mismatch {STABLE}/{NAME}",
    ),
    "of another precision": (
        lambda t: convert_instead(t, t.locked, "fp16"),
        f"receipt mismatch {STABLE}/{NAME}",
    ),
    "folder of another name": (
        lambda t: lead(t.stable, t.folder.rename(t.folder.with_name("f" * 64)).name),
        f"receipt mismatch {STABLE}/{NAME}",
    ),
}


# The details that the message below does not show already: got, and wanted.
DETAILS = {
    "no ref": "without it the model cannot be loaded by its name",
    "folder": "is not a file",
    "missing": "1280 bytes",
    "loop": f"1280 bytes, a link to {WEIGHTS}, which is not there",
    "blob closed": "mode is 0640, other users need o+r",
}
CONVERSION_DETAILS = {
    "never converted": "never converted",
    "dangling": f"leads to {'0' * 64}, which is not there",
    "no receipt": "is not there: the conversion was never finished",
    "of another commit": f"commit is {OTHER_COMMIT}, wanted {COMMIT}",
    "of another precision": "precision is fp16, wanted int8",
    "of other bytes": "it was made from other bytes than the lock names",
    "folder of another name": f"its recipe is {RECIPE[:12]}…, its folder {'f' * 64}",
}


@pytest.fixture
def model(tmp_path: Path) -> Tiny:
    return tiny(tmp_path / "home")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_healthy_home_has_no_problem(model: Tiny) -> None:
    source, conversion = model.source(), model.conversion(wanted=model.recipe)
    assert (seen(source), source.unused, source.ref) == ([], (), COMMIT)
    assert (seen(conversion), conversion.unused) == ([], ())
    assert conversion.folder == model.folder
    assert conversion.receipt is not None
    assert conversion.receipt.recipe == model.recipe
    assert source.sound
    assert conversion.sound


@pytest.mark.parametrize("name", SOURCE_DAMAGE)
def test_sees_damage_of_the_source(model: Tiny, name: str) -> None:
    damage, wanted = SOURCE_DAMAGE[name]
    damage(model)
    state = model.source()
    assert seen(state) == [wanted.replace("ROOT", str(model.home.root))]
    assert state.problems[0].detail == DETAILS.get(name, state.problems[0].detail)
    assert not state.sound
    assert model.conversion().sound == (name != "root closed")


@pytest.mark.parametrize("name", CONVERSION_DAMAGE)
def test_sees_damage_of_the_conversion(model: Tiny, name: str) -> None:
    damage, wanted = CONVERSION_DAMAGE[name]
    damage(model)
    state = model.conversion()
    assert seen(state) == [wanted]
    assert state.problems[0].detail == CONVERSION_DETAILS.get(name, state.problems[0].detail)
    assert not state.sound
    assert model.source().sound


def test_without_digests_only_a_change_of_the_same_size_stays_unseen(model: Tiny) -> None:
    flip(model.snapshot / WEIGHTS)
    flip(model.folder / IR)
    assert seen(model.source(deep=False)) == seen(model.conversion(deep=False)) == []
    os.truncate(model.snapshot / WEIGHTS, 1)
    os.truncate(model.folder / IR, 1)
    assert seen(model.source(deep=False)) == [f"bytes corrupt {WEIGHTS}"]
    assert seen(model.conversion(deep=False)) == [f"bytes corrupt {IR}"]


def test_every_byte_is_told_of_while_it_is_digested(model: Tiny) -> None:
    told: list[int] = []
    check_source(model.home, model.locked, deep=True, on_bytes=told.append)
    assert sum(told) == model.locked.bytes


def test_other_tools_count_only_where_a_recipe_is_in_force(model: Tiny) -> None:
    newer = recipe_for(model.locked, openvino="2027.1.0")
    assert model.conversion().sound
    state = model.conversion(wanted=newer)
    assert "\n".join(map(str, state.problems)) == (
        f"mismatch     {STABLE}/{NAME} its recipe is {RECIPE[:12]}…, "
        f"the recipe in force {newer.digest}"
    )


def test_a_home_that_was_never_filled_lacks_everything(tmp_path: Path) -> None:
    model = tiny(tmp_path / "home").at(tmp_path / "elsewhere")
    state = model.source()
    assert seen(state) == [*(f"bytes missing {path}" for path in SOURCE), "ref missing refs/main"]
    assert state.ref is None
    assert seen(model.conversion()) == [f"receipt missing {STABLE}"]


def test_a_moved_home_stays_green(model: Tiny, tmp_path: Path) -> None:
    moved = model.at(model.home.root.rename(tmp_path / "mounted elsewhere"))
    (tmp_path / "by a link").symlink_to("mounted elsewhere")
    linked = model.at(tmp_path / "by a link")
    for there in (moved, linked):
        assert seen(there.source()) == seen(there.conversion()) == []


def test_a_copy_with_links_resolved_stays_green(model: Tiny, tmp_path: Path) -> None:
    copy = model.at(shutil.copytree(model.home.root, tmp_path / "copy"))
    assert not copy.stable.is_symlink()
    assert not (copy.snapshot / WEIGHTS).is_symlink()
    shutil.rmtree(copy.folder)
    shutil.rmtree(copy.home.repo(copy.locked.repo) / "blobs")
    assert seen(copy.source()) == seen(copy.conversion()) == []


def test_a_blob_that_is_shared_by_the_whole_cache_stays_green(model: Tiny) -> None:
    """Newer hubs keep blobs once for all repositories: two steps, both inside the home."""
    blob = (model.snapshot / WEIGHTS).resolve()
    shared = write_bytes(model.home.hub / "blobs" / "ab" / "cd", blob.read_bytes())
    lead(blob, "../../blobs/ab/cd")
    assert seen(model.source()) == []
    blob.parent.chmod(0o700)  # a step on the way, though nothing lies there
    assert seen(model.source()) == [f"modes unreadable {REPO}/blobs"]
    blob.parent.chmod(0o755)
    shared.parent.chmod(0o700)
    assert seen(model.source()) == ["modes unreadable hub/blobs/ab"]


def test_what_others_keep_in_the_home_stays_green(model: Tiny) -> None:
    place_source(model.home, dataclasses.replace(model.locked, repo="theirs/model"))
    write_bytes(model.home.repo(model.locked.repo) / "blobs" / "x.ab12.incomplete", b"half")
    write_bytes(model.home.snapshot(model.locked.repo, OTHER_COMMIT) / "adapter_config.json", b"")
    (model.home.root / "secret").mkdir(0o700)
    model.home.root.parent.chmod(0o700)  # above the home is not ours to judge
    assert seen(model.source()) == seen(model.conversion()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_is_closed_to_us_is_told_and_ends_nothing(reachable: Path) -> None:
    model = tiny(reachable / "home")
    repo, conversions = model.home.repo(model.locked.repo), model.stable.parent
    (model.snapshot / WEIGHTS).chmod(0o600)
    conversions.chmod(0o700)
    with as_another_user():
        source, conversion = model.source(), model.conversion()
    assert seen(source) == [f"bytes corrupt {WEIGHTS}", f"modes unreadable {REPO}/blobs/{BLOB}"]
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


def test_a_conversion_of_another_repo_is_none_of_this_model(model: Tiny) -> None:
    place_conversion(model.home, dataclasses.replace(model.recipe, repo="acme/other"))
    lead(model.stable, "../acme--other/int8")
    assert [str(problem) for problem in model.conversion().problems] == [
        f"mismatch     {STABLE}/{NAME} repo is acme/other, wanted acme/tiny"
    ]


def test_a_message_names_got_and_wanted_of_all_at_once(model: Tiny) -> None:
    flip(model.snapshot / WEIGHTS)
    os.truncate(model.snapshot / "config.json", 3)
    (model.snapshot / "modules.json").resolve().unlink()
    leave(model.snapshot / "vocab.txt", model.home)
    model.snapshot.chmod(0o700)
    write_text(model.ref, f"{COMMIT}\n")
    write_bytes(model.snapshot / "adapter_config.json", b"{}")
    digest = sha256((model.snapshot / WEIGHTS).read_bytes())
    small = sha256((model.snapshot / "config.json").read_bytes())
    away = model.home.root.parent / "away"
    blob = f"../../blobs/{sha256(b'[]')}"
    assert listing("tiny is not whole", [str(problem) for problem in model.source().problems]) == (
        f"""\
tiny is not whole (7 problems):
  missing      modules.json             2 bytes, a link to {blob}, which is not there
  outside-home vocab.txt                leads to {away}, outside the home
  corrupt      config.json              size is 3, locked 22  (sha256 {small[:12]}…)
  corrupt      model.safetensors        sha256 is {digest[:12]}…, locked {BLOB[:12]}…  (same size)
  unreadable   {SNAPSHOT} mode is 0700, other users need o+rx
  unexpected   adapter_config.json      is not locked, and a loader would take it
  mismatch     refs/main                is '{COMMIT}\\n', locked '{COMMIT}'"""
    )


def test_a_problem_is_one_line() -> None:
    problem = Problem(aspect="bytes", kind="missing", path="vocab.txt", detail="12 bytes")
    assert str(problem) == "missing      vocab.txt                12 bytes"
