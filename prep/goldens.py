"""What a model is asked: the task's questions for every model, and a model's recorded goldens.

Questions need no recorded answer: they are judged by properties. Goldens are answers that somebody
published or recorded, each with its source and a tolerance for each precision.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.errors import Misread
from prep.tasks import PRECISIONS

QUESTIONS = Path(__file__).with_name("questions")
VERSION = 1
KEYS = {
    "vectors": ("id", "text", "normalized", "expected", "source"),
    "tokens": ("id", "text", "expected", "source"),
    "similarities": ("id", "query", "documents", "expected", "source"),
}
OPTIONAL = ("repeat", "tolerance", "least-cosine")
FACTS = ("dimension", "vocabulary", "max-length", "modules", "pooling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """`related` means the same as `anchor`, `unrelated` does not."""

    anchor: str
    related: str
    unrelated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """A task's questions. `agreement` is the least cosine to the original, by precision.

    `margin` is how far (in cosine) a related text must stand above an unrelated one, `batch` how
    far, by precision, a component of a unit vector may move when the text is answered in a batch.
    """

    margin: float
    batch: dict[str, float]
    agreement: dict[str, float]
    related: tuple[Related, ...]
    odd: dict[str, str]

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, each once."""
        triples = [
            text for one in self.related for text in (one.anchor, one.related, one.unrelated)
        ]
        return tuple(dict.fromkeys([*triples, *self.odd.values()]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goldens:
    """A model's recorded answers, as its file gives them; tests read the entries."""

    repo: str
    facts: dict[str, Any] = field(default_factory=dict)
    vectors: tuple[dict[str, Any], ...] = ()
    tokens: tuple[dict[str, Any], ...] = ()
    similarities: tuple[dict[str, Any], ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that must be asked, each once."""
        texts = [entry["text"] * entry.get("repeat", 1) for entry in (*self.vectors, *self.tokens)]
        for entry in self.similarities:
            texts += [entry["query"], *entry["documents"]]
        return tuple(dict.fromkeys(texts))


def read_questions(task: str) -> Questions:
    """The committed questions of a task."""
    path = QUESTIONS / f"{task}.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Questions(
        margin=data["margin"],
        batch=data["batch"],
        agreement=data["agreement"],
        related=tuple(Related(**one) for one in data["related"]),
        odd={one["id"]: one["text"] * one.get("repeat", 1) for one in data["odd"]},
    )


def read_goldens(folder: Path, name: str, repo: str) -> Goldens | None:
    """A model's goldens, None where nobody recorded any; `Misread` where they are not its own."""
    path = folder / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misread(path.name, [f"cannot be read: {error}"]) from None
    problems = []
    unknown = sorted(set(data) - {*KEYS, *FACTS, "goldens-version", "repo"})
    problems += [f"in '{key}': is not a key that is known here" for key in unknown]
    if not any(data.get(kind) for kind in KEYS):
        problems.append("holds no answer at all: give vectors, tokens or similarities")
    if data.get("goldens-version") != VERSION:
        problems.append(f"in 'goldens-version': must be {VERSION}")
    if data.get("repo") != repo:
        problems.append(f"in 'repo': these goldens are of {data.get('repo')!r}, not of {repo!r}")
    for kind, keys in KEYS.items():
        for index, entry in enumerate(data.get(kind, [])):
            problems += [f"in '{kind}[{index}]': {one}" for one in _entry_problems(entry, keys)]
    if problems:
        raise Misread(f"goldens/{path.name}", problems)
    lists = {kind: tuple(data.pop(kind, [])) for kind in ("vectors", "tokens", "similarities")}
    facts = {key: value for key, value in data.items() if key not in ("goldens-version", "repo")}
    return Goldens(repo=repo, facts=facts, **lists)


def _entry_problems(entry: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """What is wrong with one answer; one that nothing bounds would be compared with nothing."""
    problems = [f"lacks {key}" for key in keys if key not in entry]
    problems += [f"{key} is not known" for key in entry if key not in (*keys, *OPTIONAL)]
    bounds = [entry[key] for key in ("tolerance", "least-cosine") if key in entry]
    if keys != KEYS["tokens"]:
        if not bounds:
            problems.append("lacks tolerance or least-cosine")
        problems += [
            f"must bound {precision}"
            for bound in bounds
            for precision in PRECISIONS
            if precision not in bound
        ]
    return problems
