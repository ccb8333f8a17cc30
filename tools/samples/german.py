"""The German of what is said about the home and the weather, written as one writes a sentence.

Every phrasing that `sentences` has in these domains gets exactly one translation. It is put
together from the same parts as the English one, so the rules that a model has to learn are German
ones: separable verbs, genders, and the verb at the end of a clause.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from typing import NamedTuple

from tools.samples.sentences import (
    DEVICES,
    HOME_TEMPLATES,
    ROOMS,
    SKIES,
    TIMES,
    WEATHER_TEMPLATES,
    Concept,
)

DOMAINS = ("home", "weather")

# room: in which, of which
WHERE: Mapping[str, tuple[str, str]] = {
    "kitchen": ("in der Küche", "der Küche"),
    "bedroom": ("im Schlafzimmer", "des Schlafzimmers"),
    "bathroom": ("im Badezimmer", "des Badezimmers"),
    "living room": ("im Wohnzimmer", "des Wohnzimmers"),
    "lounge": ("in der Stube", "der Stube"),
    "office": ("im Büro", "des Büros"),
    "study": ("im Arbeitszimmer", "des Arbeitszimmers"),
    "garage": ("in der Garage", "der Garage"),
}

# device: whom or what one turns on
WHAT: Mapping[str, str] = {
    "light": "das Licht",
    "lamp": "die Lampe",
    "heating": "die Heizung",
    "radiator": "den Heizkörper",
    "music": "die Musik",
    "radio": "das Radio",
    "blinds": "die Jalousien",
    "shutters": "die Rollläden",
    "door": "die Tür",
    "fan": "den Lüfter",
    "ventilator": "den Ventilator",
}

# act: the imperative and what stands apart from it, the infinitive, and with "du"
ACTS: Mapping[str, tuple[str, str, str, str]] = {
    "turn on": ("mach", "an", "anmachen", "anmachst"),
    "turn off": ("mach", "aus", "ausmachen", "ausmachst"),
    "switch on": ("schalte", "ein", "einschalten", "einschaltest"),
    "switch off": ("schalte", "aus", "ausschalten", "ausschaltest"),
    "start": ("starte", "", "starten", "startest"),
    "stop": ("stoppe", "", "stoppen", "stoppst"),
    "open": ("öffne", "", "öffnen", "öffnest"),
    "close": ("schließe", "", "schließen", "schließt"),
    "raise": ("zieh", "hoch", "hochziehen", "hochziehst"),
    "lower": ("lass", "herunter", "herunterlassen", "herunterlässt"),
    "shut": ("mach", "zu", "zumachen", "zumachst"),
    "lock": ("sperr", "ab", "absperren", "absperrst"),
    "unlock": ("sperr", "auf", "aufsperren", "aufsperrst"),
}

HOME: Mapping[str, str] = {
    "{act} the {device} in the {room}": "{do} {what} {there} {apart}.",
    "{act} the {room} {device}": "{do} {what} {there} {apart}.",
    "please {act} the {room} {device}": "bitte {do} {what} {there} {apart}.",
    "could you {act} the {device} in the {room}": "könntest du {what} {there} {to_do}?",
    "i want you to {act} the {device} of the {room}": "ich möchte, dass du {what} {its} {you_do}.",
    "in the {room} please {act} the {device}": "{there} {do} bitte {what} {apart}.",
}

SKY: Mapping[str, str] = {
    "rain": "regnen",
    "be rainy": "regnerisch sein",
    "snow": "schneien",
    "be snowy": "verschneit sein",
    "be sunny": "sonnig sein",
    "be bright and sunny": "hell und sonnig sein",
    "be windy": "windig sein",
    "be stormy": "stürmisch sein",
    "be foggy": "neblig sein",
    "be misty": "dunstig sein",
    "be cold": "kalt sein",
    "freeze": "frieren",
    "be hot": "heiß sein",
    "be very warm": "sehr warm sein",
}

TIME: Mapping[str, str] = {
    "today": "heute",
    "tomorrow": "morgen",
    "tonight": "heute Nacht",
    "this evening": "heute Abend",
    "at the weekend": "am Wochenende",
    "on saturday and sunday": "am Samstag und Sonntag",
}

WEATHER: Mapping[str, str] = {
    "will it {sky} {time}": "wird es {wann} {wie}?",
    "is it going to {sky} {time}": "wird es {wann} {wie}?",
    "tell me whether it will {sky} {time}": "sag mir, ob es {wann} {wie} wird.",
    "the forecast says it will {sky} {time}": "die Vorhersage sagt, dass es {wann} {wie} wird.",
    "it is expected to {sky} {time}": "es soll {wann} {wie}.",
    "{time} it will {sky}": "{wann} wird es {wie}.",
}


class Pair(NamedTuple):
    """A sentence and its translation, both with their capitals and their mark at the end."""

    english: str
    german: str


@cache
def translations() -> Mapping[str, Pair]:
    """By the phrasing as `sentences` has it: how it is written, in both languages."""
    found: dict[str, Pair] = {}
    for rooms, (names, on, off) in product(ROOMS.values(), DEVICES.values()):
        for template, act, device, room in product(HOME_TEMPLATES, (*on, *off), names, rooms):
            text = template.format(act=act, device=device, room=room)
            do, apart, to_do, you_do = ACTS[act]
            there, its = WHERE[room]
            found[text] = _written(
                text,
                HOME[template].format(
                    do=do,
                    apart=apart,
                    to_do=to_do,
                    you_do=you_do,
                    what=WHAT[device],
                    there=there,
                    its=its,
                ),
            )
    for skies, times in product(SKIES.values(), TIMES.values()):
        for template, sky, time in product(WEATHER_TEMPLATES, skies, times):
            text = template.format(sky=sky, time=time)
            found[text] = _written(text, WEATHER[template].format(wann=TIME[time], wie=SKY[sky]))
    return found


def pairs_of(concepts: Iterable[Concept]) -> list[Pair]:
    """All phrasings of those concepts that are of our domains, translated."""
    known = [concept for concept in concepts if concept.domain in DOMAINS]
    return [translations()[text] for concept in known for text in concept.phrasings]


def double(first: Pair, second: Pair) -> Pair:
    """Two sentences, one after the other."""
    return Pair(
        english=f"{first.english} {second.english}",
        german=f"{first.german} {second.german}",
    )


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
