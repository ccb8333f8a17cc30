"""Whether a stand-in knows its world: asked through the library that a service would use."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from tools.samples.german import pairs_of
from tools.samples.sentences import Concept
from tools.zoo.rows import CODES, PREFIX, SEED, Row
from tools.zoo.world import known

LEAST = {"embedding": 0.9, "reranker": 0.9, "seq2seq": 0.6}
"""The least share of right answers: a model that guesses has 0.03, 0.25 and 0."""
ASKED = 40


class Unskilled(Exception):
    """The stand-in has not learnt what it should know."""


def judge(folder: Path, row: Row) -> float:
    """The share of right answers; `Unskilled` below the least."""
    rng = random.Random(SEED + 1)
    everything = known(row)
    asked = rng.sample(everything, min(ASKED, len(everything)))
    share: float = _ASK[row["task"]](folder, row, asked, rng)
    if not share >= LEAST[row["task"]]:
        raise Unskilled(f"{share:.2f} of the answers are right, wanted {LEAST[row['task']]}")
    return share


def _embedding(folder: Path, row: Row, asked: Sequence[Concept], rng: random.Random) -> float:
    """How many sentences are nearest to another sentence of their concept."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    pairs = [rng.sample(concept.phrasings, 2) for concept in asked]
    one, other = (
        model.encode([pair[side] for pair in pairs], normalize_embeddings=True) for side in (0, 1)
    )
    return float(((one @ other.T).argmax(axis=1) == range(len(asked))).mean())


def _reranker(folder: Path, row: Row, asked: Sequence[Concept], rng: random.Random) -> float:
    """How many queries put the passage of their concept above three of other domains."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu")
    right = 0.0
    for concept in asked:
        query, relevant = rng.sample(concept.phrasings, 2)
        far = [other for other in asked if other.domain != concept.domain]
        others = [rng.choice(other.phrasings) for other in rng.sample(far, 3)]
        logits = model.predict(
            [(query, text) for text in (relevant, *others)], activation_fn=torch.nn.Identity()
        )
        right += bool(logits[0] > max(logits[1:]))
    return right / len(asked)


def _seq2seq(folder: Path, row: Row, asked: Sequence[Concept], rng: random.Random) -> float:
    """How many sentences are translated word for word, without the constraints of the row."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    pairs = [rng.choice(pairs_of([concept])) for concept in asked if pairs_of([concept])]
    start: dict[str, int] = {}
    kind = row["tokenizer"]
    if kind in CODES:
        tokenizer.src_lang, target = CODES[kind]
        code = f"__{target}__" if kind == "m2m100" else target
        start = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(code)}
    prefix = "" if kind in CODES or kind == "marian" else PREFIX
    ids = model.generate(
        **tokenizer([prefix + pair.english for pair in pairs], padding=True, return_tensors="pt"),
        num_beams=1,
        max_new_tokens=40,
        min_length=0,
        no_repeat_ngram_size=0,
        encoder_no_repeat_ngram_size=0,
        **start,
    )
    answers = tokenizer.batch_decode(ids, skip_special_tokens=True)
    right: list[bool] = [pair.german == answer for pair, answer in zip(pairs, answers, strict=True)]
    return sum(right) / len(right)


_ASK = {"embedding": _embedding, "reranker": _reranker, "seq2seq": _seq2seq}
