"""The kinds of golden answers: which keys an entry of each kind has, and what is asked for it.

Each task's own kinds stand in its module; docs/adding-a-model.md#goldens lists their keys.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prep.files.fields import is_count, is_flag, is_number, is_text, listed, mapped, one_of
from prep.tasks.precisions import PRECISIONS
from prep.tasks.question_sets import Ask, Key

Answer = dict[str, Any]

TEXT: Key = (is_text, "a text")
TEXTS: Key = (listed(is_text), "a list of texts")
DOCUMENTS: Key = (lambda value: bool(value) and listed(is_text)(value), "a list of texts")
COUNT: Key = (is_count, "a whole number of at least 0")
IDS: Key = (listed(is_count), "a list of ids")
FLAG: Key = (is_flag, "true or false")
NUMBERS: Key = (lambda value: bool(value) and listed(is_number)(value), "a list of numbers")
LENGTH: Key = (lambda value: is_count(value) and 0 < value <= 4096, "from 1 to 4096")  # type: ignore[operator]
REPEAT: Key = (lambda value: is_count(value) and value != 0, "a whole number of at least 1")
TOLERANCE: Key = (
    mapped(is_number, one_of(*PRECISIONS)),
    f"a table of numbers for {', '.join(PRECISIONS)}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of golden answer: the keys it must have beside id and source, may have, and what
    bounds it.

    Of `any_of` at least one must be there. `bounds` hold a number for every precision (a tolerance
    or a least likeness), and at least one of them must be there, or the answer would be compared
    with nothing; for the same reason a key of `needs` wants another beside it. `ask` gives what a
    model is asked for the comparison, `check` what is wrong between keys that are right by
    themselves.
    """

    keys: Mapping[str, Key]
    ask: Callable[[Answer], Ask]
    any_of: Mapping[str, Key] = field(default_factory=dict)
    more: Mapping[str, Key] = field(default_factory=dict)
    bounds: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Answer], str | None] = lambda answer: None

    @property
    def required(self) -> dict[str, Key]:
        """Every key that an entry must have."""
        return {"id": TEXT, **self.keys, "source": TEXT}

    @property
    def known(self) -> dict[str, Key]:
        """Every key that an entry may have. A text may be repeated: a long one need not be
        written out."""
        bounds = dict.fromkeys(self.bounds, TOLERANCE)
        return {**self.required, **self.any_of, **self.more, **bounds, "repeat": REPEAT}


def text_of(answer: Answer) -> str:
    """The text that was asked, repeated where the entry says so."""
    text: str = answer["text"] * answer.get("repeat", 1)
    return text


def number_for_each_document(answer: Answer) -> str | None:
    """What is wrong where an answer expects more or fewer numbers than it has documents."""
    expected, documents = len(answer["expected"]), len(answer["documents"])
    if expected == documents:
        return None
    return f"expected has {expected} numbers for {documents} documents"


def pairs_of(answer: Answer) -> Ask:
    """The query with each of the documents."""
    return {"pairs": [[answer["query"], document] for document in answer["documents"]]}


TOKENS = Kind(
    keys={"text": TEXT},
    any_of={"expected": IDS, "pieces": TEXTS},
    more={"specials": FLAG},
    ask=lambda answer: {"texts": [text_of(answer)]},
)
