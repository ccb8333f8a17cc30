"""What a task is: everything that this side knows of one kind of model, in one value."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.tasks.consumers import Consumer, Interpreter, Load
from prep.tasks.golden_kinds import Kind
from prep.tasks.measure import Measure
from prep.tasks.question_sets import Key, Questions

FOLDER = Path(__file__).with_name("questions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One kind of model, by the name that a catalogue gives it.

    `files` are the globs of what is locked where the catalogue names none; `export_class` is the
    class of optimum-intel that converts; `answer` is the key of the probe's answers; `golden_facts`
    are what goldens may say of the model itself; `new_pin` is what follows for a service where its
    answers changed; `generates` tells whether generation_config.json is computed with.
    """

    name: str
    files: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    export_class: str
    answer: str
    question_set: type[Questions]
    measure: Measure
    golden_kinds: Mapping[str, Kind]
    golden_facts: Mapping[str, Key]
    new_pin: str
    generates: bool = False

    def questions(self, language: str = "en") -> Questions:
        """The committed questions in a language."""
        bounds, asked = (
            tomllib.loads((folder / f"{self.name}.toml").read_text(encoding="utf-8"))
            for folder in (FOLDER, FOLDER / language)
        )
        return self.question_set.parse(bounds, asked)

    def consumers_named(self, names: tuple[str, ...] | None) -> tuple[Consumer, ...]:
        """All consumers, or those of them that the catalogue names."""
        return tuple(
            consumer for consumer in self.consumers if names is None or consumer.name in names
        )

    def loads_of(
        self,
        repo: str,
        names: tuple[str, ...] | None,
        precisions: tuple[str, ...],
        interpreters: tuple[Interpreter, ...] = (),
    ) -> tuple[Load, ...]:
        """Every load to try of a model: the original's first, and ours before other Pythons'."""
        return tuple(
            Load(consumer=consumer, case=case, precision=precision, interpreter=interpreter)
            for interpreter in (None, *interpreters)
            for consumer in self.consumers_named(names)
            for precision in ((None,) if consumer.reads == "source" else precisions)
            for case in consumer.cases_of(repo)
        )
