"""`loaded`: one load by one consumer in a process without network, and its answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from prep.catalogue.entries import ModelSpec
from prep.catalogue.goldens import Goldens, read_goldens
from prep.errors import NotTried, PrepError, UnsuitableInterpreter, Unsupported, listing
from prep.process.child import Event
from prep.sandbox.import_server import Job, JobResult
from prep.stages.context import Context
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched
from prep.stages.reference import Reference
from prep.tasks.consumers import Interpreter, Load
from prep.tasks.precisions import COMPUTED, PUBLISHED, bound
from prep.tasks.question_sets import Ask, Questions, joined
from prep.tasks.registry import TASKS

Q = TypeVar("Q", bound=Questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One load. `facts` are what the probe measured; `path` is what the consumer should read.

    `cut` says how the process was cut off from the network. `interrogation` is the load whose
    answers an access check is held against, None where this is one.
    """

    spec: ModelSpec
    load: Load
    path: str
    facts: dict[str, Any]
    result: JobResult
    cut: str
    goldens: Goldens | None
    questions: Questions
    reference: Reference
    interrogation: "Loaded | None" = None

    @property
    def name(self) -> str:
        """The model and the load, as messages begin."""
        return f"{self.spec.name}: {self.load.id}"

    @property
    def precision(self) -> str:
        """Whose tolerances apply: the converted precision's, or the original's own."""
        return self.load.precision or PUBLISHED.get(self.facts.get("dtype", ""), "fp32")

    def bound(self, table: Mapping[str, float], best: float = 0.0) -> float:
        """The bound of that precision in a table of the questions; an exact answer has `best`."""
        return bound(table, self.precision, best)

    def agreement_problems(self) -> list[str]:
        """Where its answers are not those of the reference."""
        measure = TASKS[self.spec.task].measure
        limit = measure.bound(self.questions.agreement, self.precision)
        agreement = self.reference.agreement(self.spec.task, self.facts, limit)
        return measure.problems(agreement, limit)

    def served_problems(self) -> list[str]:
        """Where a conversion that runs as a service runs it does not answer as the reference.

        The type that this CPU computes in by itself has bounds of its own.
        """
        measure, served = TASKS[self.spec.task].measure, self.facts["served"]
        kinds = (self.precision, COMPUTED[served["type"]])
        limits = (measure.bound(self.questions.agreement, kind) for kind in kinds)
        limit = max(limits) if measure.at_most else min(limits)
        reference = replace(self.reference, ask=self.reference.few)
        return measure.problems(reference.agreement(self.spec.task, served, limit), limit)

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
    named = context.settings.consumers_of(spec)
    consumers = [consumer.name for consumer in TASKS[spec.task].consumers_named(named)]
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


def check_consumer(context: Context, spec: ModelSpec, load: Load) -> None:
    """Raise where the libraries of the load's interpreter cannot be its consumer."""
    ready = context.server_ready(spec.name, load.interpreter)
    name = load.consumer.name
    if why := ready["not-tried"][spec.task].get(name):
        if load.interpreter is None:  # our own lacks it: a verdict without this load proves nothing
            raise UnsuitableInterpreter(
                f"{spec.name}: this environment cannot be the consumer {name}: {why}. Install what "
                "requirements.txt names, or name the consumers that count in the catalogue."
            )
        raise NotTried(f"{name} is {why}")


def lacking(load: Load, converted: Converted | None) -> str | None:
    """What a load needs of a conversion that has it not, and why."""
    receipt = converted.state.receipt if converted else None
    listed = {file.path for file in receipt.files} if receipt else set()
    missing = [name for name in load.consumer.needs if name not in listed]
    if receipt is None or not missing:
        return None
    why = receipt.no_tokenizer or "it was converted before those were made"
    return f"the {load.precision} conversion has no {', '.join(missing)}: {why}"


def check_conversion(
    context: Context, spec: ModelSpec, load: Load, converted: Converted | None
) -> None:
    """Raise where the conversion lacks what the consumer needs."""
    if why := lacking(load, converted):
        raise _left_out(context, spec, load, why)


def _left_out(context: Context, spec: ModelSpec, load: Load, why: str) -> PrepError:
    """The error of a load that the model itself does not allow: none where nobody asked for it."""
    name = load.consumer.name
    if name in (spec.consumers or ()):
        return Unsupported(
            f"{spec.name}: its entry names the consumer {name}, which cannot read it: {why}. Take "
            "it out of 'consumers', or run once without --offline where the home is older."
        )
    loads = context.facts.get(spec.name, {}).get("loads", {})
    context.record(spec.name, loads={**loads, load.id: {"not-tried": why}})
    return NotTried(why)


def start_load(
    context: Context,
    fetched: Fetched,
    converted: Converted | None,
    reference: Reference,
    load: Load,
    threads: int,
) -> Job:
    """Load it as the consumer does, and ask: all questions, or those of an access check."""
    spec, case = fetched.spec, load.case
    path = converted.path if converted else fetched.snapshot
    goldens = read_goldens(context.settings.goldens, spec.name, spec.repo, spec.task)
    questions = context.settings.questions_of(spec)
    ask = questions.sentinels()
    if load.is_interrogation:
        recorded = goldens.ask() if goldens else None  # as answers to texts alone
        ask = joined(questions.all(), ask, reference.given, alone=recorded)
    root = context.home.root
    order = {
        "task": spec.task,
        "consumer": load.consumer.name,
        "ask": ask,
        "again": load.is_interrogation,
        "odd": [*questions.odd.values()] if load.is_interrogation else [],
        "served": _as_served(questions, reference, spec, load) if is_served(load) else None,
        "way": {
            "target": spec.repo.rpartition("/")[2] if case.way == "short-name" else spec.repo,
            "revision": fetched.locked.commit if case.way == "commit" else None,
            "below": str(path.relative_to(root)) if case.way == "path" else None,
            "cache_dir": "hub" if case.cache == "cache_dir" else None,
            "home": str(root),
            "languages": spec.languages,
        },
    }
    return context.server_of(load.interpreter).submit(
        "prep.sandbox.probe.consumers:load",
        order,
        doing=f"{spec.name}: loading by {load.id}",
        home=root.resolve(),
        case=case,
        threads=threads,
        memory=context.load_memory(spec.name, load),
    )


def is_served(load: Load) -> bool:
    """Whether it is asked as services ask too: several at once, and as OpenVINO runs by itself."""
    return load.is_interrogation and load.interpreter is None


def _as_served(
    questions: Questions, reference: Reference, spec: ModelSpec, load: Load
) -> dict[str, Any]:
    """``threads``: what it loads may be shared by threads, as PyTorch's models may."""
    nothing: Ask = {"texts": [], "prompts": []}
    return {
        "at-once": questions.sentinels(),
        "threads": load.consumer.reads == "source",
        "ask": {**nothing, **(reference.given or reference.few)},
        "ov-config": dict(spec.ov_config),
    }


def finish_load(
    context: Context,
    fetched: Fetched,
    converted: Converted | None,
    load: Load,
    job: Job,
    reference: Reference,
    interrogation: Loaded | None,
) -> Loaded:
    """Wait for a load that was started, and note what it took."""
    spec = fetched.spec
    questions = context.settings.questions_of(spec)
    loads = context.facts[spec.name].get("loads", {})
    context.progress.load(spec.name, load.id)
    try:
        result = context.server_of(load.interpreter).result(job)
    except NotTried as reason:
        if load.is_interrogation and load.interpreter is None:  # its case needs no right at all
            raise _left_out(context, spec, load, str(reason)) from None
        context.record(spec.name, loads={**loads, load.id: {"not-tried": str(reason)}})
        raise
    context.peaks[spec.name, load.id] = result.peak
    took: dict[str, Any] = {"seconds": round(result.seconds, 3), "peak-bytes": result.peak}
    if load.is_interrogation:
        took["latency"] = round(result.value["latency"], 6)
        took |= {f"length-{key}": result.value["longest"][key] for key in ("tried", "limit")}
    goldens = read_goldens(context.settings.goldens, spec.name, spec.repo, spec.task)
    facts = {"goldens": goldens is not None, "loads": {**loads, load.id: took}}
    ready = context.server_ready(spec.name, load.interpreter)
    if load.interpreter is None:
        facts |= {"cut": ready["cut"], "versions": ready["versions"]}
        answers = context.facts[spec.name].get("answers", {})
        weights = load.precision or "original"
        if (
            load.is_interrogation
            and weights not in answers
            and (given := questions.answers(result.value)) is not None
        ):
            facts["answers"] = {**answers, weights: given}
    if "cpu_default" in result.value:
        facts["cpu_default"] = result.value["cpu_default"]
    context.record(spec.name, **facts)
    return Loaded(
        spec=spec,
        load=load,
        path=str(converted.path if converted else fetched.snapshot),
        facts=result.value,
        result=result,
        cut=ready["cut"],
        goldens=goldens,
        questions=questions,
        reference=reference,
        interrogation=interrogation,
    )
