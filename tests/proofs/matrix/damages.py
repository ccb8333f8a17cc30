"""Damages: ways to change a file, a link, a folder or a receipt."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prep.catalogue.lock import LockedFile
from prep.files.checksum import digest_file
from prep.home.layout import point_link
from prep.home.receipt import NAME, TOKENIZER_TOOL, Receipt, Recipe, read_receipt
from tests.proofs.matrix.row import Target
from tests.support.small_homes import lead, replace_by_folder


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Other bytes in place, through whatever links lead there."""
    path.write_bytes(change(path.read_bytes()))


def remove(path: Path) -> None:
    path.unlink()


def remove_blob(path: Path) -> None:
    path.resolve().unlink()


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def body(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: rewrite(path, change)


def crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def zero_tail(path: Path) -> None:
    """What a crash of the machine leaves of the last blocks."""
    rewrite(path, lambda body: body[:-4096] + bytes(4096))


def swap(first: Path, other: Path) -> None:
    """Each link leads to the other's file."""
    targets = first.readlink(), other.readlink()
    lead(first, targets[1])
    lead(other, targets[0])


def away(target: Target, path: Path) -> Path:
    """Move what `path` leads to out of the home; gives where it is now."""
    there = target.scratch / "away"
    shutil.move(path.resolve(), there)
    return there


def lead_away(target: Target, path: Path, *, absolute: bool = True) -> None:
    there = away(target, path)
    lead(path, there if absolute else os.path.relpath(there, path.parent))


def folder_away(target: Target, folder: Path) -> None:
    """A whole folder, reached by a link that leaves the home."""
    there = target.scratch / "away"
    shutil.copytree(folder, there)  # its links resolved: nothing is missing there
    shutil.rmtree(folder)
    folder.symlink_to(there)


def somebodys_folder(path: Path) -> None:
    """A folder with something in it where a file of ours belongs."""
    replace_by_folder(path)
    (path / "notes.txt").write_text("somebody's")


def unlocked(name: str, content: bytes) -> Callable[[Target], None]:
    def do(target: Target) -> None:
        path = target.snapshot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return do


def denied(name: str) -> Callable[[Target], None]:
    """The hub's client once had a 404 for it, from a mirror that was not whole."""

    def do(target: Target) -> None:
        note = target.repo / ".no_exist" / target.locked.commit / name
        note.parent.mkdir(parents=True)
        note.touch()

    return do


def mode(where: Callable[[Target], Path], bits: int) -> Callable[[Target], None]:
    return lambda target: where(target).chmod(bits)


def two_lines_swapped(body: bytes) -> bytes:
    lines = body.split(b"\n")
    lines[-3], lines[-2] = lines[-2], lines[-3]
    return b"\n".join(lines)


def swap_ref_for_link(target: Target) -> None:
    there = target.scratch / "ref"
    there.write_text(target.locked.commit)
    lead(target.ref, there)


def reseal(target: Target, recipe: Recipe | None = None) -> None:
    """A receipt that is right in every byte for what lies there, and the folder named by it."""
    folder = target.folder
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
        point_link(target.stable, new.recipe.digest)


def sealed(do: Callable[[Target], object]) -> Callable[[Target], None]:
    """The damage, and a receipt that fits it."""

    def damage(target: Target) -> None:
        do(target)
        reseal(target)

    return damage


def other_recipe(**changes: object) -> Callable[[Target], None]:
    """A whole conversion by another recipe, finished and sealed."""

    def do(target: Target) -> None:
        recipe = read_receipt(target.folder).recipe
        reseal(target, replace(recipe, **changes))  # type: ignore[arg-type]

    return do


def fp32_called_int8(target: Target) -> None:
    """float32 weights behind the int8 path."""
    fp32 = target.home.stable(target.locked.repo, "fp32")
    for path in fp32.glob("openvino_*"):
        shutil.copyfile(path, target.folder / path.name)
    reseal(target)


def half(target: Target) -> None:
    """What a kill in the middle of an export leaves: files, no receipt."""
    (target.folder / NAME).unlink()
    target.ir.unlink()


def scrambled(body: bytes) -> bytes:
    """Other numbers of the same kind: every second block of 64 bytes changes places."""
    blocks = [body[at : at + 64] for at in range(0, len(body), 64)]
    for at in range(0, len(blocks) - 3, 2):
        if len(blocks[at]) == len(blocks[at + 2]):
            blocks[at], blocks[at + 2] = blocks[at + 2], blocks[at]
    return b"".join(blocks)


def words_exchanged_in_ir(target: Target) -> None:
    """Words of one length change places in the tokenizer's IR: another tokenizer of that size."""
    path = target.folder / "openvino_tokenizer.bin"
    model = json.loads((target.folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    body = path.read_bytes()
    words = [(word if isinstance(word, str) else word[0]).encode() for word in model["vocab"]]
    alone = [word for word in words if len(word) >= 4 and body.count(word) == 1]
    for length in {len(word) for word in alone}:
        same = [word for word in alone if len(word) == length]
        for word, other in zip(same[::2], same[1::2], strict=False):
            at, there = body.index(word), body.index(other)
            body = _put(_put(body, at, other), there, word)
    path.write_bytes(body)


def _put(body: bytes, at: int, word: bytes) -> bytes:
    return body[:at] + word + body[at + len(word) :]


def tokenizer_ir_left_out(target: Target) -> None:
    for path in target.folder.glob("openvino_*tokenizer.*"):
        path.unlink()


def converted_before_the_tokenizer_ir(target: Target) -> None:
    """What a version gave that did not convert tokenizers."""
    tokenizer_ir_left_out(target)
    recipe = read_receipt(target.folder).recipe
    tools = {tool: version for tool, version in recipe.tools.items() if tool != TOKENIZER_TOOL}
    reseal(target, replace(recipe, tools=tools))


def source_of_other_bytes(target: Target) -> None:
    recipe = read_receipt(target.folder).recipe
    reseal(target, replace(recipe, source=dict(recipe.source) | {"config.json": "0" * 64}))


def receipt_edited(change: Callable[[str], str]) -> Callable[[Target], None]:
    def do(target: Target) -> None:
        path = target.folder / NAME
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode())

    return do


def limit_changed(target: Target) -> None:
    path = target.folder / "sentence_bert_config.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | {"max_seq_length": 8}), encoding="utf-8")


def of_the_neighbour(target: Target) -> None:
    """The stable path leads to another model's conversion, whole and sealed."""
    home, theirs = target.home, "theirs/model"
    recipe = replace(read_receipt(target.folder).recipe, repo=theirs)
    folder = home.conversions(theirs) / recipe.digest
    shutil.copytree(target.folder, folder)
    receipt = replace(read_receipt(target.folder), recipe=recipe)
    (folder / NAME).write_text(receipt.render(), encoding="utf-8")
    lead(target.stable, os.path.relpath(folder, target.stable.parent))


def conversion_away(target: Target) -> None:
    folder = target.folder
    there = target.scratch / "conversion"
    shutil.move(folder, there)
    lead(target.stable, there)


def renamed_folder(target: Target) -> None:
    folder = target.folder
    folder.rename(folder.with_name("f" * 64))
    point_link(target.stable, "f" * 64)


def asks_for_code(target: Target) -> None:
    """In a file that no original has, so that only its own content shows it."""
    data = {"auto_map": {"AutoModel": "theirs.Model"}}
    (target.folder / "video_preprocessor_config.json").write_text(json.dumps(data))


def by_absolute_link(target: Target, path: Path) -> None:
    there = path.with_name("elsewhere.bin")
    path.rename(there)
    path.symlink_to(there)
