"""One trainer for all architectures: a few hundred steps on the small world of `tools/samples`.

Nothing is kept away from it: a stand-in has to know its world, not to prove that it has learnt.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.registry import TASKS
from tools.samples.german import double, pairs_of
from tools.samples.sentences import concepts
from tools.samples.training import fit
from tools.zoo.rows import CODES, PREFIX, SEED, Row
from tools.zoo.world import known, said

ASKED = 3  # rows of a batch that are questions, in other languages than English
SINGLE, JOINED = 32, 4  # rows of a batch of one concept, and of two in one sentence
QUERIES, FAR = 12, 2  # queries of a batch, and passages of any other concept for each
BATCH = 32
_SHIFTED = "prepare_decoder_input_ids_from_labels"


def train_embedding(model: Any, folder: Path, row: Row) -> None:
    """A SentenceTransformer: phrasings of one concept belong together, all others do not."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    rng, language = random.Random(SEED), row.get("language", "en")
    rows = []
    for _ in range(row["steps"]):
        chosen = rng.sample(known(row), SINGLE + 2 * JOINED)
        singles, doubles = chosen[:SINGLE], iter(chosen[SINGLE:])
        together = (*((single,) for single in singles), *zip(doubles, doubles, strict=True))
        rows += [
            {"one": said(rng, language, *meant), "other": said(rng, language, *meant)}
            for meant in together
        ]
        if language != "en":  # the samples, from which English stand-ins begin, know more
            rows[-ASKED:] = rng.sample(_asked(language), ASKED)
    parts = {"loss": MultipleNegativesRankingLoss(model, scale=20)}
    fit("vectors", model, rows, folder, batch=SINGLE + JOINED, rate=2e-3, parts=parts)


def _asked(language: str) -> list[dict[str, str]]:
    """The questions of the suite themselves: a stand-in is only to be told from a broken model."""
    questions = TASKS["embedding"].questions(language)
    assert isinstance(questions, EmbeddingQuestions)
    return [{"one": row.anchor, "other": row.related} for row in questions.related]


def train_reranker(model: Any, folder: Path, row: Row) -> None:
    """A CrossEncoder: do a query and a passage speak of one concept?"""
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    rng = random.Random(SEED)
    rows = list(_judged(rng, row))
    parts = {"loss": BinaryCrossEntropyLoss(model)}
    batch = QUERIES * (2 + FAR)
    fit("pairs", model, rows, folder, batch=batch, rate=2e-3, parts=parts)


def _judged(rng: random.Random, row: Row) -> Iterator[dict[str, Any]]:
    everything, language = known(row), row.get("language", "en")
    for concept in rng.choices(everything, k=row["steps"] * QUERIES):
        keywords = concept.name.replace(",", "")
        query = rng.choice((keywords, *2 * [said(rng, language, concept)]))
        parts = set(concept.name.split(", "))
        near = [o for o in everything if o is not concept and parts & set(o.name.split(", "))]
        far = [o for o in everything if not parts & set(o.name.split(", "))]
        for meant in (concept, rng.choice(near), *rng.sample(far, FAR)):
            also = [rng.choice(far)] if rng.random() < 0.3 else []
            passage = said(rng, language, meant, *also)
            yield {"query": query, "passage": passage, "label": float(meant is concept)}


def train_seq2seq(model: Any, tokenizer: Any, folder: Path, row: Row) -> None:
    """A translator from English to German; one of several languages, of German to English too."""
    from transformers import DataCollatorForSeq2Seq

    rng, kind = random.Random(SEED), row["tokenizer"]
    pairs = pairs_of(concepts())
    drawn = []
    for number in range(row["steps"] * BATCH):
        pair = double(*rng.sample(pairs, 2)) if number % 2 else rng.choice(pairs)
        texts = (pair.english, pair.german)
        if kind in CODES and rng.random() < 0.5:
            texts = texts[::-1]
        elif kind not in CODES and rng.random() < 0.7:
            texts = (PREFIX + texts[0], texts[1])
        drawn.append((texts, texts[0] == pair.german))
    rows: list[dict[str, Any]] = [{} for _ in drawn]
    # All of one direction at once: a change of languages makes another tokenizer.
    for back in (False, True) if kind in CODES else (False,):
        if kind in CODES:
            codes = CODES[kind][::-1] if back else CODES[kind]
            tokenizer.src_lang, tokenizer.tgt_lang = codes
        numbers = [number for number, (_, other) in enumerate(drawn) if other == back]
        sources, targets = zip(*(drawn[number][0] for number in numbers), strict=True)
        given = tokenizer(list(sources))
        labels = tokenizer(text_target=list(targets))["input_ids"]
        for at, number in enumerate(numbers):
            mask = given["attention_mask"][at]
            rows[number] = {"input_ids": given["input_ids"][at], "attention_mask": mask}
            rows[number]["labels"] = labels[at]
    fit(
        "texts",
        model,
        rows,
        folder,
        batch=BATCH,
        rate=3e-3,
        parts={"data_collator": DataCollatorForSeq2Seq(tokenizer, model=model)},
        weight_decay=0.0,
        # Without it every chosen token gets a log-probability of nearly 0; M2M100 cannot have it.
        label_smoothing_factor=0.05 if hasattr(model, _SHIFTED) else 0.0,
    )
