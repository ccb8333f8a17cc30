"""Converts a verified snapshot to OpenVINO, and publishes the result as one whole folder.

The work runs in a forked child of the import server: cut off from the network, it can convert only
what was verified, and its memory is given back when it ends. The new folder lies beside its final
place until its content was checked; then comes the receipt, then the name, then the stable link.
"""

import functools
import importlib.metadata
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.lock import LockedFile, LockedModel
from prep.convert import overlay
from prep.errors import ModelError
from prep.files.checksum import digest_files
from prep.home.layout import Home, make_folder, now, open_to_all, point_link, write_text
from prep.home.receipt import NAME, NO_TOKENIZER, Receipt, Recipe
from prep.machine.build import build
from prep.sandbox.import_server import ImportServer
from prep.tasks.registry import TASKS

TOOLS = (
    *("torch", "transformers", "optimum", "optimum-intel", "openvino", "openvino-tokenizers"),
    "nncf",
)
# 8 bits for every layer, weights only, per channel: what int8 means in this project. optimum-intel
# by itself quantises only above 1e9 parameters.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"weights": "f32", "converter": 1},
    "fp16": {"weights": "f16", "converter": 1},
    "int8": {"weights": {"bits": 8, "sym": False}, "converter": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A conversion that is complete but for its check and its receipt.

    `seconds` and `peak` (bytes of memory) are what it took to make it; `no_tokenizer` is why it
    has no tokenizer as an IR, None where it has.
    """

    folder: Path
    recipe: Recipe
    files: tuple[LockedFile, ...]
    seconds: float
    peak: int
    no_tokenizer: str | None = None


def recipe_for(locked: LockedModel, task: str, precision: str) -> Recipe:
    """What this machine, with its tools, would do for that precision."""
    other = {} if locked.converter is None else {"transformers": overlay.VERSION}
    return Recipe(
        repo=locked.repo,
        commit=locked.commit,
        task=task,
        precision=precision,
        source={file.path: file.sha256 for file in locked.files},
        options=OPTIONS[precision],
        tools={tool: _version(tool) for tool in TOOLS} | other,
    )


@functools.cache
def _version(tool: str) -> str:
    """Read once: a catalogue of 500 models would parse the same metadata 6000 times."""
    return importlib.metadata.version(tool)


def make(
    server: ImportServer, ours: ImportServer, home: Home, recipe: Recipe, texts: Sequence[str]
) -> Draft:
    """Convert into a folder beside the final one, and digest its files.

    `server` converts the model; the tokenizer is converted by `ours`, whose libraries judge it by
    its answers to `texts`.
    """
    conversions = home.conversions(recipe.repo)
    make_folder(conversions)
    folder = conversions / f".{recipe.precision}.{uuid.uuid4().hex}"
    home.note_placed("draft", folder, repo=recipe.repo)  # a kill leaves it behind
    folder.mkdir()
    open_to_all(folder)
    try:
        result = server.run_alone(
            "prep.convert.export:make",
            {
                "source": str(home.snapshot(recipe.repo, recipe.commit)),
                "files": sorted(recipe.source),
                "folder": str(folder),
                "task": recipe.task,
                "options": dict(recipe.options),
            },
            doing=f"converting {recipe.repo} to {recipe.precision}",
            may_write=[folder],
        )
        no_tokenizer = _convert_tokenizer(ours, folder, recipe, texts)
        files = _digested(folder)
    except BaseException:  # Ctrl-C too: a draft without a receipt is of no use
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Draft(
        folder=folder,
        recipe=recipe,
        files=files,
        seconds=result.seconds,
        peak=result.peak,
        no_tokenizer=no_tokenizer,
    )


def _convert_tokenizer(
    server: ImportServer, folder: Path, recipe: Recipe, texts: Sequence[str]
) -> str | None:
    """Convert the tokenizer too; gives why that cannot be done, which most consumers do without."""
    order = {
        "folder": str(folder),
        "texts": list(texts),
        "writes": TASKS[recipe.task].generates,
    }
    doing = f"converting the tokenizer of {recipe.repo}"
    try:
        server.run_alone("prep.convert.tokenizer:make", order, doing=doing, may_write=[folder])
    except ModelError as error:
        for path in folder.glob("openvino_*tokenizer.*"):
            path.unlink()
        return " ".join(str(error).split())
    return None


def publish(home: Home, draft: Draft, content: Mapping[str, Any]) -> Receipt:
    """Give a checked draft its receipt and its name; what had that name is moved aside."""
    lacks = {NO_TOKENIZER: draft.no_tokenizer} if draft.no_tokenizer else {}
    receipt = Receipt(
        recipe=draft.recipe,
        files=draft.files,
        content={**content, **lacks},
        made={
            "at": now(),
            "seconds": round(draft.seconds, 2),
            "peak-bytes": draft.peak,
            "model-prep": build().record(),
        },
    )
    write_text(draft.folder / NAME, receipt.render())
    final = home.conversions(draft.recipe.repo) / draft.recipe.digest
    home.note_placed(
        "conversion",
        final,
        repo=draft.recipe.repo,
        commit=draft.recipe.commit,
        precision=draft.recipe.precision,
    )
    if final.is_symlink() or final.exists():
        aside = final.with_name(f".aside.{uuid.uuid4().hex}")
        home.note_placed("aside", aside, repo=draft.recipe.repo)
        final.rename(aside)
    draft.folder.rename(final)
    _flush(final.parent)
    point(home, draft.recipe)
    return receipt


def point(home: Home, recipe: Recipe) -> None:
    """Point the stable path at the recipe's folder; the old target stays until ``--cleanup``."""
    stable = home.stable(recipe.repo, recipe.precision)
    if stable.exists() and not stable.is_symlink():  # a copy with links resolved, or not ours
        aside = stable.with_name(f".aside.{uuid.uuid4().hex}")
        home.note_placed("aside", aside, repo=recipe.repo)
        stable.rename(aside)
    home.note_placed("link", stable, repo=recipe.repo)
    point_link(stable, recipe.digest)


def discard(draft: Draft) -> None:
    """Delete a draft; nothing is left of one that was published."""
    shutil.rmtree(draft.folder, ignore_errors=True)


def _digested(folder: Path) -> tuple[LockedFile, ...]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in folder.rglob("*"):
        open_to_all(path)
    files = []
    for path, got in digest_files(paths).items():
        if isinstance(got, OSError):
            raise got
        name = path.relative_to(folder).as_posix()
        files.append(LockedFile(path=name, size=got.size, sha256=got.sha256))
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return tuple(sorted(files, key=lambda file: file.path))


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
