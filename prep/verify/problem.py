"""What is wrong, in the words that tests, plan and reports share."""

from dataclasses import dataclass
from typing import Literal

Aspect = Literal["bytes", "links", "modes", "unlocked", "ref", "receipt", "unsafe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it must be: `kind` is one word, `detail` got and wanted."""

    aspect: Aspect
    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:<12} {self.path:<24} {self.detail}".rstrip()
