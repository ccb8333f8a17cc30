"""Damage is repaired online: once, reported, only what was wrong, and nothing of somebody else's.

Some rows of the matrix in one run; ``make matrix`` repairs them all, and loads them afterwards.
"""

import shutil
from array import array
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedFile, read_lock
from prep.convert.conversion import recipe_for
from prep.home.layout import Home, point_link
from prep.home.receipt import NAME, read_receipt
from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.proofs.matrix.row import Row
from tests.proofs.matrix.rows import ROWS
from tests.proofs.matrix.runner import CHEAP, Runner, slug
from tests.proofs.matrix.verdict import Finding
from tests.support.real_loads import Tensors, change_weights, negated
from tests.support.runs import (
    FILES_ONLY,
    SAMPLE,
    TINY,
    TINY_REPO,
    copy_home,
    listing,
    run,
    sample,
    status,
    write_lock,
)
from tests.support.small_homes import flip

LOCKED = read_lock(SAMPLE.with_name("models.lock.toml")).models[0]
NAMES = (
    *("weights truncated", "tokenizer removed", "ref with a newline", "weights link leads out"),
    *("weights 0600", "half a conversion", "stable path a file", "receipt leads out"),
    *("fp32 called int8, receipt right", "receipt of another commit", "conversion 0700"),
    # None of our own to repair: reported, and left as they are.
    *("weights replaced by a folder", "ref is a folder", "pooling folder leads out"),
    *("adapter beside the weights", "adapter beside the IR", "lock of other bytes"),
)
TRIED = [row for row in ROWS if row.name in NAMES]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Finding]:
    runner = Runner(tmp_path_factory.mktemp("repairing"), model=TINY, judges=CHEAP)
    return {finding.row.name: finding for finding in runner.all(TRIED)}


@pytest.mark.parametrize("row", TRIED, ids=lambda row: slug(row.name))
def test_what_is_ours_is_repaired_and_all_else_left(found: Mapping[str, Finding], row: Row) -> None:
    finding = found[row.name]
    assert (finding.result, finding.why) == ("killed", "")
    assert finding.repaired == (True if row.online == "repaired" else None)


def test_every_row_that_is_named_is_tried() -> None:
    assert {row.name for row in TRIED} == set(NAMES)


def converted(home: Home) -> Path:
    return home.stable(TINY_REPO, "int8").resolve()


def test_damage_of_a_conversion_is_set_aside_not_lost(
    tmp_path: Path, prepared: Path, hub: Hub
) -> None:
    home = Home(copy_home(prepared, tmp_path / "home"))
    (converted(home) / "notes.txt").write_text("somebody's")
    flip(converted(home) / "openvino_model.bin")
    assert sample(home.root, "-m", "conversion", hub=hub.url).code == 0
    assert [path.read_text() for path in home.root.rglob("notes.txt")] == ["somebody's"]
    assert not (converted(home) / "notes.txt").exists()


def test_bytes_that_the_hub_has_wrong_too_are_tried_once_and_red(
    tmp_path: Path, prepared: Path
) -> None:
    """A second failure is reported; what was there before is not made worse."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    weights = home.snapshot(LOCKED.repo, LOCKED.commit) / "model.safetensors"
    flip(weights)
    wrong = weights.read_bytes()
    [served] = [repo for repo in sample_repos() if repo.repo == TINY_REPO]
    folder = tmp_path / "served"
    copy_home(served.folder, folder)
    (folder / "model.safetensors").write_bytes(wrong)
    with Hub([replace(served, folder=folder)]) as hub:
        done = sample(home.root, *FILES_ONLY, hub=hub.url)
        assert len(hub.bodies("model.safetensors")) <= 1
    assert done.code == 1, done.out
    assert f"[{TINY}] repairing: corrupt model.safetensors" in done.out
    assert weights.read_bytes() == wrong
    assert status(home.root) != "repaired"


def test_pin_that_moved_is_work_and_no_damage(tmp_path: Path, prepared: Path, hub: Hub) -> None:
    """A home of an earlier commit: fetched and converted anew, and nothing is called repaired."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    folder = converted(home)
    receipt = read_receipt(folder)
    recipe = replace(receipt.recipe, commit="0" * 40)
    folder.rename(folder.with_name(recipe.digest))
    (folder.with_name(recipe.digest) / NAME).write_text(replace(receipt, recipe=recipe).render())
    point_link(home.stable(TINY_REPO, "int8"), recipe.digest)
    done = sample(home.root, hub=hub.url)
    assert done.code == 0, done.out
    assert "repairing:" not in done.out
    assert status(home.root) == "ready"
    assert folder.with_name(recipe.digest).is_dir(), "the old target stays"


def test_repair_that_breaks_off_fails_and_the_next_run_ends_it(
    tmp_path: Path, prepared: Path, hub: Hub
) -> None:
    """One of two files comes, then the hub has no more: what came stays, the other as it was."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    snapshot = home.snapshot(LOCKED.repo, LOCKED.commit)
    weights, words = snapshot / "model.safetensors", snapshot / "tokenizer.json"
    right = words.read_bytes()
    flip(weights)
    flip(words)
    wrong = weights.read_bytes()
    [served] = [repo for repo in sample_repos() if repo.repo == TINY_REPO]
    folder = copy_home(served.folder, tmp_path / "served")
    (folder / "model.safetensors").write_bytes(wrong)
    with Hub([replace(served, folder=folder)]) as incomplete:
        done = sample(home.root, *FILES_ONLY, hub=incomplete.url)
    assert done.code == 1, done.out
    assert f"[{TINY}] repairing: corrupt model.safetensors" in done.out
    assert f"[{TINY}] repairing: corrupt tokenizer.json" in done.out
    assert status(home.root) == "failed"
    assert weights.read_bytes() == wrong
    assert words.read_bytes() == right
    done = sample(home.root, hub=hub.url)
    assert done.code == 0, done.out
    assert status(home.root) == "repaired"
    assert "repairing: corrupt tokenizer.json" not in done.out
    assert len(hub.bodies("model.safetensors")) == 1
    assert not hub.bodies("tokenizer.json")


def beyond_8_bits(tensors: Tensors) -> Tensors:
    """The same sums: a large number in each word's row, and in each target's what takes it away."""

    def moved(name: str, by: float) -> Tensors:
        dtype, shape, numbers = tensors[name]
        values = array("f", numbers)
        for row in range(0, len(values), shape[1]):
            values[row] += by
        return {name: (dtype, shape, values.tobytes())}

    words, targets = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
    return {**tensors, **moved(words, 1e4), **moved(targets, -1e4)}


def test_a_conversion_that_fails_its_check_again_is_thrown_away_and_red(
    tmp_path: Path, prepared: Path
) -> None:
    """Of weights that need more than 8 bits: no int8 conversion can agree with them."""
    [served] = [repo for repo in sample_repos() if repo.repo == TINY_REPO]
    folder = copy_home(served.folder, tmp_path / "served")
    change_weights(folder, beyond_8_bits)
    change_weights(folder, negated("encoder.layer.1.output.dense"))
    catalogue, home = tmp_path / "models.toml", Home(tmp_path / "home")
    head, *_ = SAMPLE.read_text(encoding="utf-8").partition('[[models]]\nname = "tiny-reranker"')
    catalogue.write_text(head, encoding="utf-8")
    with Hub([ServedRepo.of(TINY_REPO, folder, "apache-2.0")]) as hub:
        given = ("--catalogue", catalogue, "--hub", hub.url, "--model-home", home.root)
        write_lock(catalogue, *given[2:])
        done = run(*given, "-m", "conversion")
        assert (done.code, status(home.root)) == (1, "failed"), done.out
        assert "the int8 conversion is not what it must be, so it was thrown away:" in done.out
        assert "repairing:" not in done.out
        assert not home.stable(TINY_REPO, "int8").is_symlink()
        # Another machine's, with a receipt that is right in all but what can be measured.
        [locked] = read_lock(catalogue.with_name("models.lock.toml")).models
        recipe = recipe_for(locked, "embedding", "int8")
        theirs = home.conversions(TINY_REPO) / recipe.digest
        shutil.copytree(converted(Home(prepared)), theirs)
        (theirs / NAME).write_text(replace(read_receipt(theirs), recipe=recipe).render())
        point_link(home.stable(TINY_REPO, "int8"), recipe.digest)
        before = listing(home.conversions(TINY_REPO))
        done = run(*given, "-m", "conversion")
    assert (done.code, status(home.root)) == (1, "failed"), done.out
    assert f"[{TINY}] repairing: the lowest cosine to the PyTorch original is " in done.out
    assert done.out.count(f"[{TINY}] converting to int8\n") == 1
    assert "the int8 conversion is not what it must be, so it was thrown away:" in done.out
    assert listing(home.conversions(TINY_REPO)) == before, "no draft stays, theirs is as it was"


def test_levels_that_found_nothing_to_look_at_are_not_green(tmp_path: Path, prepared: Path) -> None:
    """Whoever asks for conversions alone, offline, where there are none."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    shutil.rmtree(home.root / "openvino")
    junit = tmp_path / "junit.xml"
    done = sample(home.root, "--offline", "-m", "conversion", "--junitxml", junit)
    assert done.code == 1, done.out
    assert "1 failed, " in done.out and " 3 not reached in " in done.out
    said = junit.read_text()
    path = f"openvino/{TINY_REPO.replace('/', '--')}/int8"
    line = f"checksum mismatch: {TINY}: missing {path} never converted"
    assert said.count(f'<failure message="{line}" type="ChecksumMismatch">{line}') == 1
    assert said.count(f'message="not reached: {line}">not reached: {line}<') == 3


def test_a_receipt_lists_what_lies_there(prepared: Path) -> None:
    folder = converted(Home(prepared))
    files = {file.path for file in read_receipt(folder).files}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == files | {NAME}
    assert all(isinstance(file, LockedFile) for file in read_receipt(folder).files)
