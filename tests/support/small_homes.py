"""Small real homes, as a run would leave them: files, links, refs, receipts; nothing is mocked."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.lock import LockedFile, LockedModel
from prep.files.patterns import is_weights
from prep.home.layout import Home, make_folder, open_to_all, point_link, write_text
from prep.home.receipt import NAME, Receipt, Recipe
from prep.verify.conversion import ConversionState, check_conversion
from prep.verify.source import SourceState, check_source

REPO = "acme/tiny"
COMMIT = "c0ffee" + "0" * 34
OTHER_COMMIT = "decade" + "0" * 34
NOBODY = 65534


def safetensors(numbers: bytes, name: str = "weight") -> bytes:
    """A file of one tensor of bytes."""
    tensor = {"dtype": "U8", "shape": [len(numbers)], "data_offsets": [0, len(numbers)]}
    header = json.dumps({name: tensor}).encode()
    return len(header).to_bytes(8, "little") + header + numbers


SOURCE: Mapping[str, bytes] = {
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": safetensors(
        (bytes(range(256)) * 5)[:1201]
    ),  # 1280 bytes, no two neighbours alike
    "modules.json": b"[]",
    "tokenizer.json": b'{"version": "1.0"}',
    "vocab.txt": b"[PAD]\n[UNK]\n",
}
IR: Mapping[str, bytes] = {
    "openvino_model.bin": bytes(reversed(range(256))) * 3,
    "openvino_model.xml": b"<net/>",
}


def converted_from(source: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a conversion gives: an IR, and all that is no weights as it was."""
    return {**IR, **{path: body for path, body in source.items() if not is_weights(path)}}


CONVERTED: Mapping[str, bytes] = converted_from(SOURCE)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def locked_files(files: Mapping[str, bytes]) -> tuple[LockedFile, ...]:
    return tuple(
        LockedFile(path=path, size=len(content), sha256=sha256(content))
        for path, content in sorted(files.items())
    )


def locked_model(files: Mapping[str, bytes] = SOURCE, commit: str = COMMIT) -> LockedModel:
    return LockedModel(
        name="tiny",
        repo=REPO,
        requested_revision="main",
        commit=commit,
        license="mit",
        files=locked_files(files),
    )


def recipe_for(
    locked: LockedModel,
    precision: str = "int8",
    openvino: str = "2026.4.1",
    task: str = "embedding",
) -> Recipe:
    return Recipe(
        repo=locked.repo,
        commit=locked.commit,
        task=task,
        precision=precision,
        source={file.path: file.sha256 for file in locked.files},
        options={"weights": {"bits": 8, "sym": False}},
        tools={"openvino": openvino},
    )


def receipt_for(recipe: Recipe, files: Mapping[str, bytes] = CONVERTED) -> Receipt:
    return Receipt(
        recipe=recipe,
        files=locked_files(files),
        content={"cosine": 0.999, "int8": 39},
        made={"at": "2026-01-01T00:00:00+00:00", "seconds": 1.5, "peak-bytes": 1000},
    )


def write_bytes(path: Path, content: bytes) -> Path:
    """A file that everybody can read, in folders that everybody can enter."""
    make_folder(path.parent)
    path.write_bytes(content)
    open_to_all(path)
    return path


def place_source(home: Home, locked: LockedModel, files: Mapping[str, bytes] = SOURCE) -> Path:
    """Blobs, relative links to them, and refs/main; gives the snapshot."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    for path, content in files.items():
        blob = write_bytes(home.repo(locked.repo) / "blobs" / sha256(content), content)
        link = snapshot / path
        make_folder(link.parent)
        link.symlink_to(os.path.relpath(blob, link.parent))
    write_text(home.ref(locked.repo), locked.commit)
    return snapshot


def place_conversion(home: Home, recipe: Recipe, files: Mapping[str, bytes] = CONVERTED) -> Path:
    """A converted folder under its recipe's digest, its receipt, the stable link; gives that."""
    folder = home.conversions(recipe.repo) / recipe.digest
    for path, content in files.items():
        write_bytes(folder / path, content)
    write_text(folder / NAME, receipt_for(recipe, files).render())
    stable = home.stable(recipe.repo, recipe.precision)
    point_link(stable, recipe.digest)
    return stable


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """A home with one model, prepared whole and converted to int8."""

    home: Home
    locked: LockedModel
    recipe: Recipe

    @property
    def snapshot(self) -> Path:
        return self.home.snapshot(self.locked.repo, self.locked.commit)

    @property
    def ref(self) -> Path:
        return self.home.ref(self.locked.repo)

    @property
    def stable(self) -> Path:
        return self.home.stable(self.locked.repo, "int8")

    @property
    def folder(self) -> Path:
        return self.home.conversions(self.locked.repo) / self.recipe.digest

    def at(self, root: Path) -> "Tiny":
        """The same model, looked for in the home at `root`."""
        return Tiny(home=Home(root), locked=self.locked, recipe=self.recipe)

    def source(self, *, deep: bool = True) -> SourceState:
        return check_source(self.home, self.locked, deep=deep)

    def conversion(self, *, deep: bool = True, wanted: Recipe | None = None) -> ConversionState:
        return check_conversion(
            self.home, self.locked, "int8", at=self.stable, wanted=wanted, deep=deep
        )


def tiny(root: Path, source: Mapping[str, bytes] = SOURCE) -> Tiny:
    """Prepare the model in the home at `root`."""
    home, locked = Home(root), locked_model(source)
    place_source(home, locked, source)
    recipe = recipe_for(locked)
    place_conversion(home, recipe, converted_from(source))
    return Tiny(home=home, locked=locked, recipe=recipe)


def seen(state: SourceState | ConversionState) -> list[str]:
    """What is wrong, each as ``aspect kind path``."""
    return [f"{problem.aspect} {problem.kind} {problem.path}" for problem in state.problems]


def flip(path: Path) -> None:
    """Change one bit, and not the size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lead(link: Path, target: Path | str) -> None:
    """Put a link in place of what is there."""
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    else:
        link.unlink(missing_ok=True)
    link.symlink_to(target)


def leave(path: Path, home: Home) -> None:
    """Move what the link leads to out of the home, and let the link follow."""
    away = home.root.parent / "away"
    path.resolve().rename(away)
    lead(path, os.path.relpath(away, path.parent))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def resolved(path: Path) -> Path:
    """Replace a link by what it leads to, as some ways of copying do; gives the path."""
    target = path.resolve()
    path.unlink()
    if target.is_dir():
        shutil.copytree(target, path)
    else:
        shutil.copy2(target, path)
    return path


@contextmanager
def as_another_user() -> Iterator[None]:
    """What is within is done as a user who owns nothing; for a test that root runs."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
