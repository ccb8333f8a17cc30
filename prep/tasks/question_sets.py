"""What every model of a task is asked, whatever its name: judged by properties and by agreement.

No answer to them is recorded: goldens are. Each task's questions lie in the TOML file beside this
module, every number with its reason.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("questions")
ODD_TOKENS = 8  # what a seq2seq model writes to an odd text shows nothing more in more tokens

Ask = dict[str, list[Any]]
"""What a probe is asked: ``texts``, and by task ``pairs`` or ``prompts`` (text, new tokens)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What the questions of all tasks have.

    `agreement` bounds, by precision, how a converted model may differ from the PyTorch original on
    `plain()`, in the task's own measure; `odd` texts must come through, whatever the answer.
    """

    agreement: Mapping[str, float]
    odd: Mapping[str, str]

    def plain(self) -> Ask:
        """The questions with answers that mean something."""
        raise NotImplementedError

    def all(self) -> Ask:
        """Those and the odd texts."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """`related` means the same as `anchor`, `unrelated` does not."""

    anchor: str
    related: str
    unrelated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingQuestions(Questions):
    """`margin` is how far (in cosine) a related text must stand above an unrelated one.

    `batch` bounds, by precision, how far a component of a unit vector may move when the text is
    answered in a batch. `agreement` is the least cosine.
    """

    margin: float
    batch: Mapping[str, float]
    related: tuple[Related, ...]

    def plain(self) -> Ask:
        """All sentences, each once."""
        return {"texts": _each_once(t for r in self.related for t in _texts(r))}

    def all(self) -> Ask:
        """Those and the odd texts."""
        return {"texts": _each_once([*self.plain()["texts"], *self.odd.values()])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """`relevant` answers the query, none of `others` does."""

    query: str
    relevant: str
    others: tuple[str, ...]

    @property
    def passages(self) -> tuple[str, ...]:
        """The relevant one first."""
        return (self.relevant, *self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerQuestions(Questions):
    """`margin` is how far (in raw logits) the relevant passage must stand above all others.

    `batch` and `agreement` bound how far a raw logit may move, as a share of the spread (greatest
    less least) of the original's logits on these questions.
    """

    margin: float
    batch: Mapping[str, float]
    ranked: tuple[Ranked, ...]

    def plain(self) -> Ask:
        """Every query with each of its passages."""
        pairs = [[one.query, passage] for one in self.ranked for passage in one.passages]
        return {"texts": [], "pairs": pairs}

    def all(self) -> Ask:
        """Those, and every odd text as a query and as a passage."""
        first = self.ranked[0]
        odd = [
            pair
            for text in self.odd.values()
            for pair in ([text, first.relevant], [first.query, text])
        ]
        return {"texts": [], "pairs": [*self.plain()["pairs"], *odd]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2seqQuestions(Questions):
    """`new_tokens` is the length of every answer, `ended` the least share that reaches an end.

    `agreement` is the least share of the original's greedy tokens that the converted model puts
    first as well when it is shown the original's tokens before.
    """

    new_tokens: int
    ended: float
    prompts: Mapping[str, str]

    def plain(self) -> Ask:
        """Every prompt."""
        prompts = [[text, self.new_tokens] for text in self.prompts.values()]
        return {"texts": [], "prompts": prompts}

    def all(self) -> Ask:
        """Those, and every odd text as a prompt."""
        odd = [[text, ODD_TOKENS] for text in self.odd.values()]
        return {"texts": [], "prompts": [*self.plain()["prompts"], *odd]}


def read_questions(task: str) -> Questions:
    """The committed questions of a task."""
    data = tomllib.loads((FOLDER / f"{task}.toml").read_text(encoding="utf-8"))
    agreement = data["agreement"]
    odd = {one["id"]: one["text"] * one.get("repeat", 1) for one in data["odd"]}
    if task == "embedding":
        return EmbeddingQuestions(
            agreement=agreement,
            odd=odd,
            margin=data["margin"],
            batch=data["batch"],
            related=tuple(Related(**one) for one in data["related"]),
        )
    if task == "reranker":
        return RerankerQuestions(
            agreement=agreement,
            odd=odd,
            margin=data["margin"],
            batch=data["batch"],
            ranked=tuple(
                Ranked(**one | {"others": tuple(one["others"])}) for one in data["ranked"]
            ),
        )
    return Seq2seqQuestions(
        agreement=agreement,
        odd=odd,
        new_tokens=data["new-tokens"],
        ended=data["ended"],
        prompts={one["id"]: one["text"] for one in data["prompts"]},
    )


def joined(*asks: Ask) -> Ask:
    """All of several asks, each question once, in their order."""
    whole: Ask = {}
    for ask in asks:
        for kind, questions in ask.items():
            known = whole.setdefault(kind, [])
            for question in questions:
                if question not in known:
                    known.append(question)
    return whole


def _texts(one: Related) -> tuple[str, ...]:
    return one.anchor, one.related, one.unrelated


def _each_once(texts: Sequence[str] | Any) -> list[str]:
    return list(dict.fromkeys(texts))
