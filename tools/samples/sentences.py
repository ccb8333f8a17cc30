"""The small world that the sample models know: a home, its weather, its food.

A concept is one thing that can be meant ("the kitchen's light on"), with every way this world has
of saying it. Phrasings of one concept are paraphrases; everything else is not. The sentences are
plain English on purpose: a large general model must rank them as the tiny ones do, because the
same questions are asked of both.

All of it is a table and a few products: no randomness but the seeded split, no files, no torch.
"""

import random
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

SPLIT_SEED = 0
HELD_OUT_SHARE = 0.2

ROOMS: Mapping[str, tuple[str, ...]] = {
    "kitchen": ("kitchen",),
    "bedroom": ("bedroom",),
    "bathroom": ("bathroom",),
    "living room": ("living room", "lounge"),
    "office": ("office", "study"),
    "garage": ("garage",),
}

# device: its names, how it is put on, how it is put off
DEVICES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "light": (("light", "lamp"), ("turn on", "switch on"), ("turn off", "switch off")),
    "heating": (("heating", "radiator"), ("turn on", "switch on"), ("turn off", "switch off")),
    "music": (("music", "radio"), ("turn on", "start"), ("turn off", "stop")),
    "blinds": (("blinds", "shutters"), ("open", "raise"), ("close", "lower")),
    "door": (("door",), ("open", "unlock"), ("close", "shut", "lock")),
    "fan": (("fan", "ventilator"), ("turn on", "start"), ("turn off", "stop")),
}

HOME_TEMPLATES = (
    "{act} the {device} in the {room}",
    "{act} the {room} {device}",
    "please {act} the {room} {device}",
    "could you {act} the {device} in the {room}",
    "i want you to {act} the {device} of the {room}",
    "in the {room} please {act} the {device}",
)

SKIES: Mapping[str, tuple[str, ...]] = {
    "rain": ("rain", "be rainy"),
    "snow": ("snow", "be snowy"),
    "sun": ("be sunny", "be bright and sunny"),
    "wind": ("be windy", "be stormy"),
    "fog": ("be foggy", "be misty"),
    "cold": ("be cold", "freeze"),
    "heat": ("be hot", "be very warm"),
}

TIMES: Mapping[str, tuple[str, ...]] = {
    "today": ("today",),
    "tomorrow": ("tomorrow",),
    "tonight": ("tonight", "this evening"),
    "weekend": ("at the weekend", "on saturday and sunday"),
}

WEATHER_TEMPLATES = (
    "will it {sky} {time}",
    "is it going to {sky} {time}",
    "tell me whether it will {sky} {time}",
    "the forecast says it will {sky} {time}",
    "it is expected to {sky} {time}",
    "{time} it will {sky}",
)

# food: its names, how it is made, how it is taken
FOODS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "pasta": (("pasta", "spaghetti", "noodles"), ("cook", "make"), ("eat", "have")),
    "soup": (("soup", "broth"), ("cook", "make"), ("eat", "have")),
    "bread": (("bread", "a loaf of bread"), ("bake", "make"), ("eat", "have")),
    "fish": (("fish", "salmon"), ("cook", "fry"), ("eat", "have")),
    "cake": (("cake", "a sweet cake"), ("bake", "make"), ("eat", "have")),
    "salad": (("salad", "a green salad"), ("make", "prepare"), ("eat", "have")),
    "rice": (("rice", "a bowl of rice"), ("cook", "prepare"), ("eat", "have")),
    "coffee": (("coffee", "espresso"), ("make", "brew"), ("drink", "have")),
}

BUYING = ("buy", "order", "purchase")

FOOD_TEMPLATES = (
    "i would like to {act} {food}",
    "how do i {act} {food}",
    "let us {act} {food}",
    "we want to {act} {food} now",
    "can we {act} {food}",
    "she is going to {act} {food}",
)

# What people say around what they mean. None of it may turn one template into another
# ("please" would), or a held-out sentence could be met in training.
OPENINGS: Mapping[str, tuple[str, ...]] = {
    "any": ("hello,", "good morning,", "listen,", "by the way,"),
    "home": ("i am tired, so", "when you are at home,", "before you go to bed,"),
    "weather": ("before we go out,", "take a coat,", "we have a long walk to do, so"),
    "food": ("i am hungry, so", "our friends are here, so", "for dinner"),
}
CLOSINGS: Mapping[str, tuple[str, ...]] = {
    "any": (", thank you", ", my friend"),
    "home": (", it is late", ", we are at home"),
    "weather": (", we want to go for a walk", ", i have no coat"),
    "food": (", i am hungry", "with our friends", "at the market"),
}

JOINTS = (" and", ",", ", so", ".")

DOMAINS = ("home", "weather", "food")


class Concept(NamedTuple):
    """One thing that can be meant: its domain, a name of its own, and its phrasings, sorted."""

    domain: str
    name: str
    phrasings: tuple[str, ...]


@cache
def concepts() -> tuple[Concept, ...]:
    """Everything that this world can mean."""
    home = [
        _concept(
            "home", f"{room}, {device}, {state}", HOME_TEMPLATES, act=acts, device=names, room=rooms
        )
        for (room, rooms), (device, (names, on, off)) in product(ROOMS.items(), DEVICES.items())
        for state, acts in (("on", on), ("off", off))
    ]
    weather = [
        _concept("weather", f"{sky}, {time}", WEATHER_TEMPLATES, sky=skies, time=times)
        for (sky, skies), (time, times) in product(SKIES.items(), TIMES.items())
    ]
    food = [
        _concept("food", f"{aim}, {food}", FOOD_TEMPLATES, act=acts, food=names)
        for food, (names, making, taking) in FOODS.items()
        for aim, acts in (("make", making), ("take", taking), ("buy", BUYING))
    ]
    return (*home, *weather, *food)


def _concept(domain: str, name: str, templates: Sequence[str], **parts: Sequence[str]) -> Concept:
    texts = {
        template.format(**dict(zip(parts, chosen, strict=True)))
        for template, chosen in product(templates, product(*parts.values()))
    }
    return Concept(domain=domain, name=name, phrasings=tuple(sorted(texts)))


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


def _spoken(concept: Concept, rng: random.Random) -> str:
    """One phrasing, sometimes with the small talk around it that a sentence has in life."""
    text = rng.choice(concept.phrasings)
    if rng.random() < 0.3:
        text = f"{rng.choice(OPENINGS['any'] + OPENINGS[concept.domain])} {text}"
    if rng.random() < 0.3:
        closing = rng.choice(CLOSINGS["any"] + CLOSINGS[concept.domain])
        text = f"{text}{closing}" if closing.startswith(",") else f"{text} {closing}"
    return text


def sentence(rng: random.Random, *concepts: Concept) -> str:
    """One sentence on one concept, or on more, in any order."""
    texts = [_spoken(concept, rng) for concept in concepts]
    rng.shuffle(texts)
    return f"{rng.choice(JOINTS)} ".join(texts)


def words() -> tuple[str, ...]:
    """Every word that can occur in this world, sorted."""
    texts = [text for concept in concepts() for text in concept.phrasings]
    texts += [text for table in (OPENINGS, CLOSINGS) for row in table.values() for text in row]
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
