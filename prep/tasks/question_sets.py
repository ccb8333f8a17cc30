"""What every model of a task is asked, whatever its name: judged by properties and by agreement.

No answer to them is recorded: goldens are. Each task's questions are a TOML file in `questions/`,
every number with its reason; the class that reads it stands in the task's module.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

Ask = dict[str, list[Any]]
"""What a probe is asked: ``texts`` (their tokens), and by task ``pairs``, ``prompts`` and so on."""


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
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the committed file."""
        raise NotImplementedError

    def plain(self) -> Ask:
        """The questions with answers that mean something."""
        raise NotImplementedError

    def all(self) -> Ask:
        """Those and the odd texts."""
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


def joined(*asks: Ask) -> Ask:
    """All of several asks, each question once, in their order."""
    whole: Ask = {}
    for ask in asks:
        for kind, questions in ask.items():
            known = whole.setdefault(kind, [])
            for question in questions:
                if question not in known:
                    known.append(question)
    return whole


def texts_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The texts of ``[[odd]]`` or ``[[prompts]]`` by id, repeated where the entry says so."""
    return {entry["id"]: entry["text"] * entry.get("repeat", 1) for entry in entries}
