"""The German of what is said about the home and the weather, written as one writes a sentence.

Every phrasing that `sentences` has in these domains gets exactly one translation. It is put
together from the same parts as the English one, so the rules that a model has to learn are German
ones: separable verbs, genders, and the verb at the end of a clause.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from tools.samples.sentences import WORLD, Concept, choices, meanings

DOMAINS = ("home", "weather")


class Pair(NamedTuple):
    """A sentence and its translation, both with their capitals and their mark at the end."""

    english: str
    german: str


@cache
def translations() -> Mapping[str, Pair]:
    """By the phrasing as `sentences` has it: how it is written, in both languages."""
    found: dict[str, Pair] = {}
    for domain, _, parts in meanings():
        if domain not in DOMAINS:
            continue
        for template, chosen in choices(domain, parts):
            forms: dict[str, str] = {}
            for part, word in chosen.items():
                forms |= WORLD["german"][part][word]
            text = template.format(**chosen)
            found[text] = _written(text, WORLD["templates"][domain][template].format(**forms))
    return found


def pairs_of(concepts: Iterable[Concept]) -> list[Pair]:
    """All phrasings of those concepts that are of our domains, translated."""
    known = [concept for concept in concepts if concept.domain in DOMAINS]
    return [translations()[text] for concept in known for text in concept.phrasings]


def double(first: Pair, second: Pair) -> Pair:
    """Two sentences, one after the other."""
    return Pair(f"{first.english} {second.english}", f"{first.german} {second.german}")


def translated(text: str) -> str:
    """The German of one or more written sentences. KeyError if one of them is not known."""
    german = {pair.english: pair.german for pair in translations().values()}
    return " ".join(german[sentence] for sentence in re.split(r"(?<=[.?]) ", text))


def _written(english: str, german: str) -> Pair:
    # Not every verb leaves something standing apart from it: the blank for it closes up.
    german = " ".join(german.split()).replace(" .", ".")
    for day in ("saturday", "sunday"):
        english = english.replace(day, day.capitalize())
    return Pair(english=_upper(english) + german[-1], german=_upper(german))


def _upper(text: str) -> str:
    # Not capitalize(), which would write all the rest small.
    return text[0].upper() + text[1:]
