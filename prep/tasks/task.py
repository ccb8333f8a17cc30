"""What a task is: everything that this side knows of one kind of model, in one value."""

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.tasks.architecture import Architecture
from prep.tasks.consumers import Consumer, Interpreter, Load
from prep.tasks.golden_kinds import Kind
from prep.tasks.measure import Facts, Measure
from prep.tasks.question_sets import Ask, Key, Questions

FOLDER = Path(__file__).with_name("questions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One kind of model, by the name that a catalogue gives it.

    `files` are the globs of what is locked where the catalogue names none; `export_class` is the
    class of optimum-intel that converts, `export_task` what its exporter calls the task; `answer`
    is the key of the probe's answers; `golden_facts` are what goldens may say of the model itself;
    `new_pin` is what follows for a service where its answers changed; `unable` says why a consumer
    cannot read a model, with the files that are locked, `other_kind` why it is no model of the task
    at all; `says_nothing` why the reference's answers cannot judge others; `given` is what a
    consumer is shown of them; the names of weights that no answer needs begin with one of
    `unused_weights`; `generates` tells whether generation_config.json is computed with.
    """

    name: str
    files: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    export_class: str
    export_task: str
    answer: str
    question_set: type[Questions]
    measure: Measure
    golden_kinds: Mapping[str, Kind]
    golden_facts: Mapping[str, Key]
    new_pin: str
    unable: Callable[[Architecture, Collection[str], Consumer], str | None]
    other_kind: Callable[[Architecture], str | None] = lambda found: None
    says_nothing: Callable[[Facts], str | None] = lambda reference: None
    given: Callable[[Facts], Ask] = lambda reference: {}
    unused_weights: tuple[str, ...] = ()
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

    def consumers_unable(self, found: Architecture, paths: Collection[str]) -> dict[str, str]:
        """The consumers that cannot read such a model, each with the reason."""
        reasons = {c.name: self.unable(found, paths, c) for c in self.consumers}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def loads_of(
        self,
        repo: str,
        names: tuple[str, ...] | None,
        precisions: tuple[str, ...],
        interpreters: tuple[Interpreter, ...] = (),
    ) -> tuple[Load, ...]:
        """Every load to try of a model: the original's first, and ours before other Pythons'.

        Of consumers that do here what another does as well, only other Pythons' are tried.
        """
        return tuple(
            Load(consumer=consumer, case=case, precision=precision, interpreter=interpreter)
            for interpreter in (None, *interpreters)
            for consumer in self.consumers_named(names)
            if interpreter is not None or consumer.is_other_here
            for precision in ((None,) if consumer.reads == "source" else precisions)
            for case in consumer.cases_of(repo)
        )
