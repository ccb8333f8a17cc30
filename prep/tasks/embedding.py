"""Embeddings: a text becomes a vector, and texts of one meaning lie near each other."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prep.files.fields import is_text, record
from prep.tasks import golden_kinds as kinds
from prep.tasks import loaders
from prep.tasks.architecture import (
    ENCODER_DECODERS,
    STEPS,
    WITH_POSITION_IDS,
    Architecture,
)
from prep.tasks.consumers import GENAI, Consumer, genai
from prep.tasks.measure import Agreement, Facts, Measure, all_finite, cosine, largest_gap, rounded
from prep.tasks.ordering import Ordering, Row
from prep.tasks.question_sets import (
    ALONE,
    LEAST_ORDERED,
    NUMBER,
    SHARES,
    Ask,
    Key,
    Questions,
    Table,
    joined,
    several,
    twice,
)
from prep.tasks.task import Task

CONSUMERS = (
    Consumer(name="transformers", classes="AutoModel, AutoTokenizer", reads="source"),
    Consumer(
        name="sentence-transformers",
        classes="SentenceTransformer",
        reads="source",
        short_owner="sentence-transformers",
    ),
    Consumer(
        name="optimum-intel",
        classes="OVModelForFeatureExtraction, AutoTokenizer",
        reads="converted",
    ),
    Consumer(
        name="sentence-transformers-openvino",
        classes='SentenceTransformer(backend="openvino")',
        reads="converted",
    ),
    genai("TextEmbeddingPipeline"),
)
# How openvino-genai can pool, and the modules that may stand before and after.
GENAI_POOLING = ("cls", "mean", "lasttoken")
GENAI_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """`related` means the same as `anchor`, `unrelated` does not."""

    anchor: str
    related: str
    unrelated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingQuestions(Questions):
    """`margin` is how far related texts must stand above unrelated ones on average, in standard
    deviations of all cosines of `table()`.

    `batch` bounds, by precision, how far a component of a unit vector may move when the text is
    answered in a batch. `agreement` is the least cosine.
    """

    margin: float
    batch: Mapping[str, float]
    related: tuple[Related, ...]

    @classmethod
    def bounds(cls) -> Mapping[str, Key]:
        """Those of all tasks, and its own."""
        return {**Questions.bounds(), "margin": NUMBER, "batch": SHARES}

    @classmethod
    def asked(cls) -> Mapping[str, Key]:
        """Triples."""
        related = record(dict.fromkeys(("anchor", "related", "unrelated"), is_text))
        words = "of anchor, related and unrelated texts"
        return {"related": several(LEAST_ORDERED, related, words)}

    @classmethod
    def _own(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"related": tuple(Related(**entry) for entry in asked["related"])}

    def repeated(self) -> list[str]:
        """Of all sentences."""
        return twice(self.plain()["texts"])

    def plain(self) -> Ask:
        """All sentences."""
        texts = [text for row in self.related for text in (row.anchor, row.related, row.unrelated)]
        return {"texts": texts, "together": texts[ALONE:]}

    def all(self) -> Ask:
        """Those and the odd texts."""
        return joined(self.plain(), {"texts": [*self.odd.values()]})

    def sentinels(self) -> Ask:
        """The first two texts."""
        return {"texts": self.plain()["texts"][:2]}

    def moved(self, answers: Mapping[str, Any], interrogation: Mapping[str, Any]) -> list[str]:
        """By the bound of float32, of the longest vector: only sums in another order may differ."""
        vectors = interrogation["vectors"]
        bound = self.batch["fp32"] * max(math.hypot(*vector) for vector in vectors.values())
        gaps = {
            text: largest_gap(vector, vectors[text]) for text, vector in answers["vectors"].items()
        }
        return [
            f"the vector of {text!r} is {gap:.2e} off, allowed {bound:.2e}"
            for text, gap in gaps.items()
            if not gap <= bound
        ]

    def table(self) -> Table:
        """A row each anchor, with all related and then all unrelated texts."""
        count = len(self.related)
        return Table(
            labels=[row.anchor for row in self.related],
            columns=[f"{kind} {number}" for kind in "PU" for number in range(1, count + 1)],
            cells=[self._others()] * count,
            framed=[(number, number + count) for number in range(count)],
            range=(0.0, 1.0),
            title="How near texts are (cosine)",
            note=(
                "P 1 is the first text's own paraphrase, U 1 a text about something else that was "
                "chosen for it: in every row the framed P must stand clear of the framed U."
            ),
        )

    def _answers(self, facts: Mapping[str, Any]) -> list[Any]:
        """The cosines of that table."""
        vectors = facts["vectors"]
        return [
            [rounded(cosine(vectors[row.anchor], vectors[text])) for text in self._others()]
            for row in self.related
        ]

    def ordering(self, vectors: Mapping[str, list[float]]) -> Ordering:
        """Whether related texts are nearer than unrelated ones, by the cosines of `table()`."""
        count = len(self.related)
        cosines = [
            [cosine(vectors[row.anchor], vectors[text]) for text in self._others()]
            for row in self.related
        ]
        rows = [
            Row(question=row.anchor, right=near[place], others=(near[place + count],))
            for place, (row, near) in enumerate(zip(self.related, cosines, strict=True))
        ]
        return Ordering(rows=rows, spread_of=[number for near in cosines for number in near])

    def _others(self) -> list[str]:
        return [row.related for row in self.related] + [row.unrelated for row in self.related]


def compare(reference: Facts, answers: Facts, ask: Ask, bound: float) -> Agreement:
    """The lowest cosine between vectors of one text."""
    pairs = [(reference["vectors"][text], answers["vectors"][text]) for text in ask["texts"]]
    if not all_finite(number for pair in pairs for vector in pair for number in vector):
        return Agreement(finite=False, value=0.0)
    if any(len(vector) != len(other) for vector, other in pairs):
        return Agreement(finite=True, value=0.0)
    return Agreement(finite=True, value=min(cosine(*pair) for pair in pairs))


def unable(found: Architecture, paths: Collection[str], consumer: Consumer) -> str | None:
    """Why a consumer cannot read such a model: it makes up what it does not find, or gives NaN."""
    alone = not consumer.name.startswith("sentence-transformers")
    if alone and found.model_type is None:
        return "there is no transformer in it (no config.json)"
    if not alone and found.modules is None:
        return "there is no modules.json, so that the library would make up a pipeline"
    if alone and found.model_type in ENCODER_DECODERS:
        return f"the library builds a decoder for {found.model_type} as well"
    unknown = [kind for kind in found.kinds if kind not in STEPS]
    if alone and unknown:
        return f"a service would have to know its modules: {', '.join(unknown)}"
    if consumer.reads == "source":
        return None
    if found.model_type is None or found.model_type in ENCODER_DECODERS:
        return "OpenVINO has no such model"
    if found.model_type in WITH_POSITION_IDS:
        return f"no library gives a converted {found.model_type} its position_ids: answers are NaN"
    return _unable_genai(found) if consumer.name == GENAI else None


def _unable_genai(found: Architecture) -> str | None:
    """Why OpenVINO's own runtime cannot read it: it pools and normalises, and no more."""
    if others := [kind for kind in found.kinds if kind not in GENAI_MODULES]:
        return f"the runtime has no module {', '.join(others)}"
    if found.kinds and "Pooling" not in found.kinds:
        return "the runtime always pools"
    pooling = found.pooling
    if pooling is not None and pooling.modes not in [(mode,) for mode in GENAI_POOLING]:
        return f"the runtime has no pooling {', '.join(pooling.modes)}"
    if pooling is not None and not pooling.counts_prompt:
        return "the runtime pools over the prompt as well"
    return None


GOLDEN_KINDS = {
    "vectors": kinds.Kind(
        keys={"text": kinds.TEXT, "normalized": kinds.FLAG, "expected": kinds.NUMBERS},
        bounds=("tolerance", "least-cosine"),
        ask=lambda answer: {"texts": [kinds.text_of(answer)]},
    ),
    "tokens": kinds.TOKENS,
    "similarities": kinds.Kind(
        keys={"query": kinds.TEXT, "documents": kinds.DOCUMENTS, "expected": kinds.NUMBERS},
        bounds=("tolerance",),
        ask=lambda answer: {"texts": [answer["query"], *answer["documents"]]},
        check=kinds.number_for_each_document,
    ),
}

TASK = Task(
    name="embedding",
    files=loaders.TRANSFORMERS + loaders.SENTENCE_TRANSFORMERS,
    consumers=CONSUMERS,
    export_class="OVModelForFeatureExtraction",
    export_task="feature-extraction",
    answer="vectors",
    question_set=EmbeddingQuestions,
    measure=Measure(
        sentence="the lowest cosine to the PyTorch original", label="cosine", compare=compare
    ),
    golden_kinds=GOLDEN_KINDS,
    golden_facts={
        "dimension": kinds.COUNT,
        "vocabulary": kinds.COUNT,
        "max-length": kinds.COUNT,
        "modules": kinds.TEXTS,
        "pooling": kinds.TEXT,
    },
    unable=unable,
    new_pin="indexes must be rebuilt",
    # Heads of the training, and a pooler that no embedding reads.
    unused_weights=("pooler.", "cls.", "lm_head.", "classifier.", "score.", "qa_outputs."),
)
