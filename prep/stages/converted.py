"""`converted`: one precision; receipt, bytes and content checked, converted where needed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from prep.convert import conversion
from prep.convert.content import Content
from prep.errors import ConversionError, ModelError
from prep.files.tree import megabytes
from prep.home.layout import Home
from prep.stages.context import Context
from prep.stages.fetched import Fetched
from prep.stages.plan import ConversionPlan, plan_conversion
from prep.stages.reference import Reference
from prep.tasks.question_sets import joined
from prep.verify.conversion import ConversionState, check_conversion
from prep.verify.problem import Problem

AskReference = Callable[[], Reference]  # done once: not before it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One converted precision. `path` is the stable one that consumers configure.

    `content` is None where the bytes are wrong already, or it cannot be loaded; `content_problems`
    are what is wrong with it. `made`: it was converted in this run. `repaired` is the damage that
    was found and repaired.
    """

    model: str
    precision: str
    home: Home
    path: Path
    state: ConversionState
    content: Content | None
    content_problems: Mapping[str, str] = field(default_factory=dict)
    made: bool = False
    repaired: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[object, ...]:
        """Why consumers may not load it; empty where they may."""
        return (*self.state.problems, *self.content_problems.values())

    @property
    def sound(self) -> bool:
        """Whether consumers may load it."""
        return not self.problems


def convert_model(
    context: Context, fetched: Fetched, ask_reference: AskReference, precision: str
) -> Converted:
    """Check the precision; online, convert where it is missing, of another recipe or corrupt."""
    name = fetched.spec.name
    context.need(name, "fetched", fetched.state.problems)
    began = time.monotonic()
    if context.settings.offline:
        state = _with_recipe_checked(fetched, _check(context, fetched, precision), precision)
        converted = _judge(context, fetched, ask_reference, precision, state)
    else:
        converted = _repair_or_make(context, fetched, ask_reference, precision)
    receipt, content = converted.state.receipt, converted.content
    record = {
        "path": str(converted.path),
        "made": converted.made,
        "seconds": round(time.monotonic() - began, 2),
        "bytes": receipt.bytes if receipt else None,
        "peak-bytes": receipt.made.get("peak-bytes") if receipt else None,
        "agreement": round(content.agreement.value, 6) if content else None,
        "no-tokenizer": receipt.no_tokenizer if receipt else None,
        "tools-differ": _other_tools(context, fetched, converted),
    }
    known = context.facts[name].get("precisions", {})
    context.record(name, precisions={**known, precision: record}, repaired=converted.repaired)
    return converted


def _repair_or_make(
    context: Context, fetched: Fetched, ask_reference: AskReference, precision: str
) -> Converted:
    spec, locked = fetched.spec, fetched.locked
    plan, state, _ = _plan(context, fetched, precision)
    if plan.action == "keep":
        converted = _judge(context, fetched, ask_reference, precision, state)
        if not converted.content_problems:
            return converted
    context.refuse_escaping_link(spec.name, context.home.conversions(locked.repo))
    if plan.action in ("convert", "convert again"):
        context.check_preflight(spec.name)
    with context.lock_stage(locked.repo, f"convert.{precision}", spec.name):
        plan, state, stable = _plan(context, fetched, precision)
        repaired: tuple[str, ...] = ()
        if plan.action == "keep":  # somebody else made it meanwhile, or its content is wrong
            converted = _judge(context, fetched, ask_reference, precision, state)
            if not converted.content_problems:
                return converted
            repaired = tuple(converted.content_problems.values())
        elif plan.action in ("open", "convert again") or _is_broken(stable):
            repaired = (plan.reason,)
        context.report_repair(spec.name, repaired)
        if plan.action == "open":
            context.open_modes(state.problems)
        elif plan.action == "point":
            conversion.point(context.home, conversion.recipe_for(locked, spec.task, precision))
        else:
            return replace(_make(context, fetched, ask_reference, precision), repaired=repaired)
        state = _check(context, fetched, precision)
        return replace(_judge(context, fetched, ask_reference, precision, state), repaired=repaired)


def _make(
    context: Context, fetched: Fetched, ask_reference: AskReference, precision: str
) -> Converted:
    """Convert beside, check the content, publish; a conversion that fails its check is deleted."""
    spec, locked = fetched.spec, fetched.locked
    reference = ask_reference()
    doing = f"converting to {precision}"
    context.progress.say(spec.name, doing)
    recipe = conversion.recipe_for(locked, spec.task, precision)
    context.progress.busy(spec.name, doing)
    with context.converter(spec.name, locked.converter) as server:
        texts = context.settings.questions_of(spec).texts()
        draft = conversion.make(server, context.server, context.home, recipe, texts)
    try:
        content = _measure(context, fetched, reference, precision, draft.folder)
        if problems := content.problems(precision, _bound(context, fetched, precision)):
            lines = "\n".join(f"  {problem}" for problem in problems.values())
            raise ConversionError(
                f"{spec.name}: the {precision} conversion is not what it must be, so it was thrown "
                f"away:\n{lines}\nReport it with the versions in the header; --precision none "
                "prepares the original weights alone."
            )
        receipt = conversion.publish(context.home, draft, content.facts())
    finally:
        conversion.discard(draft)
    size = megabytes(receipt.bytes)
    context.progress.say(spec.name, f"converted to {precision}: {size} in {draft.seconds:.1f} s")
    return Converted(
        model=spec.name,
        precision=precision,
        home=context.home,
        path=context.home.stable(locked.repo, precision),
        state=_check(context, fetched, precision),
        content=content,
        made=True,
    )


def _plan(
    context: Context, fetched: Fetched, precision: str
) -> tuple[ConversionPlan, ConversionState, ConversionState]:
    """The plan, the state that it is made from, and the state of the stable path."""
    locked = fetched.locked
    recipe = conversion.recipe_for(locked, fetched.spec.task, precision)
    stable = _check(context, fetched, precision)
    made = stable
    if stable.receipt is None or stable.receipt.recipe.digest != recipe.digest:
        place = context.home.conversions(locked.repo) / recipe.digest
        made = check_conversion(context.home, locked, precision, at=place, wanted=recipe, deep=True)
    return plan_conversion(recipe, stable, made), made, stable


def _check(context: Context, fetched: Fetched, precision: str) -> ConversionState:
    at = context.home.stable(fetched.locked.repo, precision)
    context.progress.busy(fetched.spec.name, f"digesting the {precision} conversion")
    return check_conversion(context.home, fetched.locked, precision, at=at, deep=True)


def _with_recipe_checked(
    fetched: Fetched, state: ConversionState, precision: str
) -> ConversionState:
    """The state, with the task and the options of the receipt compared with ours.

    Other tools are another machine's; another task or other options are another conversion.
    """
    if state.receipt is None:
        return state
    ours = conversion.recipe_for(fetched.locked, fetched.spec.task, precision)
    theirs = state.receipt.recipe
    problems = tuple(
        Problem(
            aspect="receipt",
            kind="mismatch",
            path=f"{precision}/receipt.json",
            detail=f"{what} is {got!r}, wanted {wanted!r}",
        )
        for what, got, wanted in (
            ("task", theirs.task, ours.task),
            ("options", dict(theirs.options), dict(ours.options)),
        )
        if got != wanted
    )
    return replace(state, problems=(*state.problems, *problems))


def _judge(
    context: Context,
    fetched: Fetched,
    ask_reference: AskReference,
    precision: str,
    state: ConversionState,
) -> Converted:
    """The conversion as it is, with its content measured where its bytes are right."""
    content: Content | None = None
    problems: Mapping[str, str] = {}
    if state.sound and state.folder is not None:
        try:
            reference = ask_reference()
            content = _measure(context, fetched, reference, precision, state.folder)
            problems = content.problems(precision, _bound(context, fetched, precision))
        except ModelError as error:  # as wrong as wrong answers, and converted again like those
            problems = {"agreement": f"it gives no answers: {' '.join(str(error).split())}"}
    return Converted(
        model=fetched.spec.name,
        precision=precision,
        home=context.home,
        path=context.home.stable(fetched.locked.repo, precision),
        state=state,
        content=content,
        content_problems=problems,
    )


def _measure(
    context: Context, fetched: Fetched, reference: Reference, precision: str, folder: Path
) -> Content:
    spec = fetched.spec
    context.server_ready(spec.name)
    doing = f"checking the {precision} conversion"
    context.progress.busy(spec.name, doing)
    result = context.server.run(
        "prep.convert.content:measure",
        {
            "folder": str(folder),
            "task": spec.task,
            "ask": joined(reference.ask, reference.given),
            "texts": context.settings.questions_of(spec).texts(),
            "languages": spec.languages,
        },
        doing=f"{doing} of {spec.name}",
    )
    found = result.value
    bound = _bound(context, fetched, precision)
    return Content(
        task=spec.task,
        elements=found["elements"],
        vocabulary=found["vocabulary"],
        source_vocabulary=reference.facts["vocabulary"],
        agreement=reference.agreement(spec.task, found["answers"], bound),
        differences=tuple(found["differences"]),
    )


def _bound(context: Context, fetched: Fetched, precision: str) -> float:
    return context.settings.questions_of(fetched.spec).agreement[precision]


def _is_broken(stable: ConversionState) -> bool:
    """Whether the stable path is there and broken: a dangling link, an incomplete folder.

    An intact receipt of another commit is no damage: the pin has moved, and there is work to do.
    """
    return stable.receipt is None and any(
        problem.detail != "never converted" for problem in stable.problems
    )


def _other_tools(context: Context, fetched: Fetched, converted: Converted) -> list[str]:
    """Tools whose version here is not the receipt's: reported, never a failure."""
    if converted.state.receipt is None:
        return []
    here = conversion.recipe_for(fetched.locked, fetched.spec.task, converted.precision).tools
    then = converted.state.receipt.recipe.tools
    return [
        f"{tool} {then[tool]} (here {version})"
        for tool, version in here.items()
        if then.get(tool, version) != version  # an older recipe knew fewer tools
    ]
