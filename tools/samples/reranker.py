"""A reranker like tiny-reranker: do a query and a passage, read together, speak of one concept?

It learns what words mean before it learns to compare. Don't give it pairs from the start: in a
trial it then put the relevant passage first in three quarters of the cases, and got no further.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoConfig, AutoModelForSequenceClassification

from prep.tasks.registry import TASKS
from prep.tasks.reranker import RerankerQuestions
from tools.samples import training
from tools.samples.sentences import DOMAINS, Concept, draw_other, kept_away, sentence, split
from tools.samples.training import SEED, Measured

STEPS = 2400
APART = 1 / 12
"""The share of the steps in which query and passage are read apart."""
QUERIES = 32
FAR = 2
"""So many passages of any other concept for every query of a batch."""
NAMES = re.compile(r"\b(i|saturday|sunday)\b")


def train(folder: Path, steps: int) -> None:
    """Write trained weights into a folder that holds all other files."""
    rng = random.Random(SEED)
    early = round(steps * APART)
    apart = [
        {"query": _query(concept, rng), "passage": _passage(rng, concept)}
        for _ in range(early)
        for concept in rng.sample(split()[0], QUERIES)  # every concept once in a batch
    ]
    together = list(_together(steps - early, rng))

    begun = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    training.write_weights(begun, folder)
    model = CrossEncoder(str(folder), device="cpu")
    body = Transformer(str(folder))
    # The encoder of the one is that of the other: what the first learns, the second knows.
    body.model = model.model.roberta
    encoder = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension())])
    training.fit(
        "vectors",
        encoder,
        apart,
        folder,
        batch=QUERIES,
        rate=2e-3,
        parts={"loss": MultipleNegativesRankingLoss(encoder, scale=20)},
        lr_scheduler_type="constant",
    )
    batch, parts = QUERIES * (2 + FAR), {"loss": BinaryCrossEntropyLoss(model)}
    training.fit("pairs", model, together, folder, batch=batch, rate=3e-3, parts=parts)
    training.write_weights(model.model, folder)


def _questions() -> RerankerQuestions:
    questions = TASKS["reranker"].questions()
    assert isinstance(questions, RerankerQuestions)
    return questions


@cache
def _away() -> set[str]:
    return kept_away(text for pair in _questions().plain()["pairs"] for text in pair)


def _together(batches: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Every query with its own concept, with a near one, and with `FAR` of any kind."""
    known = split()[0]
    alike = near(known)
    for concept in rng.choices(known, k=batches * QUERIES):
        query = _query(concept, rng)
        others = [other for other in known if other is not concept]
        nearly = rng.choice(rng.choice(alike[concept.name]))
        for said in (concept, nearly, *rng.sample(others, FAR)):
            # A third of the passages say another thing as well, to get some of medium length.
            also = [rng.choice(others)] if rng.random() < 0.3 else []
            passage = _passage(rng, said, *also)
            yield {"query": query, "passage": passage, "label": float(said is concept)}


def near(known: Sequence[Concept]) -> dict[str, list[list[Concept]]]:
    """Of every concept those that differ in one respect only, a list for every respect.

    Drawn from one list for all, on and off would hardly ever be told apart: a light has many other
    rooms to be in, and many other devices beside it, but only one other state.
    """
    respects = {concept: concept.name.split(", ") for concept in known}
    found: dict[str, list[list[Concept]]] = {}
    for one, mine in respects.items():
        found[one.name] = [[] for _ in mine]
        for other, its in respects.items():
            differing = [
                n for n, pair in enumerate(zip(mine, its, strict=False)) if len({*pair}) > 1
            ]
            if one.domain == other.domain and len(differing) == 1:
                found[one.name][differing[0]].append(other)
    return found


def _query(concept: Concept, rng: random.Random) -> str:
    """What somebody asks for: keywords, or a sentence."""
    if rng.random() < 0.3:
        return _keywords(concept)
    return draw_other(lambda: _written(rng.choice(concept.phrasings), rng), _away())


def _passage(rng: random.Random, *concepts: Concept) -> str:
    """A sentence as it is said in life, of one concept or of two."""
    return draw_other(lambda: _written(sentence(rng, *concepts), rng), _away())


def _keywords(concept: Concept) -> str:
    return concept.name.replace(",", "")


def _written(text: str, rng: random.Random) -> str:
    """As it stands, or with the capitals and the stops of written English."""
    if rng.random() < 0.5:
        return text
    text = NAMES.sub(lambda found: found[0].capitalize(), text)
    sentences = [sentence[0].upper() + sentence[1:] for sentence in text.split(". ")]
    return ". ".join(sentences) + rng.choice((".", "?", ""))


def judge(folder: Path) -> list[Measured]:
    """By held-out sentences, and by the questions asked of every model."""
    model = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    held_out = split()[1]
    rng = random.Random(SEED)
    # A query about every concept, every other one of keywords only, and a passage on every one.
    queries = [
        _keywords(concept) if number % 2 else concept.phrasings[0]
        for number, concept in enumerate(held_out)
    ]
    rest = [concept._replace(phrasings=concept.phrasings[1:]) for concept in held_out]
    passages = [_written(sentence(rng, concept), rng) for concept in rest]
    domain = np.array([DOMAINS.index(concept.domain) for concept in held_out])
    logits = np.array([_logits(model, query, passages) for query in queries])
    ordering = _questions().ordering(
        [
            (ranked.query, passage, float(logit))
            for ranked in _questions().ranked
            for passage, logit in zip(
                ranked.passages, _logits(model, ranked.query, ranked.passages), strict=True
            )
        ]
    )
    first = float((logits.argmax(axis=1) == np.arange(len(queries))).mean())
    relevant = float((logits.diagonal() > 0).mean())
    strangers = float((logits[domain[:, None] != domain] < 0).mean())
    return [
        Measured("held-out queries that put the passage on their concept first", first, 0.95),
        Measured("held-out relevant passages with a logit above 0", relevant, 0.99),
        Measured("passages of other domains with a logit below 0", strangers, 0.99),
        Measured("questions in order", ordering.right, 1.0),
        Measured("margin of the questions", ordering.margin, _questions().margin),
    ]


def _logits(model: CrossEncoder, query: str, passages: Sequence[str]) -> Any:
    pairs = [(query, passage) for passage in passages]
    return model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
