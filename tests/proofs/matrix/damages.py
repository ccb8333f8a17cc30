"""What deeds are made of: ways to spoil a file, a link, a folder or a receipt."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prep.catalogue.lock import LockedFile
from prep.files.checksum import digest_file
from prep.home.layout import point_link
from prep.home.receipt import NAME, Receipt, Recipe, read_receipt
from tests.proofs.matrix.row import Place
from tests.support.small_homes import lead, replace_by_folder


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Other bytes in place, through whatever links lead there."""
    path.write_bytes(change(path.read_bytes()))


def zero_tail(path: Path) -> None:
    """What a crash of the machine leaves of the last blocks."""
    rewrite(path, lambda body: body[:-4096] + bytes(4096))


def swap(one: Path, other: Path) -> None:
    """Each link leads to the other's file."""
    targets = one.readlink(), other.readlink()
    lead(one, targets[1])
    lead(other, targets[0])


def away(place: Place, path: Path) -> Path:
    """Move what `path` leads to out of the home; gives where it is now."""
    there = place.scratch / "away"
    shutil.move(path.resolve(), there)
    return there


def lead_away(place: Place, path: Path, *, absolute: bool = True) -> None:
    there = away(place, path)
    lead(path, there if absolute else os.path.relpath(there, path.parent))


def folder_away(place: Place, folder: Path) -> None:
    """A whole folder, reached by a link that leaves the home."""
    there = place.scratch / "away"
    shutil.copytree(folder, there)  # its links resolved: nothing is missing there
    shutil.rmtree(folder)
    folder.symlink_to(there)


def somebodys_folder(path: Path) -> None:
    """A folder with something in it where a file of ours belongs."""
    replace_by_folder(path)
    (path / "notes.txt").write_text("somebody's")


def extra(*names: str, body: bytes = b"{}") -> Callable[[Place], None]:
    def do(place: Place) -> None:
        for name in names:
            path = place.snapshot / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    return do


def denied(name: str) -> Callable[[Place], None]:
    """The hub's client once had a 404 for it, from a mirror that was not whole."""

    def do(place: Place) -> None:
        note = place.repo / ".no_exist" / place.locked.commit / name
        note.parent.mkdir(parents=True)
        note.touch()

    return do


def mode(where: Callable[[Place], Path], bits: int) -> Callable[[Place], None]:
    return lambda place: where(place).chmod(bits)


def two_lines_swapped(body: bytes) -> bytes:
    lines = body.split(b"\n")
    lines[-3], lines[-2] = lines[-2], lines[-3]
    return b"\n".join(lines)


def swap_ref_for_link(place: Place) -> None:
    there = place.scratch / "ref"
    there.write_text(place.locked.commit)
    lead(place.ref, there)


def reseal(place: Place, recipe: Recipe | None = None) -> None:
    """A receipt that is right in every byte for what lies there, and the folder named by it."""
    folder = place.folder
    old = read_receipt(folder)
    files = tuple(
        LockedFile(path=path.relative_to(folder).as_posix(), size=got.size, sha256=got.sha256)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (NAME, "notes.txt")
        for got in [digest_file(path)]
    )
    new = Receipt(recipe=recipe or old.recipe, files=files, content=old.content, made=old.made)
    (folder / NAME).write_text(new.render(), encoding="utf-8")
    if new.recipe.digest != folder.name:
        folder.rename(folder.with_name(new.recipe.digest))
        point_link(place.stable, new.recipe.digest)


def sealed(do: Callable[[Place], object]) -> Callable[[Place], None]:
    """The deed, and a receipt that knows of it."""

    def deed(place: Place) -> None:
        do(place)
        reseal(place)

    return deed


def other_recipe(**changes: object) -> Callable[[Place], None]:
    """A whole conversion by another recipe, finished and sealed."""

    def do(place: Place) -> None:
        recipe = read_receipt(place.folder).recipe
        reseal(place, replace(recipe, **changes))  # type: ignore[arg-type]

    return do


def fp32_called_int8(place: Place) -> None:
    """float32 weights behind the int8 path."""
    fp32 = place.home.stable(place.locked.repo, "fp32")
    for path in fp32.glob("openvino_*"):
        shutil.copyfile(path, place.folder / path.name)
    reseal(place)


def half(place: Place) -> None:
    """What a kill in the middle of an export leaves: files, no receipt."""
    (place.folder / NAME).unlink()
    place.ir.unlink()


def scrambled(body: bytes) -> bytes:
    """Other numbers of the same kind: every second block of 64 bytes changes places."""
    blocks = [body[at : at + 64] for at in range(0, len(body), 64)]
    for at in range(0, len(blocks) - 3, 2):
        if len(blocks[at]) == len(blocks[at + 2]):
            blocks[at], blocks[at + 2] = blocks[at + 2], blocks[at]
    return b"".join(blocks)


def source_of_other_bytes(place: Place) -> None:
    recipe = read_receipt(place.folder).recipe
    reseal(place, replace(recipe, source=dict(recipe.source) | {"config.json": "0" * 64}))


def receipt_edited(change: Callable[[str], str]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        path = place.folder / NAME
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode())

    return do


def limit_changed(place: Place) -> None:
    path = place.folder / "sentence_bert_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"max_seq_length": 8}), encoding="utf-8")


def of_the_neighbour(place: Place) -> None:
    """The stable path leads to another model's conversion, whole and sealed."""
    home, theirs = place.home, "theirs/model"
    recipe = replace(read_receipt(place.folder).recipe, repo=theirs)
    folder = home.conversions(theirs) / recipe.digest
    shutil.copytree(place.folder, folder)
    receipt = replace(read_receipt(place.folder), recipe=recipe)
    (folder / NAME).write_text(receipt.render(), encoding="utf-8")
    lead(place.stable, os.path.relpath(folder, place.stable.parent))


def conversion_away(place: Place) -> None:
    folder = place.folder
    there = place.scratch / "conversion"
    shutil.move(folder, there)
    lead(place.stable, there)


def renamed_folder(place: Place) -> None:
    folder = place.folder
    folder.rename(folder.with_name("f" * 64))
    point_link(place.stable, "f" * 64)


def asks_for_code(place: Place) -> None:
    """In a file that no original has, so that nothing but its own content tells."""
    told = {"auto_map": {"AutoModel": "theirs.Model"}}
    (place.folder / "video_preprocessor_config.json").write_text(json.dumps(told))


def by_absolute_link(place: Place, path: Path) -> None:
    there = path.with_name("elsewhere.bin")
    path.rename(there)
    path.symlink_to(there)
