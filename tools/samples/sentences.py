"""The small world that the sample models know: a home, its weather, its food.

A concept is one thing that can be meant ("the kitchen's light on"), with every way this world has
of saying it. Phrasings of one concept are paraphrases; everything else is not. The sentences are
plain English on purpose: a large general model must rank them as the tiny ones do, because the
same questions are asked of both.

All of it is a table (`world.toml`) and a few products: no randomness but the seeded split.
"""

import random
import re
import tomllib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

SPLIT_SEED = 0
HELD_OUT_SHARE = 0.2
DOMAINS = ("home", "weather", "food")
WORLD = tomllib.loads(Path(__file__).with_name("world.toml").read_text(encoding="utf-8"))

Parts = Mapping[str, Sequence[str]]


class Concept(NamedTuple):
    """One thing that can be meant: its domain, a name of its own, and its phrasings, sorted."""

    domain: str
    name: str
    phrasings: tuple[str, ...]


def meanings() -> Iterator[tuple[str, str, Parts]]:
    """Domain and name of all that can be meant, and the words for each part of a template."""
    rooms, devices = WORLD["room"].items(), WORLD["device"].items()
    for (room, names), (device, of_device), state in product(rooms, devices, ("on", "off")):
        parts = {"act": of_device[state], "device": of_device["names"], "room": names}
        yield "home", f"{room}, {device}, {state}", parts
    for (sky, skies), (time, times) in product(WORLD["sky"].items(), WORLD["time"].items()):
        yield "weather", f"{sky}, {time}", {"sky": skies, "time": times}
    for (food, of_food), aim in product(WORLD["food"].items(), ("make", "take", "buy")):
        acts = of_food.get(aim, WORLD["buying"])
        yield "food", f"{aim}, {food}", {"act": acts, "food": of_food["names"]}


def choices(domain: str, parts: Parts) -> Iterator[tuple[str, dict[str, str]]]:
    """Every template of the domain with every choice of a word for each part."""
    for template, chosen in product(WORLD["templates"][domain], product(*parts.values())):
        yield template, dict(zip(parts, chosen, strict=True))


@cache
def concepts() -> tuple[Concept, ...]:
    """Everything that this world can mean."""
    found = []
    for domain, name, parts in meanings():
        texts = {template.format(**chosen) for template, chosen in choices(domain, parts)}
        found.append(Concept(domain=domain, name=name, phrasings=tuple(sorted(texts))))
    return tuple(found)


@cache
def split() -> tuple[tuple[Concept, ...], tuple[Concept, ...]]:
    """The same concepts twice: what is trained on, and a fifth of the phrasings of each, at least
    two, that are kept away."""
    rng = random.Random(SPLIT_SEED)
    trained, held_out = [], []
    for concept in concepts():
        mixed = list(concept.phrasings)
        rng.shuffle(mixed)
        away = max(2, int(len(mixed) * HELD_OUT_SHARE))
        held_out.append(concept._replace(phrasings=tuple(sorted(mixed[:away]))))
        trained.append(concept._replace(phrasings=tuple(sorted(mixed[away:]))))
    return tuple(trained), tuple(held_out)


def kept_away(questions: Iterable[str]) -> set[str]:
    """The spelling of all held-out phrasings, and of questions."""
    texts = [text for concept in split()[1] for text in concept.phrasings]
    return {spelled(text) for text in (*texts, *questions)}


def sentence(rng: random.Random, *concepts: Concept) -> str:
    """One sentence on one concept, or on more, in any order; sometimes with the small talk around
    it that a sentence has in life."""
    openings, closings = WORLD["openings"], WORLD["closings"]
    texts = []
    for concept in concepts:
        text = rng.choice(concept.phrasings)
        if rng.random() < 0.3:
            text = f"{rng.choice(openings['any'] + openings[concept.domain])} {text}"
        if rng.random() < 0.3:
            closing = rng.choice(closings["any"] + closings[concept.domain])
            text = f"{text}{closing}" if closing.startswith(",") else f"{text} {closing}"
        texts.append(text)
    rng.shuffle(texts)
    return f"{rng.choice(WORLD['joints'])} ".join(texts)


def words() -> tuple[str, ...]:
    """Every word that can occur in this world, sorted."""
    texts = [text for concept in concepts() for text in concept.phrasings]
    small_talk = (*WORLD["openings"].values(), *WORLD["closings"].values())
    texts += [text for row in small_talk for text in row]
    return tuple(sorted({word for text in texts for word in text.replace(",", " ").split()}))


def spelled(text: str) -> str:
    """The words alone: case and marks do not make another sentence."""
    return " ".join(re.findall(r"\w+", text.lower()))


def draw_other(draw: Callable[[], str], away: Container[str]) -> str:
    """What is drawn, again until its spelling is none of those that are kept away from training.

    The small talk around a sentence can turn it into one of the questions.
    """
    while spelled(text := draw()) in away:
        pass
    return text
