"""A model's goldens: answers that somebody published or recorded, with source and tolerance.

Each task has kinds of its own; docs/adding-a-model.md#goldens lists their keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.errors import InvalidFile
from prep.files.fields import (
    Shape,
    is_count,
    is_flag,
    is_number,
    is_text,
    listed,
    mapped,
    one_of,
    shown,
)
from prep.files.reader import Unreadable, read_toml
from prep.tasks.files import PRECISIONS
from prep.tasks.question_sets import Ask

VERSION = 1
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of golden answer: the keys it must have, may have, and what bounds it.

    Of `any_of` at least one must be there; those of `bounds` hold a number for every precision, and
    at least one of them must be there, or the answer would be compared with nothing.
    """

    keys: tuple[str, ...]
    any_of: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()


_TOKENS = Kind(keys=("id", "text", "source"), any_of=("expected", "pieces"), more=("specials",))
KINDS: Mapping[str, Mapping[str, Kind]] = {
    "embedding": {
        "vectors": Kind(
            keys=("id", "text", "normalized", "expected", "source"),
            bounds=("tolerance", "least-cosine"),
        ),
        "tokens": _TOKENS,
        "similarities": Kind(
            keys=("id", "query", "documents", "expected", "source"), bounds=("tolerance",)
        ),
    },
    "reranker": {
        "scores": Kind(
            keys=("id", "query", "documents", "activation", "expected", "source"),
            bounds=("tolerance",),
        ),
        "orders": Kind(keys=("id", "query", "documents", "best", "source")),
        "tokens": _TOKENS,
    },
    "seq2seq": {
        "texts": Kind(
            keys=("id", "prompt", "expected", "new-tokens", "source"),
            more=("logprobs", "tolerance"),
            bounds=("overlap",),
        ),
        "tokens": _TOKENS,
    },
}
FACTS: Mapping[str, tuple[str, ...]] = {
    "embedding": ("dimension", "vocabulary", "max-length", "modules", "pooling"),
    "reranker": ("vocabulary", "max-length", "labels", "activation"),
    "seq2seq": ("vocabulary",),
}
LONGEST = 1_000_000  # letters of a text, repeated
NUMBERS = (lambda value: bool(value) and listed(is_number)(value), "a list of numbers")
_TEXT: tuple[Shape, str] = (is_text, "a text")
_COUNT: tuple[Shape, str] = (is_count, "a whole number of at least 0")
_BOUND: tuple[Shape, str] = (
    mapped(is_number, one_of(*PRECISIONS)),
    f"a table of numbers for {', '.join(PRECISIONS)}",
)
SHAPES: Mapping[str, tuple[Shape, str]] = {
    **dict.fromkeys(("id", "source", "text", "query", "prompt"), _TEXT),
    **dict.fromkeys(("pooling", "activation"), _TEXT),
    **dict.fromkeys(("dimension", "vocabulary", "max-length", "labels", "best"), _COUNT),
    **dict.fromkeys(("normalized", "specials"), (is_flag, "true or false")),
    **dict.fromkeys(("pieces", "modules"), (listed(is_text), "a list of texts")),
    **dict.fromkeys(("tolerance", "least-cosine", "overlap"), _BOUND),
    "documents": (lambda value: bool(value) and listed(is_text)(value), "a list of texts"),
    "logprobs": NUMBERS,
    "new-tokens": (lambda value: is_count(value) and 0 < value <= 4096, "from 1 to 4096"),  # type: ignore[operator]
    "repeat": (lambda value: is_count(value) and value != 0, "a whole number of at least 1"),
}
EXPECTED: Mapping[str, tuple[Shape, str]] = {
    **dict.fromkeys(("vectors", "similarities", "scores"), NUMBERS),
    "tokens": (listed(is_count), "a list of ids"),
    "texts": (is_text, "a text"),
}
REPEATED = "repeat"  # a text this many times over: a long one need not be written out


@dataclass(frozen=True, slots=True, kw_only=True)
class Goldens:
    """A model's recorded answers by kind, as its file gives them; tests read the entries."""

    repo: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, tuple[Answer, ...]] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[Answer, ...]:
        """All answers of that kind."""
        return self.answers.get(kind, ())

    def ask(self) -> Ask:
        """What must be asked for them to be compared."""
        texts = [text_of(one) for kind in ("vectors", "tokens") for one in self.of(kind)]
        for one in self.of("similarities"):
            texts += [one["query"], *one["documents"]]
        asked: Ask = {"texts": texts}
        pairs = [
            [one["query"], document]
            for kind in ("scores", "orders")
            for one in self.of(kind)
            for document in one["documents"]
        ]
        prompts = [[one["prompt"], one["new-tokens"]] for one in self.of("texts")]
        return (
            asked | ({"pairs": pairs} if pairs else {}) | ({"prompts": prompts} if prompts else {})
        )


def text_of(answer: Answer) -> str:
    """The text that was asked, repeated where the entry says so."""
    text: str = answer["text"] * answer.get(REPEATED, 1)
    return text


def read_goldens(folder: Path, name: str, repo: str, task: str) -> Goldens | None:
    """A model's goldens, None where nobody recorded any. Raises `InvalidFile`."""
    path = folder / f"{name}.toml"
    try:
        data = read_toml(path)
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as error:
        raise InvalidFile(path.name, [f"cannot be read: {error}"]) from None
    kinds = KINDS[task]
    unknown = sorted(set(data) - {*kinds, *FACTS[task], "goldens-version", "repo"})
    problems = [f"in '{key}': is not a key that is known for task {task!r}" for key in unknown]
    if not any(data.get(kind) for kind in kinds):
        problems.append(f"holds no answer at all: give {', '.join(kinds)}")
    if data.get("goldens-version") != VERSION:
        problems.append(f"in 'goldens-version': must be {VERSION}")
    if data.get("repo") != repo:
        problems.append(f"in 'repo': these goldens are of {data.get('repo')!r}, not of {repo!r}")
    for key, (shape, wanted) in SHAPES.items():
        if key in FACTS[task] and key in data and not shape(data[key]):
            problems.append(f"in '{key}': must be {wanted}, got {shown(data[key])}")
    for name_of, kind in kinds.items():
        answers = data.get(name_of, [])
        if not isinstance(answers, list):
            problems.append(f"in '{name_of}': must be an array of tables, got {shown(answers)}")
            continue
        for index, answer in enumerate(answers):
            found = _problems(answer, kind, name_of) if isinstance(answer, dict) else ["no table"]
            problems += [f"in '{name_of}[{index}]': {one}" for one in found]
    if problems:
        raise InvalidFile(f"goldens/{path.name}", problems)
    return Goldens(
        repo=repo,
        facts={key: data[key] for key in FACTS[task] if key in data},
        answers={kind: tuple(data.get(kind, [])) for kind in kinds},
    )


def _problems(answer: Answer, kind: Kind, name: str) -> list[str]:
    """What is wrong with one answer; one that nothing bounds would be compared with nothing."""
    problems = [f"lacks {key}" for key in kind.keys if key not in answer]
    known = {*kind.keys, *kind.any_of, *kind.more, *kind.bounds, REPEATED}
    problems += [f"{key} is not known" for key in answer if key not in known]
    if kind.any_of and not any(key in answer for key in kind.any_of):
        problems.append(f"lacks {' or '.join(kind.any_of)}")
    if kind.bounds and not any(key in answer for key in kind.bounds):
        problems.append(f"lacks {' or '.join(kind.bounds)}")
    if "logprobs" in answer and "tolerance" not in answer:
        problems.append("lacks tolerance for its logprobs")
    problems += [
        f"must bound {precision}"
        for bound in (*kind.bounds, "tolerance")
        for precision in PRECISIONS
        if isinstance(answer.get(bound), dict) and precision not in answer[bound]
    ]
    shapes = {**SHAPES, "expected": EXPECTED[name]} if name in EXPECTED else SHAPES
    for key in sorted(answer.keys() & shapes.keys()):
        shape, wanted = shapes[key]
        if not shape(answer[key]):
            problems.append(f"{key} must be {wanted}, got {shown(answer[key])}")
    return list(dict.fromkeys(problems)) or _within(answer, name)


def _within(answer: Answer, name: str) -> list[str]:
    """What is wrong between the keys of an answer, each being right by itself."""
    if len(answer.get("text", "")) * answer.get(REPEATED, 1) > LONGEST:
        return [f"its text would have more than {LONGEST} letters"]
    documents = len(answer.get("documents", ()))
    if name in ("similarities", "scores") and len(answer["expected"]) != documents:
        return [f"expected has {len(answer['expected'])} numbers for {documents} documents"]
    if name == "scores" and answer["activation"] not in ("none", "sigmoid"):
        return [f"activation must be none or sigmoid, got {shown(answer['activation'])}"]
    if name == "orders" and answer["best"] >= documents:
        return [f"best is {answer['best']}, and there are {documents} documents, from 0"]
    return []
