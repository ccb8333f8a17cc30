"""A spoiled home is red offline, with the words that help, and healed online; extras stay red.

Each damage names the test that must see it. A run that is red for another reason has missed it.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from prep.layout import Home, point_link
from prep.lock import LockedFile, read_lock
from prep.receipt import NAME, Receipt, read_receipt
from sample_hub.server import Hub
from tests.runs import SAMPLE, TINY, TINY_REPO, copy_home, sample, status, summary

LOCKED = read_lock(SAMPLE.with_name("models.lock.toml")).models[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One way to spoil a home: who must see it, and which words the message must hold."""

    name: str
    spoil: Callable[[Home], None]
    seen_by: str
    words: tuple[str, ...]
    heals: bool = True


def snapshot(home: Home) -> Path:
    return home.snapshot(LOCKED.repo, LOCKED.commit)


def converted(home: Home) -> Path:
    return home.stable(TINY_REPO, "int8").resolve()


def flip(path: Path, at: int = -100) -> None:
    """Change one byte in place, through whatever links lead there."""
    real = path.resolve()
    body = bytearray(real.read_bytes())
    body[at] ^= 0x01
    real.chmod(0o644)
    real.write_bytes(body)


def half_conversion(home: Home) -> None:
    """What a kill in the middle of an export leaves: files, no receipt."""
    (converted(home) / NAME).unlink()
    (converted(home) / "openvino_model.bin").unlink()


def fp32_called_int8(home: Home) -> None:
    """An IR of float32 weights behind the int8 path, with a receipt that is right in every byte."""
    fp32 = home.stable(TINY_REPO, "fp32").resolve()
    receipt = read_receipt(fp32)
    int8 = read_receipt(converted(home))
    target = converted(home)
    shutil.rmtree(target)
    shutil.copytree(fp32, target)
    (target / NAME).write_text(
        Receipt(
            recipe=int8.recipe, files=receipt.files, content=int8.content, made=int8.made
        ).render()
    )


DAMAGES = (
    Damage(
        name="weights changed",
        spoil=lambda home: flip(snapshot(home) / "model.safetensors"),
        seen_by="test_source_is_what_the_lock_says",
        words=(
            "changed model.safetensors",
            "sha256 is",
            "(same size)",
            "The lock is the authority",
        ),
    ),
    Damage(
        name="tokenizer missing",
        spoil=lambda home: (snapshot(home) / "tokenizer.json").unlink(),
        seen_by="test_source_is_what_the_lock_says",
        words=("missing tokenizer.json", "7399 bytes"),
    ),
    Damage(
        name="blob truncated",
        spoil=lambda home: os.truncate((snapshot(home) / "model.safetensors").resolve(), 90000),
        seen_by="test_source_is_what_the_lock_says",
        words=("changed model.safetensors", "size is 90000, locked 389832"),
    ),
    Damage(
        name="refs/main names another commit",
        spoil=lambda home: home.ref(TINY_REPO).write_text("0" * 40) and None,
        seen_by="test_name_leads_to_the_pin",
        words=("changed refs/main", "0000000000", "Consumers would get another commit, or none"),
    ),
    Damage(
        name="refs/main with a newline",
        spoil=lambda home: home.ref(TINY_REPO).write_text(f"{LOCKED.commit}\n") and None,
        seen_by="test_name_leads_to_the_pin",
        words=("changed refs/main", "\\n'"),
    ),
    Damage(
        name="half a conversion",
        spoil=half_conversion,
        seen_by="test_receipt_names_the_pin",
        words=("broken", "receipt.json", "the conversion was never finished"),
    ),
    Damage(
        name="IR changed",
        spoil=lambda home: flip(converted(home) / "openvino_model.bin"),
        seen_by="test_converted_bytes_are_the_receipts",
        words=("changed openvino_model.bin", "sha256 is", "converts again"),
    ),
    Damage(
        name="fp32 weights called int8",
        spoil=fp32_called_int8,
        seen_by="test_content_is_right",
        words=("0% of the weights are int8, wanted at least 95%", "f32"),
    ),
    Damage(
        name="file closed to other users",
        spoil=lambda home: (snapshot(home) / "config.json").resolve().chmod(0o600),
        seen_by="test_everybody_can_read",
        words=("closed", "mode is 0600, other users need o+r"),
    ),
    Damage(
        name="extra file that a loader takes",
        spoil=lambda home: (snapshot(home) / "adapter_config.json").write_text("{}") and None,
        seen_by="test_no_loader_takes_an_unlocked_file",
        words=("extra adapter_config.json", "is not locked, and a loader would take it"),
        heals=False,
    ),
)


@pytest.fixture(scope="module")
def with_fp32(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared home that holds the fp32 conversion as well."""
    home = copy_home(prepared, tmp_path_factory.mktemp("fp32") / "home")
    done = sample(home, "--precision", "fp32", "-m", "conversion")
    assert done.code == 0, done.out
    return home


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "-"))
def test_damage_is_red_offline_and_healed_online(
    tmp_path: Path, prepared: Path, with_fp32: Path, hub: Hub, damage: Damage
) -> None:
    origin = with_fp32 if damage.spoil is fp32_called_int8 else prepared
    home = copy_home(origin, tmp_path / "home")
    damage.spoil(Home(home))
    summary_file = tmp_path / "summary.json"

    offline = sample(home, "--offline", "--summary", summary_file, "-rfE")
    assert offline.code == 1, offline.out
    red = [line for line in offline.out.splitlines() if line.startswith(("FAILED", "ERROR "))]
    assert red, offline.out
    assert all(f"::{damage.seen_by}[" in line for line in red), red
    for words in damage.words:
        assert words in offline.said
    assert json.loads(summary_file.read_text())["models"][TINY]["status"] == "red"

    online = sample(home, hub=hub.url)
    if not damage.heals:
        assert online.code == 1, online.out
        assert (snapshot(Home(home)) / "adapter_config.json").is_file(), "never healed away"
        return
    assert online.code == 0, online.out
    assert "healing:" in online.said
    assert status(home) == "healed"
    assert summary(home)["models"][TINY]["healed"]
    bodies = [request for request in hub.requests if request.method == "GET" and request.sent]
    assert len(bodies) <= 2, "nothing that was whole is fetched again"


def test_damage_of_a_conversion_is_set_aside_not_lost(
    tmp_path: Path, prepared: Path, hub: Hub
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    (converted(Home(home)) / "notes.txt").write_text("somebody's")
    flip(converted(Home(home)) / "openvino_model.bin")
    assert (
        sample(
            home,
            hub=hub.url,
        ).code
        == 0
    )
    assert [path.read_text() for path in home.rglob("notes.txt")] == ["somebody's"]
    assert not (converted(Home(home)) / "notes.txt").exists()


def test_harmless_changes_stay_green(tmp_path: Path, prepared: Path) -> None:
    """Moved, copied with links resolved, with droppings and another commit beside: all at once."""
    home = tmp_path / "elsewhere" / "models"
    shutil.copytree(prepared, home, symlinks=False)
    (snapshot(Home(home)) / ".DS_Store").write_bytes(b"\0")
    (snapshot(Home(home)) / "pytorch_model.bin").write_bytes(b"pickle")
    (home / "hub" / f"models--{TINY_REPO.replace('/', '--')}" / "blobs" / "x.incomplete").touch()
    (home / "hub" / "models--other--model").mkdir()
    done = sample(home, "--offline")
    assert done.code == 0, done.out


def test_source_of_other_bytes_than_the_receipts_is_seen(tmp_path: Path, prepared: Path) -> None:
    """A conversion that was made from other bytes than the lock's, with an intact receipt."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    folder = converted(home)
    receipt = read_receipt(folder)
    source = dict(receipt.recipe.source) | {"config.json": "0" * 64}
    recipe = replace(receipt.recipe, source=source)
    forged = folder.with_name(recipe.digest)
    shutil.copytree(folder, forged)
    (forged / NAME).write_text(replace(receipt, recipe=recipe).render())
    point_link(home.stable(TINY_REPO, "int8"), recipe.digest)
    done = sample(home.root, "--offline", "-m", "pins")
    assert done.code == 1
    assert "it was made from other bytes than the lock names" in done.said


def test_conversion_with_other_options_is_seen_offline(tmp_path: Path, prepared: Path) -> None:
    home = Home(copy_home(prepared, tmp_path / "home"))
    folder = converted(home)
    receipt = read_receipt(folder)
    recipe = replace(receipt.recipe, options={**receipt.recipe.options, "converter": 0})
    forged = folder.with_name(recipe.digest)
    shutil.copytree(folder, forged)
    (forged / NAME).write_text(replace(receipt, recipe=recipe).render())
    point_link(home.stable(TINY_REPO, "int8"), recipe.digest)
    done = sample(home.root, "--offline", "-m", "pins")
    assert done.code == 1, done.out
    assert "options is {'converter': 0," in done.said


def test_nothing_is_written_through_a_link_that_leaves_the_home(
    tmp_path: Path, prepared: Path, hub: Hub
) -> None:
    """Somebody's folder behind a link is neither healed into nor filled."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    away = tmp_path / "away"
    (snapshot(home) / "1_Pooling").rename(away)
    (away / "config.json").unlink()
    (away / "config.json").write_text("somebody's")
    (snapshot(home) / "1_Pooling").symlink_to(away)
    done = sample(home.root, "-m", "pins and not conversion", hub=hub.url)
    assert done.code == 1, done.out
    assert "Nothing was written there: put a folder, or a relative link" in done.said
    assert [path.read_text() for path in away.iterdir()] == ["somebody's"]


def test_pin_that_moved_is_work_and_no_damage(tmp_path: Path, prepared: Path, hub: Hub) -> None:
    """A home of an earlier commit: fetched and converted anew, and nothing is called healed."""
    home = Home(copy_home(prepared, tmp_path / "home"))
    folder = converted(home)
    receipt = read_receipt(folder)
    recipe = replace(receipt.recipe, commit="0" * 40)
    folder.rename(folder.with_name(recipe.digest))
    (folder.with_name(recipe.digest) / NAME).write_text(replace(receipt, recipe=recipe).render())
    point_link(home.stable(TINY_REPO, "int8"), recipe.digest)
    done = sample(home.root, hub=hub.url)
    assert done.code == 0, done.out
    assert "healing" not in done.out
    assert status(home.root) == "ready"
    assert folder.with_name(recipe.digest).is_dir(), "the old target stays"


def test_a_receipt_lists_what_lies_there(prepared: Path) -> None:
    folder = converted(Home(prepared))
    files = {file.path for file in read_receipt(folder).files}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == files | {NAME}
    assert all(isinstance(file, LockedFile) for file in read_receipt(folder).files)
