"""Other users must be able to read every file, through every folder and link on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prep.home.receipt import NAME
from tests.support.small_homes import (
    COMMIT,
    SOURCE,
    Tiny,
    lead,
    locked_model,
    recipe_for,
    resolved,
    seen,
    sha256,
    write_bytes,
)

REPO = "hub/models--acme--tiny"
SNAPSHOT = f"{REPO}/snapshots/{COMMIT}"
WEIGHTS, IR = "model.safetensors", "openvino_model.bin"
FOLDER = f"openvino/acme--tiny/{recipe_for(locked_model()).digest}"
Place = Callable[[Tiny], Path]
SOURCE_PLACES: dict[str, tuple[Place, int, str]] = {
    "blob": (lambda t: t.snapshot / WEIGHTS, 0o640, f"{REPO}/blobs/{sha256(SOURCE[WEIGHTS])}"),
    "plain file": (lambda t: resolved(t.snapshot / WEIGHTS), 0o640, f"{SNAPSHOT}/{WEIGHTS}"),
    "ref": (lambda t: t.ref, 0o600, f"{REPO}/refs/main"),
    "refs": (lambda t: t.ref.parent, 0o700, f"{REPO}/refs"),
    "snapshot": (lambda t: t.snapshot, 0o750, SNAPSHOT),
    "snapshot that cannot be entered": (lambda t: t.snapshot, 0o744, SNAPSHOT),
    "folder of links": (lambda t: t.snapshot / "1_Pooling", 0o700, f"{SNAPSHOT}/1_Pooling"),
    "hub": (lambda t: t.home.hub, 0o711, "hub"),
    "root": (lambda t: t.home.root, 0o700, "ROOT"),
}
CONVERSION_PLACES: dict[str, tuple[Place, int, str]] = {
    "folder": (lambda t: t.folder, 0o700, FOLDER),
    "file": (lambda t: t.folder / IR, 0o600, f"{FOLDER}/{IR}"),
    "receipt": (lambda t: t.folder / NAME, 0o600, f"{FOLDER}/{NAME}"),
}


@pytest.mark.parametrize("name", SOURCE_PLACES)
def test_original_files_must_be_readable(model: Tiny, name: str) -> None:
    place, mode, path = SOURCE_PLACES[name]
    place(model).chmod(mode)
    assert seen(model.source()) == [
        f"modes unreadable {path.replace('ROOT', str(model.home.root))}"
    ]
    assert model.conversion().sound == (name != "root")


@pytest.mark.parametrize("name", CONVERSION_PLACES)
def test_converted_files_must_be_readable(model: Tiny, name: str) -> None:
    place, mode, path = CONVERSION_PLACES[name]
    place(model).chmod(mode)
    assert seen(model.conversion()) == [f"modes unreadable {path}"]
    assert model.source().sound


def test_the_detail_says_mode_and_need(model: Tiny) -> None:
    (model.snapshot / WEIGHTS).chmod(0o640)
    assert model.source().problems[0].detail == "mode is 0640, other users need o+r"


def test_a_blob_that_all_repositories_share_is_reached_in_two_steps(model: Tiny) -> None:
    """Newer hubs keep blobs once for all repositories: both steps lie in the home."""
    blob = (model.snapshot / WEIGHTS).resolve()
    shared = write_bytes(model.home.hub / "blobs" / "ab" / "cd", blob.read_bytes())
    lead(blob, "../../blobs/ab/cd")
    assert seen(model.source()) == []
    blob.parent.chmod(0o700)  # a step on the way, though no file lies there
    assert seen(model.source()) == [f"modes unreadable {REPO}/blobs"]
    blob.parent.chmod(0o755)
    shared.parent.chmod(0o700)
    assert seen(model.source()) == ["modes unreadable hub/blobs/ab"]
