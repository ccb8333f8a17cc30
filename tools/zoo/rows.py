"""The rows of `models.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
SEED = 0
PREFIX = "translate English to German: "
CODES = {  # English and German, as tokenizers of several languages call them
    "nllb": ("eng_Latn", "deu_Latn"),
    "m2m100": ("en", "de"),
    "mbart50": ("en_XX", "de_DE"),
}
TABLE = Path(__file__).with_name("models.toml")


@cache
def rows() -> Mapping[str, Row]:
    """By name, with the keys of the row that each is `like`."""
    given = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    models = given["models"]

    def whole(row: Row) -> Row:
        return {
            **(whole(models[row["like"]]) if "like" in row else {"common": given["common"]}),
            **row,
        }

    return {name: whole(row) for name, row in models.items()}


def needs(name: str) -> str | None:
    """The row whose weights this one begins with."""
    source = rows()[name].get("from")
    return source if source in rows() else None
