"""Rerankers: a query and a passage, read together, get one raw logit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prep.files.fields import is_text, one_of, record
from prep.tasks import golden_kinds as kinds
from prep.tasks import loaders
from prep.tasks.architecture import Architecture
from prep.tasks.consumers import GENAI, Consumer, genai
from prep.tasks.measure import Agreement, Facts, Measure, all_finite, largest_gap, rounded
from prep.tasks.ordering import NOISE, Ordering, Row
from prep.tasks.question_sets import (
    ALONE,
    LEAST_ORDERED,
    NUMBER,
    SHARES,
    Ask,
    Key,
    Questions,
    Table,
    at_least,
    joined,
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
    genai("TextRerankPipeline"),
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
        return {"texts": [], "pairs": pairs, "together": pairs[ALONE:]}

    def all(self) -> Ask:
        """Those, and every odd text as a query and as a passage."""
        first = self.ranked[0]
        odd = [
            pair
            for text in self.odd.values()
            for pair in ([text, first.relevant], [first.query, text])
        ]
        return joined(self.plain(), {"pairs": odd})

    def sentinels(self) -> Ask:
        """The first query with two passages."""
        pairs = self.plain()["pairs"][:2]
        return {"texts": [pairs[0][0], *(passage for _, passage in pairs)], "pairs": pairs}

    def moved(self, answers: Mapping[str, Any], interrogation: Mapping[str, Any]) -> list[str]:
        """By the bound of float32, of the logits' spread: only sums in another order may differ."""
        logits = _logits(interrogation)
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


def compare(reference: Facts, answers: Facts, ask: Ask, bound: float) -> Agreement:
    """The greatest difference of a logit, of the reference's spread; and who is put first.

    Passages that the reference holds no further apart than the bound may change places.
    """
    theirs, ours = _logits(reference), _logits(answers)
    pairs = [tuple(pair) for pair in ask["pairs"]]
    if not all_finite(logits[pair] for logits in (theirs, ours) for pair in pairs):
        return Agreement(finite=False, value=1.0)
    spread = max(theirs[pair] for pair in pairs) - min(theirs[pair] for pair in pairs)
    gap = max(abs(theirs[pair] - ours[pair]) for pair in pairs)
    contradictions = []
    for query in dict.fromkeys(query for query, _ in pairs):
        own = [pair for pair in pairs if pair[0] == query]
        first, other = (max(own, key=logits.__getitem__) for logits in (theirs, ours))
        if theirs[first] - theirs[other] > bound * spread:
            contradictions.append(f"{query!r}: {other[1]!r} comes first, not {first[1]!r}")
    return Agreement(
        finite=True,
        value=gap / spread if spread else float(gap > 0),
        contradictions=tuple(contradictions),
    )


def _logits(facts: Facts) -> dict[tuple[str, ...], float]:
    """The raw logit of every pair that was asked."""
    return {(query, passage): logit for query, passage, logit in facts["logits"]}


def unable(found: Architecture, paths: Collection[str], consumer: Consumer) -> str | None:
    """Why a consumer cannot read such a model: a class without its modules has a random head."""
    if consumer.name == "sentence-transformers":
        return None
    classifies = any(name.endswith("ForSequenceClassification") for name in found.classes)
    if found.is_modular or not classifies:
        what = ", ".join(found.kinds or found.classes) or "no class"
        return f"it is put together from modules ({what}), which CrossEncoder alone reads"
    if consumer.name == GENAI and found.model_type == "qwen3":
        return "the runtime joins query and passage of a qwen3 to one text"
    return None


def other_kind(found: Architecture) -> str | None:
    """Why such a model is no reranker: the first of several labels would come out as a score."""
    if found.is_modular or found.labels == 1:
        return None
    return f"it has {found.labels} labels, and a reranker has 1"


def _best_is_a_document(answer: kinds.Answer) -> str | None:
    best, documents = answer["best"], len(answer["documents"])
    if best < documents:
        return None
    return f"best is {best}, and there are {documents} documents, from 0"


def says_nothing(reference: Facts) -> str | None:
    """Why no order is in the reference's answers: as random as a tie."""
    logits = _logits(reference).values()
    if max(logits) - min(logits) <= NOISE * max(map(abs, logits)):
        return f"all {len(logits)} pairs of query and passage get the logit {max(logits):.4f}"
    return None


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
    files=loaders.TRANSFORMERS + loaders.SENTENCE_TRANSFORMERS,
    consumers=CONSUMERS,
    export_class="OVModelForSequenceClassification",
    export_task="text-classification",
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
    unable=unable,
    other_kind=other_kind,
    says_nothing=says_nothing,
    new_pin="scores change, thresholds must be looked at again",
)
