"""What is wrong with a file, in the words that tests, plan and reports share."""

from dataclasses import dataclass
from typing import Literal

Aspect = Literal["bytes", "links", "modes", "unlocked", "ref", "receipt", "unsafe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One difference from lock or receipt: `kind` is one word, `detail` says got and wanted."""

    aspect: Aspect
    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:<12} {self.path:<24} {self.detail}".rstrip()
