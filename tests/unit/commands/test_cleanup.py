"""Clean-up removes what this suite placed and nobody wants, and nothing else, whoever placed it."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from prep.catalogue.entries import Catalogue
from prep.catalogue.lock import Lock, LockedModel
from prep.commands import cleanup
from prep.errors import LockError
from prep.home.layout import Home
from prep.home.ledger import note_wanted, placing_blobs, read_ledger
from prep.home.receipt import Recipe
from prep.settings import Settings
from tests.support.runs import FILES_ONLY, SAMPLE, copy_home, listing, run, sample
from tests.support.small_homes import (
    OTHER_COMMIT,
    REPO,
    SOURCE,
    flip,
    locked_model,
    place_conversion,
    place_source,
    recipe_for,
    sha256,
    write_bytes,
)
from tests.support.small_settings import SPEC, settings_for
from tests.unit.commands.test_relock import Publisher

OURS, THEIRS = "/srv/models.toml", "/opt/others.toml"
NEW: Mapping[str, bytes] = {**SOURCE, "model.safetensors": b"new weights", "config.json": b"{}"}
OLD_LOCK, NEW_LOCK = locked_model(), locked_model(NEW, OTHER_COMMIT)
OLD = f"hub/models--acme--tiny/snapshots/{OLD_LOCK.commit}"
BLOBS = "hub/models--acme--tiny/blobs"


def prepare(
    root: Path, locked: LockedModel, files: Mapping[str, bytes], catalogue: str | None = OURS
) -> Recipe:
    """As a run of that catalogue does it: the ledger's lines, then the things."""
    home = Home(root, catalogue)
    note_wanted(home, Catalogue(path=Path(OURS), models=(SPEC,)), Lock(models=(locked,)))
    for file in locked.files:
        path = home.snapshot(REPO, locked.commit) / file.path
        facts = {"sha256": file.sha256, "size": file.size}
        home.note_placed("file", path, repo=REPO, commit=locked.commit, **facts)
    with placing_blobs(home, REPO, locked.files):
        place_source(home, locked, files)
    home.note_placed("ref", home.ref(REPO), repo=REPO, commit=locked.commit)
    return convert(home, locked)


def convert(home: Home, locked: LockedModel, openvino: str = "2026.4.1") -> Recipe:
    recipe = recipe_for(locked, openvino=openvino)
    place = home.conversions(REPO)
    pin = {"repo": REPO, "commit": locked.commit}
    home.note_placed("conversion", place / recipe.digest, precision="int8", **pin)
    home.note_placed("link", home.stable(REPO, "int8"), repo=REPO)
    place_conversion(home, recipe)
    return recipe


def settings(root: Path, locked: LockedModel, dry_run: bool = False) -> Settings:
    made = settings_for(root, locked)
    return replace(made, home=Home(root, OURS), cleanup=True, dry_run=dry_run)


def clean(root: Path, locked: LockedModel = NEW_LOCK, dry_run: bool = False) -> list[str]:
    lines: list[str] = []
    assert cleanup.run(settings(root, locked, dry_run), root, lines.append) == 0
    return "".join(lines).splitlines()


def paths(root: Path) -> set[str]:
    """All but the suite's own notes."""
    return {path for path in listing(root) if not path.startswith("model-prep")}


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A home whose pin has moved: the old commit's files and conversion are left over."""
    home = tmp_path / "home"
    prepare(home, OLD_LOCK, SOURCE)
    prepare(home, NEW_LOCK, NEW)
    return home


def test_old_commits_and_conversions_go_and_nothing_else(moved: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "fresh", NEW_LOCK, NEW)
    old = Home(moved).conversions(REPO) / recipe_for(OLD_LOCK).digest
    weights = sha256(SOURCE["model.safetensors"])
    freed = sum(len(SOURCE[name]) for name in ("model.safetensors", "config.json"))
    freed += sum(path.stat().st_size for path in old.rglob("*") if path.is_file())
    before = listing(moved)
    listed = clean(moved, dry_run=True)
    assert listing(moved) == before
    assert listed[-1] == f"would free {freed} bytes"
    assert f"would remove  {BLOBS}/{weights}  1280 bytes" in listed

    lines = clean(moved)
    assert lines[0] == f"cleanup of {moved} by models.lock.toml"
    assert [line.replace("would remove", "remove") for line in listed[1:-1]] == lines[1:-1]
    assert lines[-1] == f"freed {freed} bytes"
    assert paths(moved) == paths(tmp_path / "fresh")
    for name, content in NEW.items():  # what both commits share stays
        assert (Home(moved).snapshot(REPO, OTHER_COMMIT) / name).read_bytes() == content
    assert clean(moved)[1:] == ["freed 0 bytes"]


def test_a_name_in_use_stays_until_the_new_commit_is_there(tmp_path: Path) -> None:
    prepare(tmp_path, OLD_LOCK, SOURCE)
    before = paths(tmp_path)
    lines = clean(tmp_path)
    why = "refs/main still names it, and what is wanted is not there yet: run pytest first"
    assert lines[1:] == [f"keep    {OLD}: {why}", "freed 0 bytes"]
    assert paths(tmp_path) == before


def test_a_model_that_the_catalogue_dropped_goes_whole(tmp_path: Path) -> None:
    prepare(tmp_path, OLD_LOCK, SOURCE)
    other = replace(NEW_LOCK, repo="acme/other")
    made = settings(tmp_path, other)
    spec = replace(SPEC, repo="acme/other")
    made = replace(made, catalogue=replace(made.catalogue, models=(spec,)), models=(spec,))
    cleanup.run(made, tmp_path, lambda line: None)
    assert paths(tmp_path) == {"hub", "openvino"}


@pytest.mark.parametrize(
    "place",
    [
        "hub/models--acme--tiny/snapshots/" + OLD_LOCK.commit + "/notes.txt",
        "hub/models--acme--tiny/snapshots/" + "ab" * 20 + "/config.json",
        "hub/models--acme--tiny/blobs/" + "cd" * 20,
        "hub/models--acme--big/blobs/" + "cd" * 20,
        "hub/notes.txt",
        "openvino/acme--tiny/mine/openvino_model.xml",
        "datasets/x.csv",
        "model-prep/partial/notes.txt",
    ],
)
def test_what_somebody_else_put_there_is_never_touched(moved: Path, place: str) -> None:
    path = write_bytes(moved / place, b"mine")
    clean(moved)
    assert path.read_bytes() == b"mine"


def test_what_is_not_ours_is_listed_with_its_size(moved: Path) -> None:
    write_bytes(moved / "hub" / "models--acme--big" / "blobs" / "x", b"12345")
    write_bytes(moved / "data.csv", b"123")
    write_bytes(moved / BLOBS / "stray", b"12")
    lines = [line for line in clean(moved) if line.startswith("leave")]
    assert lines == [
        "leave   data.csv  3 bytes: this suite did not place it",
        "leave   hub/models--acme--big  5 bytes: this suite did not place it",
        f"leave   acme/tiny  2 bytes that this suite did not place: {BLOBS}/stray",
    ]


def test_a_blob_that_was_there_before_is_not_ours(tmp_path: Path) -> None:
    weights = SOURCE["model.safetensors"]
    blob = write_bytes(tmp_path / BLOBS / sha256(weights), weights)
    prepare(tmp_path, OLD_LOCK, SOURCE)
    prepare(tmp_path, NEW_LOCK, NEW)
    clean(tmp_path)
    assert blob.read_bytes() == weights
    assert not (tmp_path / OLD).exists()


def test_a_blob_that_somebody_elses_snapshot_uses_stays(moved: Path) -> None:
    theirs = moved / "hub/models--acme--tiny/snapshots" / ("ab" * 20) / "model.safetensors"
    theirs.parent.mkdir()
    theirs.symlink_to(f"../../blobs/{sha256(SOURCE['model.safetensors'])}")
    clean(moved)
    assert theirs.read_bytes() == SOURCE["model.safetensors"]


def test_files_that_are_not_as_they_were_placed_stay(moved: Path) -> None:
    """A copy with its links resolved: its files go where they are ours byte for byte."""
    for path in (moved / OLD).rglob("*"):
        if path.is_symlink():
            target = path.resolve()
            path.unlink()
            shutil.copy2(target, path)
    flip(moved / OLD / "vocab.txt")
    lines = clean(moved)
    assert f"keep    {OLD}/vocab.txt: it is not what this suite placed there" in lines
    assert sorted(path.name for path in (moved / OLD).rglob("*")) == ["vocab.txt"]


def test_two_catalogues_share_a_home(tmp_path: Path) -> None:
    prepare(tmp_path, OLD_LOCK, SOURCE, THEIRS)
    prepare(tmp_path, NEW_LOCK, NEW, OURS)
    before = paths(tmp_path)
    clean(tmp_path)
    assert before <= paths(tmp_path), "the other catalogue wants the old commit"
    # As the other catalogue, which moves to the new commit in its next run, and cleans up.
    home = Home(tmp_path, THEIRS)
    note_wanted(home, Catalogue(path=Path(THEIRS), models=(SPEC,)), Lock(models=(NEW_LOCK,)))
    clean(tmp_path)
    assert not (tmp_path / OLD).exists()


def test_what_was_placed_before_catalogues_were_noted_stays(tmp_path: Path) -> None:
    prepare(tmp_path, OLD_LOCK, SOURCE, None)
    prepare(tmp_path, NEW_LOCK, NEW, OURS)
    before = paths(tmp_path)
    clean(tmp_path)
    assert paths(tmp_path) == before


def test_unfinished_work_goes_unless_it_is_still_wanted(moved: Path) -> None:
    home = Home(moved, OURS)
    draft = home.conversions(REPO) / ".int8.0123"
    aside = home.conversions(REPO) / ".aside.4567"
    for what, folder in (("draft", draft), ("aside", aside)):
        home.note_placed(what, folder, repo=REPO)
        write_bytes(folder / "openvino_model.xml", b"<net/>")
    old, new = sha256(SOURCE["config.json"]), sha256(NEW["config.json"])
    for name in (old, f"{old}.lock", new, f"{new}.lock", "ab" * 32):
        write_bytes(home.partial / name, b"part")
    clean(moved)
    assert not draft.exists()
    assert not aside.exists()
    names = sorted(path.name for path in home.partial.iterdir())
    assert names == sorted([new, f"{new}.lock", "ab" * 32])


def test_a_part_that_somebody_writes_stays(moved: Path) -> None:
    """The same bytes may come for another repository just now, whose lock is not held here."""
    part = write_bytes(Home(moved).partial / sha256(SOURCE["config.json"]), b"part")
    with part.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clean(moved)
    assert part.read_bytes() == b"part"


def test_a_precision_that_nobody_wants_goes_with_its_stable_path(moved: Path) -> None:
    home = Home(moved, OURS)
    recipe = recipe_for(NEW_LOCK, "fp16")
    pin = {"repo": REPO, "commit": NEW_LOCK.commit}
    folder = home.conversions(REPO) / recipe.digest
    home.note_placed("conversion", folder, precision="fp16", **pin)
    home.note_placed("link", home.stable(REPO, "fp16"), repo=REPO)
    place_conversion(home, recipe)
    clean(moved)
    assert not os.path.lexists(home.stable(REPO, "fp16"))
    assert not folder.exists()
    assert home.stable(REPO, "int8").is_dir()


def test_a_converted_folder_with_a_strangers_file_stays(moved: Path) -> None:
    folder = Home(moved).conversions(REPO) / recipe_for(OLD_LOCK).digest
    write_bytes(folder / "notes.txt", b"mine")
    lines = clean(moved)
    assert (
        f"keep    openvino/acme--tiny/{folder.name}: it holds notes.txt, which this suite did not "
        "place there"
    ) in lines
    assert (folder / "openvino_model.bin").is_file()


@pytest.mark.parametrize(
    "at",
    [
        "hub",
        "hub/models--acme--tiny",
        BLOBS,
        "hub/models--acme--tiny/snapshots",
        OLD,
        f"{OLD}/1_Pooling",
        "openvino",
        "openvino/acme--tiny",
        f"openvino/acme--tiny/{recipe_for(OLD_LOCK).digest}",
    ],
)
def test_nothing_is_removed_through_a_link_that_leaves_the_home(moved: Path, at: str) -> None:
    away = moved.parent / "away"
    (moved / at).rename(away)
    (moved / at).symlink_to(away)
    before = listing(away)
    clean(moved)
    assert listing(away) == before


@pytest.mark.parametrize(
    "line",
    [
        {"what": "blob", "path": "../outside/x"},
        {"what": "blob", "path": f"{BLOBS}/../../../../outside/x"},
        {"what": "blob", "path": "/etc/hostname"},
        {"what": "file", "path": "hub/models--acme--tiny/refs/main", "commit": "ab" * 20},
        {"what": "conversion", "path": "openvino/acme--tiny"},
        {"what": "conversion", "path": "openvino"},
        {"what": "aside", "path": "openvino/acme--tiny/int8"},
        {"what": "draft", "path": "."},
        {"what": "file", "path": f"{OLD}/x", "commit": "..", "sha256": "../../../outside/x"},
    ],
    ids=lambda line: f"{line['what']} {line['path']}",
)
def test_a_forged_ledger_removes_nothing_elsewhere(moved: Path, line: dict[str, str]) -> None:
    clean(moved)
    outside = write_bytes(moved.parent / "outside" / "x", b"mine")
    before = paths(moved)
    more = {key: value for key, value in line.items() if key not in ("what", "path")}
    Home(moved, OURS).note_placed(line["what"], moved / line["path"], repo=REPO, **more)
    clean(moved)
    assert outside.read_bytes() == b"mine"
    assert paths(moved) == before


def test_a_repository_that_is_being_worked_on_is_skipped(moved: Path) -> None:
    before = paths(moved)
    lock = Home(moved).lock(REPO, "convert.fp16")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        lines = clean(moved)
    assert lines[1] == f"skip    {REPO}: another process works on it; run again when it is done"
    assert paths(moved) == before
    assert clean(moved)[-1] != "freed 0 bytes"


def test_a_stop_at_any_moment_leaves_what_the_next_one_finishes(
    moved: Path, tmp_path: Path
) -> None:
    count = len(clean(moved, dry_run=True)) - 2
    assert count > 8
    for moment in range(count):
        home = copy_home(moved, tmp_path / f"at-{moment}")
        calls = 0

        def write(line: str, home: Path = home, moment: int = moment) -> None:
            nonlocal calls
            calls += line.startswith("remove")
            if calls > moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cleanup.run(settings(home, NEW_LOCK), home, write)
        for name, content in NEW.items():
            assert (Home(home).snapshot(REPO, OTHER_COMMIT) / name).read_bytes() == content
        clean(home)
        assert not (home / OLD).exists()
        assert clean(home)[1:] == ["freed 0 bytes"]


def test_a_lock_that_does_not_answer_removes_nothing(moved: Path) -> None:
    before = paths(moved)
    with pytest.raises(LockError):
        clean(moved, replace(NEW_LOCK, requested_revision="other"))
    assert paths(moved) == before


def test_going_back_to_a_removed_commit_is_no_damage(moved: Path) -> None:
    lines = [line for line in read_ledger(Home(moved)).lines if line["what"] == "ref"]
    assert [line["commit"] for line in lines] == [OLD_LOCK.commit, OTHER_COMMIT]
    clean(moved)
    lines = [line for line in read_ledger(Home(moved)).lines if line["what"] == "ref"]
    assert [line["commit"] for line in lines] == [OTHER_COMMIT]


def test_the_command_cleans_a_real_home_up(prepared: Path, tmp_path: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    before = paths(home)
    lines = sample(home, "--cleanup", models=None).out
    assert "freed 0 bytes" in lines
    assert paths(home) == before
    catalogue = tmp_path / "models.toml"  # another catalogue: none of its business
    for path in (SAMPLE, SAMPLE.with_name("models.lock.toml")):
        shutil.copy(path, tmp_path)
    done = run("--catalogue", catalogue, "--model-home", home, "--cleanup")
    assert done.code == 0, done.out
    assert paths(home) == before


def test_after_a_moved_pin_the_command_removes_the_old_commit(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    for step in ("old", "new"):
        if step == "new":
            publisher.publish()
        assert publisher.run("--relock").code == 0
        assert publisher.run("-k", "what_the_lock_says or leads_to_the_pin").code == 0
    old, new = (served.commit for served in publisher.repos)
    done = publisher.run("--cleanup")
    assert done.code == 0, done.out
    assert "freed 0 bytes" not in done.out
    assert "leave" not in done.out
    [snapshot] = publisher.home.glob("hub/*/snapshots/*")
    assert (snapshot.name, old == new) == (new, False)
    assert publisher.run("--offline", "-k", "what_the_lock_says or leads_to_the_pin").code == 0


def test_the_hubs_own_prune_keeps_our_pins(prepared: Path, tmp_path: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    hf = Path(sys.executable).with_name("hf")

    def cache(*args: str) -> str:
        done = subprocess.run(
            [hf, "cache", *args],
            env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout

    assert "tiny-embedding" in cache("ls", "--format", "json")
    cache("prune", "--yes")
    done = sample(home, "--offline", "-m", "pins or layout")
    assert done.code == 0, done.out
    # It does remove what no ref names: so would it do to a download by commit alone.
    next(home.glob("hub/*/refs/main")).unlink()
    cache("prune", "--yes")
    assert sample(home, "--offline", *FILES_ONLY).code == 1
