"""`loaded`: one load by one consumer in a process without network, and its answers."""

from dataclasses import dataclass
from typing import Any

from prep.catalogue import ModelSpec
from prep.consumers import Load
from prep.goldens import Goldens, Questions, read_goldens, read_questions
from prep.offline import JobResult
from prep.stages.context import Context
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a consumer got. `facts` are the probe's; `path` is what it was given, or should read.

    `cut` tells how the process was kept from the network.
    """

    spec: ModelSpec
    load: Load
    path: str
    facts: dict[str, Any]
    result: JobResult
    cut: str
    goldens: Goldens | None
    questions: Questions

    @property
    def precision(self) -> str:
        """Whose tolerances apply: the converted precision's, or fp32's for the original."""
        return self.load.precision or "fp32"

    def vector(self, text: str) -> list[float]:
        """The vector of a text that was asked."""
        found: list[float] = self._answer(text)["vector"]
        return found

    def ids(self, text: str) -> list[int]:
        """The token ids of a text that was asked, with special tokens."""
        found: list[int] = self._answer(text)["ids"]
        return found

    def _answer(self, text: str) -> dict[str, Any]:
        return next(answer for answer in self.facts["answers"] if answer["text"] == text)


def load_model(
    context: Context, fetched: Fetched, converted: Converted | None, load: Load
) -> Loaded:
    """Load it as the consumer would, and ask the task's questions and the goldens'."""
    spec = fetched.spec
    context.need(spec.name, "fetched", fetched.state.problems)
    if converted is not None:
        context.need(spec.name, f"converted to {load.precision}", not converted.sound)
    path = str(converted.path if converted else fetched.snapshot)
    goldens = read_goldens(context.settings.goldens, spec.name, spec.repo)
    questions = read_questions(spec.task)
    ready = context.server_ready(spec.name)
    by_name = load.way in ("name", "commit")
    doing = f"loading by {load.id}"
    result = context.server.run(
        "prep.offline.probe:load",
        {
            "consumer": load.consumer.name,
            "way": {
                "target": spec.repo if by_name else path,
                "revision": fetched.locked.commit if load.way == "commit" else None,
            },
            "texts": list(dict.fromkeys([*questions.texts, *(goldens.texts if goldens else ())])),
        },
        doing=f"{spec.name}: {doing}",
        home=context.home.root.resolve() if by_name else None,
        on_wait=context.progress.ticker(spec.name, doing),
    )
    loads = context.facts[spec.name].get("loads", {})
    took = {"seconds": round(result.seconds, 3), "peak-bytes": result.peak}
    context.tell(
        spec.name,
        loads={**loads, load.id: took},
        cut=ready["cut"],
        versions=ready["versions"],
        goldens=goldens is not None,
    )
    return Loaded(
        spec=spec,
        load=load,
        path=path,
        facts=result.value,
        result=result,
        cut=ready["cut"],
        goldens=goldens,
        questions=questions,
    )
