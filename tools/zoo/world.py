"""What a stand-in can be told: the small world of the samples, or the questions of its language."""

import random
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tools.samples.sentences import DOMAINS, Concept, concepts, sentence
from tools.zoo.rows import Row
from tools.zoo.tokens import SPACE, pieces

QUESTIONS = Path(__file__).resolve().parents[2] / "prep" / "tasks" / "questions"


def known(row: Row) -> Sequence[Concept]:
    """All that the row's model knows."""
    if language := row.get("language"):
        return _asked(language)
    domains = row.get("domains", DOMAINS)
    return [concept for concept in concepts() if concept.domain in domains]


def vocabulary(row: Row) -> Sequence[str]:
    """The pieces of its tokenizer: characters, and the words that it needs."""
    if "language" not in row:
        samples = {"seq2seq": "tiny-seq2seq"}
        return pieces(row.get("vocabulary", samples.get(row["task"], "tiny-reranker")))
    texts = [text for concept in known(row) for text in concept.phrasings]
    words = sorted({word for text in texts for word in re.findall(r"\w+", text)})
    characters = sorted({character for text in texts for character in text if character != " "})
    return [SPACE, *characters, *(SPACE + word for word in words if len(word) > 1)]


def said(rng: random.Random, *meant: Concept) -> str:
    """As it stands, or, in English, with small talk, capitals and the mark of written English."""
    if meant[0].domain not in DOMAINS:
        return " ".join(rng.choice(concept.phrasings) for concept in meant)
    text = sentence(rng, *meant)
    written = ". ".join(part[0].upper() + part[1:] for part in text.split(". "))
    return rng.choice((text, written + rng.choice((".", "?", ""))))


def _asked(language: str) -> list[Concept]:
    """The questions of that language: a model learns them by heart, for there is no world in it."""
    path = QUESTIONS / language / "embedding.toml"
    triples = tomllib.loads(path.read_text(encoding="utf-8"))["related"]
    found = []
    for number, triple in enumerate(triples):
        same = (triple["anchor"], triple["related"])
        for name, texts in (("same", same), ("other", (triple["unrelated"],) * 2)):
            found.append(Concept(domain=language, name=f"{number} {name}", phrasings=texts))
    return found
