"""An embedding model like tiny-embedding: phrasings of one concept lie together.

With in-batch negatives: two phrasings of a concept belong together, all others of the batch do not.
"""

import random
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import AutoConfig, AutoModel

from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.registry import TASKS
from tools.samples import training
from tools.samples.sentences import DOMAINS, Concept, draw_other, kept_away, sentence, split
from tools.samples.training import SEED, Measured

STEPS = 600
SINGLE, JOINED = 48, 8
"""So many rows of a batch are of one concept, and so many of two in one sentence."""


def train(folder: Path, steps: int) -> None:
    """Write trained weights into a folder that holds all other files."""
    training.write_weights(AutoModel.from_config(AutoConfig.from_pretrained(folder)), folder)
    model = SentenceTransformer(str(folder), device="cpu")
    both = ("query_to_doc", "doc_to_query")
    loss = MultipleNegativesRankingLoss(
        model, scale=20, directions=both, partition_mode="per_direction"
    )
    batch, parts = SINGLE + JOINED, {"loss": loss}
    training.fit("vectors", model, _rows(steps), folder, batch=batch, rate=3e-3, parts=parts)
    training.write_weights(model[0].auto_model, folder)


def _rows(steps: int) -> list[dict[str, str]]:
    """Pairs of one meaning, for all batches; in a batch every concept occurs in one of them."""
    rng = random.Random(SEED)
    away = kept_away(_questions().plain()["texts"])

    def say(*meant: Concept) -> str:
        return draw_other(lambda: sentence(rng, *meant), away)

    rows = []
    for _ in range(steps):
        chosen = rng.sample(split()[0], SINGLE + 2 * JOINED)
        singles, doubles = chosen[:SINGLE], iter(chosen[SINGLE:])
        together = (*zip(singles, strict=True), *zip(doubles, doubles, strict=True))
        rows += [{"one": say(*meant), "other": say(*meant)} for meant in together]
    return rows


def judge(folder: Path) -> list[Measured]:
    """By held-out sentences, and by the questions asked of every model."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    held_out = split()[1]
    texts = [text for concept in held_out for text in concept.phrasings]
    meant = np.array([n for n, concept in enumerate(held_out) for _ in concept.phrasings])
    domain = np.array([DOMAINS.index(held_out[n].domain) for n in meant])
    vectors = model.encode(texts, show_progress_bar=False)
    cosine = vectors @ vectors.T
    paraphrases = cosine[meant[:, None] == meant].min()
    strangers = cosine[domain[:, None] != domain].max()
    # The first sentence of every concept is what may be found, all others look for it.
    documents = np.flatnonzero(np.diff(meant, prepend=-1))
    queries = np.setdiff1d(np.arange(len(texts)), documents)
    nearest = cosine[np.ix_(queries, documents)].argmax(axis=1)
    asked = _questions().plain()["texts"]
    vectors = model.encode(asked, show_progress_bar=False)
    ordering = _questions().ordering(dict(zip(asked, vectors.tolist(), strict=True)))
    apart = "least cosine of held-out paraphrases above the greatest of strangers"
    found = float((nearest == meant[queries]).mean())
    return [
        Measured(apart, float(paraphrases - strangers), 0.25),
        Measured("held-out sentences that find their own concept first", found, 0.95),
        Measured("questions in order", ordering.right, 1.0),
        Measured("margin of the questions", ordering.margin, _questions().margin),
    ]


def _questions() -> EmbeddingQuestions:
    questions = TASKS["embedding"].questions()
    assert isinstance(questions, EmbeddingQuestions)
    return questions
