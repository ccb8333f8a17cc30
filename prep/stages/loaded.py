"""`loaded`: one load by one consumer in a process without network, and its answers."""

from dataclasses import dataclass
from typing import Any, TypeVar

from prep.catalogue.entries import ModelSpec
from prep.catalogue.goldens import Goldens, read_goldens
from prep.errors import NotTried, UnsuitableInterpreter, listing
from prep.process.child import Event
from prep.sandbox.import_server import JobResult
from prep.stages.context import Context
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched
from prep.tasks.consumers import Interpreter, Load
from prep.tasks.question_sets import Questions, joined
from prep.tasks.registry import TASKS

Q = TypeVar("Q", bound=Questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One load. `facts` are what the probe measured; `path` is what the consumer should read.

    `cut` says how the process was cut off from the network.
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
    def name(self) -> str:
        """The model and the load, as messages begin."""
        return f"{self.spec.name}: {self.load.id}"

    @property
    def precision(self) -> str:
        """Whose tolerances apply: the converted precision's, or fp32's for the original."""
        return self.load.precision or "fp32"

    def asked(self, kind: type[Q]) -> Q:
        """The questions, as those of the task that a test is for."""
        assert isinstance(self.questions, kind)
        return self.questions

    def ids(self, text: str, *, specials: bool = True) -> list[int]:
        """The token ids of a text that was asked, with special tokens or without."""
        found: list[int] = self.facts["tokens"][text]["ids" if specials else "plain-ids"]
        return found

    def pieces(self, text: str, *, specials: bool = True) -> list[str]:
        """The same as pieces of text."""
        found: list[str] = self.facts["tokens"][text]["pieces" if specials else "plain-pieces"]
        return found


def check_interpreter(context: Context, spec: ModelSpec, interpreter: Interpreter) -> Event:
    """What an interpreter has to load with; one that can be no consumer of the model fails."""
    ready = context.server_ready(spec.name, interpreter)
    untried: dict[str, str] = ready["not-tried"][spec.task]
    consumers = [consumer.name for consumer in TASKS[spec.task].consumers_named(spec.consumers)]
    known = context.facts.get(spec.name, {}).get("interpreters", {})
    record = {
        "python": str(interpreter.python),
        "versions": {"python": ready["python"], **ready["versions"]},
        "not-tried": {name: untried[name] for name in consumers if name in untried},
    }
    context.record(spec.name, interpreters={**known, interpreter.label: record})
    if all(name in untried for name in consumers):
        lines = [f"{name}  {untried[name]}" for name in consumers]
        head = f"{spec.name}: {interpreter.python} can be none of its consumers"
        raise UnsuitableInterpreter(
            f"{listing(head, lines)}\nGive the Python of a service that reads this model, or "
            "choose other models with --models."
        )
    return ready


def load_model(
    context: Context, fetched: Fetched, converted: Converted | None, load: Load
) -> Loaded:
    """Load it as the consumer does, and ask the questions of the task and of the goldens."""
    spec, case = fetched.spec, load.case
    context.need(spec.name, "fetched", fetched.state.problems)
    if converted is not None:
        context.need(spec.name, f"converted to {load.precision}", converted.problems)
    ready = context.server_ready(spec.name, load.interpreter)
    name = load.consumer.name
    if why := ready["not-tried"][spec.task].get(name):
        if load.interpreter is None:  # our own lacks it: a verdict without this load proves nothing
            raise UnsuitableInterpreter(
                f"{spec.name}: this environment cannot be the consumer {name}: {why}. Install what "
                "requirements.txt names, or name the consumers that count in the catalogue."
            )
        raise NotTried(f"{name} is {why}")
    path = converted.path if converted else fetched.snapshot
    goldens = read_goldens(context.settings.goldens, spec.name, spec.repo, spec.task)
    questions = context.settings.questions[spec.task]
    root = context.home.root
    doing = f"loading by {load.id}"
    order = {
        "task": spec.task,
        "consumer": name,
        "ask": joined(questions.all(), *((goldens.ask(),) if goldens else ())),
        "way": {
            "target": spec.repo.rpartition("/")[2] if case.way == "short-name" else spec.repo,
            "revision": fetched.locked.commit if case.way == "commit" else None,
            "below": str(path.relative_to(root)) if case.way == "path" else None,
            "cache_dir": "hub" if case.cache == "cache_dir" else None,
            "home": str(root),
        },
    }
    loads = context.facts[spec.name].get("loads", {})
    context.progress.load(spec.name, load.id)
    try:
        result = context.server_of(load.interpreter).run(
            "prep.sandbox.probe.consumers:load",
            order,
            doing=f"{spec.name}: {doing}",
            home=root.resolve(),
            case=case,
        )
    except NotTried as reason:
        context.record(spec.name, loads={**loads, load.id: {"not-tried": str(reason)}})
        raise
    took = {
        "seconds": round(result.seconds, 3),
        "latency": round(result.value["latency"], 6),
        "peak-bytes": result.peak,
    }
    facts = {"goldens": goldens is not None, "loads": {**loads, load.id: took}}
    if load.interpreter is None:
        facts |= {"cut": ready["cut"], "versions": ready["versions"]}
        answers = context.facts[spec.name].get("answers", {})
        weights = load.precision or "original"
        if weights not in answers and (given := questions.answers(result.value)) is not None:
            facts["answers"] = {**answers, weights: given}
    if "cpu_default" in result.value:
        facts["cpu_default"] = result.value["cpu_default"]
    context.record(spec.name, **facts)
    return Loaded(
        spec=spec,
        load=load,
        path=str(path),
        facts=result.value,
        result=result,
        cut=ready["cut"],
        goldens=goldens,
        questions=questions,
    )
