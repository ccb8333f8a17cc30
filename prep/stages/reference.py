"""`reference`: the answers that all others of a model are held against."""

from dataclasses import dataclass
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.errors import NoUsableAnswers
from prep.sandbox.import_server import Job
from prep.stages.context import Context
from prep.stages.estimates import load_memory
from prep.stages.fetched import Fetched
from prep.tasks.measure import Agreement
from prep.tasks.question_sets import Ask
from prep.tasks.registry import TASKS

FEW_TEXTS = 12
DOING = "asking the original"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the publisher's pipeline answers in float32, from the original weights.

    `ask` was asked; `given` is what others are shown of the answers.
    """

    facts: dict[str, Any]
    ask: Ask
    given: Ask

    @property
    def few(self) -> Ask:
        """Enough to tell whether a conversion answers as well when it is run otherwise.

        All pairs: their bounds are shares of the spread of all.
        """
        return {**self.ask, "texts": self.ask["texts"][:FEW_TEXTS]}

    def agreement(self, task: str, answers: dict[str, Any], bound: float) -> Agreement:
        """How other answers to the same questions agree with these."""
        return TASKS[task].measure.compare(self.facts, answers, self.ask, bound)


def reference_memory(context: Context, fetched: Fetched) -> int:
    """The bytes that asking the original takes beside the libraries, estimated."""
    return load_memory(context.home, fetched.locked, None)


def start_reference(context: Context, fetched: Fetched, threads: int | None = None) -> Job:
    """Load the original in float32, and ask the questions whose answers mean something.

    In so many threads; in all that there are, where nothing else is to run meanwhile.
    """
    spec = fetched.spec
    return context.server.submit(
        "prep.sandbox.probe.consumers:reference",
        {
            "task": spec.task,
            "ask": context.settings.questions_of(spec).plain(),
            "way": {"target": str(fetched.snapshot), "languages": spec.languages},
        },
        doing=f"{spec.name}: {DOING}",
        threads=threads,
        memory=reference_memory(context, fetched),
    )


def finish_reference(context: Context, spec: ModelSpec, job: Job) -> Reference:
    """Wait for what was started; raises `NoUsableAnswers`."""
    result = context.server.result(job)
    if why := TASKS[spec.task].says_nothing(result.value):
        raise NoUsableAnswers(
            f"{spec.name}: {why}. The published weights rank nothing, in float32 and before any "
            "conversion. Choose another revision or another model."
        )
    ask = context.settings.questions_of(spec).plain()
    return Reference(facts=result.value, ask=ask, given=TASKS[spec.task].given(result.value))
