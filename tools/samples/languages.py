"""The world of `sentences` in six languages (`languages.toml`), for models of other languages.

    concepts("zh")           what can be meant, with all its phrasings: as `sentences.concepts`
    parallel("en", "de")     pairs of sentences that mean the same, for translators
    sentence(rng, "de", c)   one phrasing, sometimes with the small talk around it
    asked("ja")              every text of the questions: a tokenizer should know their words

Concepts have the same name and place in every language. The questions (prep/tasks/questions) are
made of this world's words, small talk included, and of few others. Keep their texts away from
training where a model should be shown to have the skill; stand-ins that are only to be told apart
from broken ones may be trained on them, and should then say so.
"""

import random
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from prep.tasks.registry import TASKS
from tools.samples.sentences import Concept

WORLDS: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("languages.toml").read_text(encoding="utf-8")
)
TAKEN = {1: 1, 7: 2}  # soup and coffee are taken otherwise than the other dishes


@cache
def concepts(language: str) -> tuple[Concept, ...]:
    """Everything that this world can mean, with every way of saying it, sorted."""
    return tuple(
        Concept(domain=domain, name=name, phrasings=tuple(sorted({*_all(templates, parts)})))
        for domain, name, templates, parts in _meanings(language)
    )


def parallel(source: str, target: str) -> list[tuple[str, str]]:
    """Written sentences in both languages: each template of each concept, with the first words."""
    pairs = []
    for one, other in zip(_meanings(source), _meanings(target), strict=True):
        for templates in zip(one[2], other[2], strict=True):
            text, translation = (
                template.format(**{part: words[0] for part, words in parts.items()})
                for template, parts in zip(templates, (one[3], other[3]), strict=True)
            )
            pairs.append((written(source, text), written(target, translation)))
    return pairs


def sentence(rng: random.Random, language: str, concept: Concept) -> str:
    """A phrasing of the concept, a third of them with something said before or after."""
    world = WORLDS[language]
    blank = world.get("blank", " ")
    text = rng.choice(concept.phrasings)
    if rng.random() < 0.3:
        text = f"{rng.choice(world['before'])}{blank}{text}"
    if rng.random() < 0.3:
        after = rng.choice(world["after"])
        text = f"{text}{'' if after[0] in ',，、' else blank}{after}"
    return text


def asked(language: str) -> list[str]:
    """Every text of the questions of all tasks."""
    asks = [task.questions(language).plain() for task in TASKS.values()]
    rows = [
        [row] if isinstance(row, str) else row
        for ask in asks
        for rows in ask.values()
        for row in rows
    ]
    return [text for row in rows for text in row if isinstance(text, str)]


def written(language: str, text: str) -> str:
    """With a capital and a full stop, as it is written."""
    return f"{text[0].upper()}{text[1:]}{'。' if language in ('zh', 'ja') else '.'}"


def _meanings(language: str) -> Iterator[tuple[str, str, list[str], dict[str, list[str]]]]:
    """Domain, name, templates, and the words for each part of them."""
    world = WORLDS[language]
    english = WORLDS["en"]

    def names(kind: str) -> list[str]:
        return [words[0].removeprefix("the ") for words in english[kind]]

    rooms, devices = names("room"), names("device")
    for (at, room), (which, device), state in product(
        enumerate(rooms), enumerate(devices), ("on", "off")
    ):
        act = world[state][which]
        parts = {"device": world["device"][which], "room": world["room"][at]}
        infinitives = world.get(f"{state}_infinitive", world[state])[which]
        templates = [
            template.replace("{do}", act_).replace("{infinitive}", infinitive)
            for act_, infinitive in zip(act, infinitives, strict=True)
            for template in world["home"]
        ]
        filled = [template.replace("…", world["thing"]) for template in templates]
        yield "home", f"{room}, {device}, {state}", filled, parts
    for (at, sky), (when, time) in product(enumerate(names("sky")), enumerate(names("time"))):
        parts = {"sky": world["sky"][at], "time": world["time"][when]}
        yield "weather", f"{sky.removeprefix('be ')}, {time}", list(world["weather"]), parts
    for (at, dish), aim in product(enumerate(names("dish")), ("make", "take", "buy")):
        acts = {
            "make": world["make"][at],
            "take": world["take"][TAKEN.get(at, 0)],
            "buy": world["buy"],
        }[aim]
        templates = [
            template.replace("{do}", act.replace("…", "{dish}"))
            for act in acts
            for template in world["food"]
        ]
        yield "food", f"{aim}, {dish}", templates, {"dish": world["dish"][at]}


def _all(templates: list[str], parts: Mapping[str, list[str]]) -> Iterator[str]:
    for template, chosen in product(templates, product(*parts.values())):
        yield template.format(**dict(zip(parts, chosen, strict=True)))
