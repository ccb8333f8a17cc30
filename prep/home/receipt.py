"""The receipt of a conversion: what it was made from, how, with what, and which files came out.

It is written last, so a folder without one is not complete. Its text is canonical and carries its
own checksum: a change of any byte is detected.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.lock import LockedFile, locked_file
from prep.files.fields import COMMIT, REPO, SHA256, Table, path_problem
from prep.files.reader import Unreadable, parse_json, read_bytes
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS

VERSION = 1
NAME = "receipt.json"
TOKENIZER = "openvino_tokenizer.xml"
TOKENIZER_TOOL = "openvino-tokenizers"  # receipts that do not name it are of before that file
NO_TOKENIZER = "no-tokenizer"  # key of the content


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All inputs of a conversion; its digest names the folder.

    `source` maps the path of each source file to its sha256, `tools` each tool to its version.
    """

    repo: str
    commit: str
    task: str
    precision: str
    source: Mapping[str, str]
    options: Mapping[str, Any]
    tools: Mapping[str, str]

    @property
    def digest(self) -> str:
        """sha256 in hex over the canonical recipe."""
        return hashlib.sha256(_canonical(asdict(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a conversion gave: `content` is what its check measured, `made` when and how long."""

    recipe: Recipe
    files: tuple[LockedFile, ...]
    content: Mapping[str, Any]
    made: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """The size of all converted files together, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def no_tokenizer(self) -> str | None:
        """Why the tokenizer could not be converted, None where it was, or nobody tried."""
        why = self.content.get(NO_TOKENIZER)
        return why if isinstance(why, str) else None

    def render(self) -> str:
        """The file's text."""
        body = {
            "receipt-version": VERSION,
            "recipe": asdict(self.recipe),
            "recipe-digest": self.recipe.digest,
            "files": [asdict(file) for file in self.files],
            "content": dict(self.content),
            "made": dict(self.made),
        }
        seal = hashlib.sha256(_canonical(body).encode()).hexdigest()
        return json.dumps({**body, "seal": seal}, indent=1, sort_keys=True) + "\n"


def read_receipt(folder: Path) -> Receipt:
    """Read the folder's receipt; `Unreadable` where it is missing or corrupt."""
    path = folder / NAME
    if path.exists() and not path.is_file():  # Don't open it: a pipe would never end
        raise Unreadable("is not a file")
    try:
        text = read_bytes(path).decode()  # Don't read_text here: it takes \r for \n
        data = parse_json(text)
    except FileNotFoundError:
        raise Unreadable("is not there: the conversion was never finished") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, not JSON
        raise Unreadable(f"cannot be read: {error}") from None
    problems: list[str] = []
    receipt = _receipt(Table(data, "", problems))
    if problems:
        raise Unreadable("; ".join(problems))
    if receipt.render() != text:
        raise Unreadable("its text is not what its seal says: it was changed after it was written")
    return receipt


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _receipt(top: Table) -> Receipt:
    top.version("receipt-version", VERSION)
    top.text("seal", SHA256, "a sha256 of 64 hex digits")
    top.text("recipe-digest", SHA256, "a sha256 of 64 hex digits")
    receipt = Receipt(
        recipe=_recipe(top.table("recipe")),
        files=tuple(locked_file(file, path_problem) for file in top.tables("files")),
        content=top.table("content").raw,
        made=top.table("made").raw,
    )
    top.done()
    return receipt


def _recipe(table: Table) -> Recipe:
    recipe = Recipe(
        repo=table.text("repo", REPO, "ORG/NAME"),
        commit=table.text("commit", COMMIT, "a commit of 40 hex digits"),
        task=table.choice("task", tuple(TASKS)),
        precision=table.choice("precision", PRECISIONS),
        source=table.table("source").raw,
        options=table.table("options").raw,
        tools=table.table("tools").raw,
    )
    table.done()
    return recipe
