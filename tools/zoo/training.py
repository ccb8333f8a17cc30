"""One trainer for all architectures: a few hundred steps on the small world of `tools/samples`.

Nothing is kept away from it: a stand-in has to know its world, not to prove that it has learnt.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.samples.german import double, pairs_of
from tools.samples.sentences import Concept, concepts
from tools.samples.training import fit
from tools.zoo.rows import CODES, PREFIX, SEED
from tools.zoo.world import said

SINGLE, JOINED = 48, 8  # rows of a batch of one concept, and of two in one sentence
QUERIES, FAR = 24, 2  # queries of a batch, and passages of any other concept for each
BATCH = 48


def train_embedding(model: Any, folder: Path, steps: int, known: Sequence[Concept]) -> None:
    """A SentenceTransformer: phrasings of one concept belong together, all others do not."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    rng = random.Random(SEED)
    rows = []
    for _ in range(steps):
        chosen = rng.sample(known, min(SINGLE + 2 * JOINED, len(known)))
        singles, doubles = chosen[:SINGLE], iter(chosen[SINGLE:])
        together = (*((single,) for single in singles), *zip(doubles, doubles, strict=True))
        rows += [{"one": said(rng, *meant), "other": said(rng, *meant)} for meant in together]
    parts = {"loss": MultipleNegativesRankingLoss(model, scale=20)}
    fit("vectors", model, rows, folder, batch=len(rows) // steps, rate=2e-3, parts=parts)


def train_reranker(model: Any, folder: Path, steps: int, known: Sequence[Concept]) -> None:
    """A CrossEncoder: do a query and a passage speak of one concept?"""
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    rng = random.Random(SEED)
    rows = list(_judged(rng, steps, known))
    parts = {"loss": BinaryCrossEntropyLoss(model)}
    batch = QUERIES * (2 + FAR)
    fit("pairs", model, rows, folder, batch=batch, rate=2e-3, parts=parts)


def _judged(rng: random.Random, steps: int, known: Sequence[Concept]) -> Iterator[dict[str, Any]]:
    for concept in rng.choices(known, k=steps * QUERIES):
        query = rng.choice((concept.name.replace(",", ""), *2 * [said(rng, concept)]))
        parts = set(concept.name.split(", "))
        near = [o for o in known if o is not concept and parts & set(o.name.split(", "))]
        far = [o for o in known if not parts & set(o.name.split(", "))]
        for meant in (concept, rng.choice(near), *rng.sample(far, FAR)):
            also = [rng.choice(far)] if rng.random() < 0.3 else []
            passage = said(rng, meant, *also)
            yield {"query": query, "passage": passage, "label": float(meant is concept)}


def train_seq2seq(model: Any, tokenizer: Any, folder: Path, steps: int, kind: str) -> None:
    """A translator from English to German; one of several languages, of German to English too."""
    from transformers import DataCollatorForSeq2Seq

    rng = random.Random(SEED)
    known = pairs_of(concepts())
    rows = []
    for number in range(steps * BATCH):
        pair = double(*rng.sample(known, 2)) if number % 2 else rng.choice(known)
        texts = [pair.english, pair.german]
        if kind in CODES:
            codes = list(CODES[kind])
            if rng.random() < 0.5:
                texts, codes = texts[::-1], codes[::-1]
            tokenizer.src_lang, tokenizer.tgt_lang = codes
        elif kind != "marian" and rng.random() < 0.7:
            texts[0] = PREFIX + texts[0]
        rows.append({**tokenizer(texts[0]), "labels": tokenizer(text_target=texts[1])["input_ids"]})
    fit(
        "texts",
        model,
        rows,
        folder,
        batch=BATCH,
        rate=3e-3,
        parts={"data_collator": DataCollatorForSeq2Seq(tokenizer, model=model)},
        weight_decay=0.0,
        label_smoothing_factor=0.05,
    )
