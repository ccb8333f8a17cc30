"""What a stand-in can be told: the small world of the samples, in the language of its row."""

import random
import re
from collections.abc import Sequence

from tools.samples import languages
from tools.samples.sentences import DOMAINS, Concept, concepts, sentence
from tools.zoo.rows import Row
from tools.zoo.tokens import SPACE, pieces


def known(row: Row) -> Sequence[Concept]:
    """All that the row's model knows."""
    if language := row.get("language"):
        return languages.concepts(language)
    domains = row.get("domains", DOMAINS)
    return [concept for concept in concepts() if concept.domain in domains]


def vocabulary(row: Row) -> Sequence[str]:
    """The pieces of its tokenizer: characters, and the words that it needs."""
    if "language" not in row:
        samples = {"seq2seq": "tiny-seq2seq"}
        return pieces(row.get("vocabulary", samples.get(row["task"], "tiny-reranker")))
    language = row["language"]
    texts = [text for concept in known(row) for text in concept.phrasings]
    texts += languages.asked(language)
    texts += [text for key in ("before", "after") for text in languages.WORLDS[language][key]]
    texts += [text.capitalize() for text in texts]
    words = sorted({word for text in texts for word in re.findall(r"\w+", text)})
    characters = sorted({character for text in texts for character in text if character != " "})
    return [SPACE, *characters, *(SPACE + word for word in words if len(word) > 1)]


def said(rng: random.Random, language: str, *meant: Concept) -> str:
    """As it stands, or with the capitals and the mark of a written sentence."""
    if language != "en":
        texts = [languages.sentence(rng, language, concept) for concept in meant]
        return " ".join(rng.choice((text, languages.written(language, text))) for text in texts)
    text = sentence(rng, *meant)
    written = ". ".join(part[0].upper() + part[1:] for part in text.split(". "))
    return rng.choice((text, written + rng.choice((".", "?", ""))))
