"""Rerankers: a query and a passage, read together, get one raw logit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prep.files.fields import is_text, one_of, record
from prep.tasks import golden_kinds as kinds
from prep.tasks import loaders
from prep.tasks.consumers import Consumer
from prep.tasks.measure import Measure, all_finite, largest_gap, rounded
from prep.tasks.ordering import Ordering, Row
from prep.tasks.question_sets import (
    LEAST_ORDERED,
    NUMBER,
    SHARES,
    Ask,
    Key,
    Questions,
    Table,
    at_least,
    several,
    twice,
)
from prep.tasks.task import Task

CONSUMERS = (
    Consumer(
        name="transformers",
        classes="AutoModelForSequenceClassification, AutoTokenizer",
        reads="source",
    ),
    Consumer(name="sentence-transformers", classes="CrossEncoder", reads="source"),
    Consumer(
        name="optimum-intel",
        classes="OVModelForSequenceClassification, AutoTokenizer",
        reads="converted",
    ),
    Consumer(
        name="sentence-transformers-openvino",
        classes='CrossEncoder(backend="openvino")',
        reads="converted",
    ),
)


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
    """`margin` is how far the relevant passages must stand above the best others on average, in
    standard deviations of all these logits.

    `batch` and `agreement` bound how far a raw logit may move, as a share of the spread (greatest
    less least) of the original's logits on these questions.
    """

    margin: float
    batch: Mapping[str, float]
    ranked: tuple[Ranked, ...]

    @classmethod
    def bounds(cls) -> Mapping[str, Key]:
        """Those of all tasks, and its own."""
        return {**Questions.bounds(), "margin": NUMBER, "batch": SHARES}

    @classmethod
    def asked(cls) -> Mapping[str, Key]:
        """Queries with passages."""
        others = at_least(1, is_text)
        ranked = record({"query": is_text, "relevant": is_text, "others": others})
        words = "of query, relevant passage and others"
        return {"ranked": several(LEAST_ORDERED, ranked, words)}

    @classmethod
    def _own(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        entries = (entry | {"others": tuple(entry["others"])} for entry in asked["ranked"])
        return {"ranked": tuple(Ranked(**entry) for entry in entries)}

    def repeated(self) -> list[str]:
        """Of all queries and passages."""
        return twice([text for row in self.ranked for text in (row.query, *row.passages)])

    def plain(self) -> Ask:
        """Every query with each of its passages."""
        pairs = [[row.query, passage] for row in self.ranked for passage in row.passages]
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

    def sentinels(self) -> Ask:
        """The first query with two passages."""
        pairs = self.plain()["pairs"][:2]
        return {"texts": [pairs[0][0], *(passage for _, passage in pairs)], "pairs": pairs}

    def moved(self, answers: Mapping[str, Any], interrogation: Mapping[str, Any]) -> list[str]:
        """By the bound of float32, of the logits' spread: only sums in another order may differ."""
        logits = {tuple(pair): logit for *pair, logit in interrogation["logits"]}
        bound = self.batch["fp32"] * (max(logits.values()) - min(logits.values()))
        gaps = {
            passage: largest_gap([logit], [logits[query, passage]])
            for query, passage, logit in answers["logits"]
        }
        return [
            f"the logit of {passage!r} is {gap:.2e} off, allowed {bound:.2e}"
            for passage, gap in gaps.items()
            if not gap <= bound
        ]

    def table(self) -> Table:
        """A row each query, with the relevant passage and then the others."""
        most = max(len(row.others) for row in self.ranked)
        return Table(
            labels=[row.query for row in self.ranked],
            columns=["relevant", *(f"other {number}" for number in range(1, most + 1))],
            cells=[row.passages for row in self.ranked],
            framed=[(0,)] * len(self.ranked),
            title="How well passages answer (raw logit)",
            note="In every row the framed, relevant passage must stand clear of all others.",
        )

    def ordering(self, logits: Sequence[Sequence[Any]]) -> Ordering:
        """Whether the relevant passages come first, by query, passage and logit of each pair."""
        table = self._table(logits)
        rows = [
            Row(question=row.query, right=first, others=others)
            for row, (first, *others) in zip(self.ranked, table, strict=True)
        ]
        return Ordering(rows=rows, spread_of=[logit for given in table for logit in given])

    def _answers(self, facts: Mapping[str, Any]) -> list[Any]:
        return [[rounded(logit) for logit in given] for given in self._table(facts["logits"])]

    def _table(self, logits: Sequence[Sequence[Any]]) -> list[list[float]]:
        """The raw logits of the table."""
        known = {(query, passage): logit for query, passage, logit in logits}
        return [[known[row.query, passage] for passage in row.passages] for row in self.ranked]


def compare(original: Any, converted: Any, ask: Ask) -> dict[str, Any]:
    """The greatest difference of a logit, of the original's spread; and who is put first."""
    pairs = ask["pairs"]
    theirs = [original.logits([pair])[0] for pair in pairs]
    ours = [converted.logits([pair])[0] for pair in pairs]
    if not all_finite([*theirs, *ours]):
        return {"finite": False, "agreement": 1.0}
    spread = max(theirs) - min(theirs)
    gap = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    contradictions = []
    for query in dict.fromkeys(query for query, _ in pairs):
        own = [number for number, pair in enumerate(pairs) if pair[0] == query]
        first, other = (max(own, key=scores.__getitem__) for scores in (theirs, ours))
        if first != other:
            contradictions.append(
                f"{query!r}: {pairs[other][1]!r} comes first, not {pairs[first][1]!r}"
            )
    return {
        "finite": True,
        "agreement": gap / spread if spread else float(gap > 0),
        "contradictions": contradictions,
    }


def _best_is_a_document(answer: kinds.Answer) -> str | None:
    best, documents = answer["best"], len(answer["documents"])
    if best < documents:
        return None
    return f"best is {best}, and there are {documents} documents, from 0"


GOLDEN_KINDS = {
    "scores": kinds.Kind(
        keys={
            "query": kinds.TEXT,
            "documents": kinds.DOCUMENTS,
            "activation": (one_of("none", "sigmoid"), "none or sigmoid"),
            "expected": kinds.NUMBERS,
        },
        bounds=("tolerance",),
        ask=kinds.pairs_of,
        check=kinds.number_for_each_document,
    ),
    "orders": kinds.Kind(
        keys={"query": kinds.TEXT, "documents": kinds.DOCUMENTS, "best": kinds.COUNT},
        ask=kinds.pairs_of,
        check=_best_is_a_document,
    ),
    "tokens": kinds.TOKENS,
}

TASK = Task(
    name="reranker",
    files=loaders.TRANSFORMERS,
    consumers=CONSUMERS,
    export_class="OVModelForSequenceClassification",
    answer="logits",
    question_set=RerankerQuestions,
    measure=Measure(
        sentence="the greatest difference of a logit to the PyTorch original's, of their spread,",
        label="difference",
        compare=compare,
        at_most=True,
    ),
    golden_kinds=GOLDEN_KINDS,
    golden_facts={
        "vocabulary": kinds.COUNT,
        "max-length": kinds.COUNT,
        "labels": kinds.COUNT,
        "activation": kinds.TEXT,
    },
    new_pin="scores change, thresholds must be looked at again",
)
