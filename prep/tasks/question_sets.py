"""What every model of a task is asked, whatever its name: judged by properties and by agreement.

No answer to them is recorded: goldens are. ``questions/TASK.toml`` holds a task's bounds, every
number with its reason, and odd texts; ``questions/LANGUAGE/TASK.toml`` what is asked in a language.
The class that reads both stands in the task's module.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from prep.files.fields import Shape, is_count, is_number, is_text, record
from prep.tasks.precisions import PRECISIONS

Key = tuple[Shape, str]
"""Whether the value of a key is usable, and in words what it must be."""
Ask = dict[str, list[Any]]
"""What a probe is asked: ``texts`` (their tokens), and by task ``pairs``, ``prompts`` and so on.

Those that ``together`` has as well are answered in batches, all others alone.
"""
ALONE = 8  # of the questions with answers that mean something; the others come in batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How a page shows the answers: a row a question.

    With `columns` an answer is a row of numbers, `cells` are the texts that each number belongs to,
    and `framed` the places in each row that a reader compares. Without, an answer is one text.
    """

    labels: Sequence[str]
    columns: Sequence[str] = ()
    cells: Sequence[Sequence[str]] = ()
    framed: Sequence[Sequence[int]] = ()
    range: tuple[float, float] | None = None  # of the colours; None: of the numbers that there are
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What the questions of all tasks have.

    `agreement` bounds, by precision, how a converted model may differ from the PyTorch original on
    `plain()`, in the task's own measure; `odd` texts must come through, whatever the answer.
    """

    agreement: Mapping[str, float]
    odd: Mapping[str, str]

    @classmethod
    def bounds(cls) -> Mapping[str, Key]:
        """Every key of ``TASK.toml``: bounds and odd texts."""
        return {"agreement": SHARES, "odd": TEXTS_BY_ID}

    @classmethod
    def asked(cls) -> Mapping[str, Key]:
        """Every key of a file of questions."""
        raise NotImplementedError

    @classmethod
    def parse(cls, bounds: Mapping[str, Any], asked: Mapping[str, Any]) -> Self:
        """From two files whose keys are valid."""
        values = {key.replace("-", "_"): bounds[key] for key in cls.bounds()}
        return cls(**values | {"odd": texts_of(bounds["odd"])} | cls._own(asked))

    @classmethod
    def _own(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The questions, as the task's class holds them."""
        raise NotImplementedError

    def repeated(self) -> list[str]:
        """Texts that are asked twice: a random answer to one would count twice."""
        raise NotImplementedError

    def plain(self) -> Ask:
        """The questions with answers that mean something."""
        raise NotImplementedError

    def all(self) -> Ask:
        """Those and the odd texts."""
        raise NotImplementedError

    def texts(self) -> list[str]:
        """Every text of those, once, whatever it is asked as."""
        return list(dict.fromkeys(_texts_in(list(self.all().values()))))

    def sentinels(self) -> Ask:
        """The two questions of an access check, and their texts, whose tokens are compared."""
        raise NotImplementedError

    def moved(self, answers: Mapping[str, Any], interrogation: Mapping[str, Any]) -> list[str]:
        """Sentinel answers that are not the interrogation's, in words."""
        raise NotImplementedError

    def table(self) -> Table:
        """What the page shows beside `answers`."""
        raise NotImplementedError

    def answers(self, facts: Mapping[str, Any]) -> list[Any] | None:
        """What a load answered, a row of `table()` each; None where it did not answer sensibly."""
        try:
            return self._answers(facts)
        except (KeyError, ValueError):
            return None  # such a model is judged elsewhere

    def _answers(self, facts: Mapping[str, Any]) -> list[Any]:
        raise NotImplementedError


def _texts_in(value: object) -> Iterator[str]:
    """The texts of lists in lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts_in(each)


def positive(value: object) -> bool:
    """A number above zero."""
    return is_number(value) and value > 0  # type: ignore[operator]  # it is a number


def at_least(count: int, of: Shape) -> Shape:
    """A list of so many or more: fewer questions would let random answers pass."""
    return lambda value: isinstance(value, list) and len(value) >= count and all(map(of, value))


def several(count: int, of: Shape, words: str) -> Key:
    """As many questions as a task needs at least, each of that shape."""
    return at_least(count, of), f"at least {count} tables {words}"


def twice(texts: Sequence[str]) -> list[str]:
    """The texts that occur more than once, each once; other capitals and marks make no other."""
    words = [" ".join(re.findall(r"\w+", text.casefold())) or text for text in texts]
    count, first = Counter(words), dict(zip(reversed(words), reversed(texts), strict=True))
    return [first[text] for text in dict.fromkeys(words) if count[text] > 1]


def _is_share(value: object) -> bool:
    return positive(value) and value <= 1  # type: ignore[operator]  # it is a number


def _is_text_by_id(value: object) -> bool:
    if not isinstance(value, dict) or {"id", "text"} != value.keys() - {"repeat"}:
        return False
    repeat = value.get("repeat", 1)
    has_text = is_text(value["id"]) and is_text(value["text"])
    return has_text and is_count(repeat) and 0 < repeat * max(1, len(value["text"])) <= LONGEST


def _are_texts_by_id(count: int) -> Shape:
    shape = at_least(count, _is_text_by_id)
    return lambda value: shape(value) and not twice([text["id"] for text in value])  # type: ignore[attr-defined]


# Of so many triples one may be answered wrongly, and random answers still pass in 3 of 1000 models
# only (`ordering.allowed_misses`); of ten, none may.
LEAST_ORDERED = 12
LEAST_PROMPTS = 6  # nothing is in order here: enough to tell their answers apart
LONGEST = 1_000_000  # letters of a text, repeated
NUMBER: Key = (positive, "a number above 0")
SHARE: Key = (_is_share, "a number above 0, at most 1")
SHARES: Key = (
    record(dict.fromkeys(PRECISIONS, _is_share)),
    f"a table of numbers above 0, at most 1, for {', '.join(PRECISIONS)}",
)
BY_ID = "with id, text and repeat, no id twice"
TEXTS_BY_ID: Key = (_are_texts_by_id(1), f"an array of tables {BY_ID}")
PROMPTS: Key = (_are_texts_by_id(LEAST_PROMPTS), f"at least {LEAST_PROMPTS} tables {BY_ID}")


def joined(*asks: Ask, alone: Ask | None = None) -> Ask:
    """All of several asks, each question once, in their order; those of `alone` in no batch."""
    whole: Ask = {}
    for ask in asks:
        for kind, questions in ask.items():
            known = whole.setdefault(kind, [])
            for question in questions:
                if question not in known:
                    known.append(question)
    if alone:
        single = [question for questions in alone.values() for question in questions]
        batched = [question for question in whole.get("together", ()) if question not in single]
        whole = joined(whole, alone) | {"together": batched}
    return whole


def texts_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The texts of ``[[odd]]`` or ``[[prompts]]`` by id, repeated where the entry says so."""
    return {entry["id"]: entry["text"] * entry.get("repeat", 1) for entry in entries}
