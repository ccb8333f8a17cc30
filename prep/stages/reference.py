"""`reference`: the answers that all others of a model are held against."""

from dataclasses import dataclass
from typing import Any

from prep.errors import NoUsableAnswers
from prep.stages.context import Context
from prep.stages.fetched import Fetched
from prep.tasks.measure import Agreement
from prep.tasks.question_sets import Ask
from prep.tasks.registry import TASKS

FEW_TEXTS = 12


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


def ask_reference(context: Context, fetched: Fetched) -> Reference:
    """Load the original in float32, and ask the questions whose answers mean something."""
    spec = fetched.spec
    context.need(spec.name, "fetched", fetched.state.problems)
    context.server_ready(spec.name)
    doing = "asking the original"
    context.progress.busy(spec.name, doing)
    ask = context.settings.questions_of(spec).plain()
    result = context.server.run(
        "prep.sandbox.probe.consumers:reference",
        {
            "task": spec.task,
            "ask": ask,
            "way": {"target": str(fetched.snapshot), "languages": spec.languages},
        },
        doing=f"{spec.name}: {doing}",
    )
    if why := TASKS[spec.task].says_nothing(result.value):
        raise NoUsableAnswers(
            f"{spec.name}: {why}. The published weights rank nothing, in float32 and before any "
            "conversion. Choose another revision or another model."
        )
    return Reference(facts=result.value, ask=ask, given=TASKS[spec.task].given(result.value))
