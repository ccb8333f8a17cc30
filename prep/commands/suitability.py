"""Whether a model can be prepared as its entry says, by the small files that --relock reads."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import CONVERTER
from prep.convert import overlay
from prep.errors import Unsupported, listing
from prep.fetch.hub import RemoteModel
from prep.files.patterns import matches
from prep.process.child import Watch, environment, run
from prep.tasks import loaders
from prep.tasks.architecture import Architecture, describe, missing_files
from prep.tasks.registry import TASKS

GATES_SECONDS = 180
NONE = "write precisions = [] in its entry: the published weights alone are prepared and judged"
Gates = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suited:
    """What the lock says of it: the consumers where not all can read it, and the converter.

    `unable` are the others, each with the reason.
    """

    consumers: tuple[str, ...] | None
    converter: str | None
    unable: Mapping[str, str]


def architecture_of(remote: RemoteModel) -> Architecture:
    """By the files that came with the hub's answer."""
    return describe({file.path: file.text for file in remote.files if file.text is not None})


def ask_exporter(
    found: Collection[tuple[ModelSpec, Architecture]], scratch: Path, say: Callable[[str], object]
) -> Gates:
    """What the exporter says of all architectures that are to be converted, in one child.

    And the languages of the tokenizers of models that write, by the tokenizer's name.
    """
    types = sorted(
        {
            (architecture.model_type, spec.task)
            for spec, architecture in found
            if spec.precisions and architecture.model_type
        }
    )
    tokenizers = sorted(
        {
            name
            for spec, architecture in found
            if TASKS[spec.task].generates and (name := _tokenizer(architecture))
        }
    )
    if not types and not tokenizers:
        return {}
    what = "the exporter which architectures it converts" if types else "for tokenizers' languages"
    say(f"asking {what}")
    doing = "asking the exporter"
    known: Gates = run(
        "prep.convert.gates",
        {"types": types, "tokenizers": tokenizers},
        environment(scratch, network=False),
        doing=doing,
        on_event=lambda event: None,
        watch=Watch(GATES_SECONDS),
    )
    return {**known["types"], **known["languages"]}


def _tokenizer(found: Architecture) -> str | None:
    """The class that its files name, else the model type, for which the library has one."""
    return (found.tokenizer or "").removesuffix("Fast") or found.model_type


def check(spec: ModelSpec, remote: RemoteModel, gates: Gates) -> Suited:
    """What is to be locked beside the files; raises `Unsupported`, with the entry to write."""
    found = architecture_of(remote)
    paths = [file.path for file in remote.files]
    task = TASKS[spec.task]
    missing = missing_files(found, paths, remote.others)
    missing += [
        f"{path}  without it a loader goes by settings of its own"
        for path in sorted(remote.others)
        if matches(path, loaders.SETTINGS) and matches(path, task.files)
    ]
    if missing:
        raise _refusal(
            spec,
            remote,
            "files that its loaders need are not among the wanted ones",
            missing,
            "Name them in 'files', or choose a revision that has them.",
        )
    if other := task.other_kind(found):
        raise _refusal(spec, remote, other, [], "Choose a model of this task, or another task.")
    if task.generates:
        _check_languages(spec, remote, gates.get(_tokenizer(found) or "", []))
    unable = task.consumers_unable(found, paths)
    if named := [name for name in spec.consumers or () if name in unable]:
        lines = [f"{name}  {unable[name]}" for name in named]
        raise _refusal(
            spec,
            remote,
            "consumers of its entry cannot read it",
            lines,
            "Take them out of 'consumers'.",
        )
    able = [consumer for consumer in task.consumers if consumer.name not in unable]
    if not able:
        lines = [f"{name}  {why}" for name, why in unable.items()]
        raise _refusal(spec, remote, "no consumer can read it", lines, "Choose another model.")
    converter = None
    if spec.precisions:
        if not any(consumer.reads == "converted" for consumer in able):
            lines = [f"{name}  {why}" for name, why in unable.items()]
            raise _refusal(
                spec,
                remote,
                "no consumer can read a conversion of it",
                lines,
                f"To prepare it without a conversion, {NONE}.",
            )
        converter = _converter(spec, remote, found, gates)
    names = tuple(consumer.name for consumer in able)
    return Suited(consumers=names if unable else None, converter=converter, unable=unable)


def _check_languages(spec: ModelSpec, remote: RemoteModel, codes: Sequence[str]) -> None:
    """A tokenizer that knows languages must be told two of them: by itself it takes any."""
    if not codes:
        return
    said = {f"{side}-language": spec.languages.get(side) for side in ("source", "target")}
    if all(code in codes for code in said.values()):
        return
    unknown = [f"{key} = {code!r}" for key, code in said.items() if code and code not in codes]
    what = f"does not know {' nor '.join(unknown)}" if unknown else "must be told both languages"
    raise _refusal(
        spec,
        remote,
        f"its tokenizer {what}",
        [],
        "Write source-language and target-language in its entry, by the tokenizer's codes: "
        f"{', '.join(codes)}.",
    )


def _converter(
    spec: ModelSpec, remote: RemoteModel, found: Architecture, gates: Gates
) -> str | None:
    """The converter for its architecture, None for the usual one."""
    gate = gates.get(f"{found.model_type} {spec.task}")
    if gate is None or not gate["exported"]:
        raise _refusal(
            spec,
            remote,
            f"optimum-intel does not export the architecture {found.model_type} for {spec.task}",
            [],
            f"To prepare it without a conversion, {NONE}.",
        )
    if not gate["too-new"]:
        return None
    overlay.needed(spec.name)
    return CONVERTER


def _refusal(
    spec: ModelSpec, remote: RemoteModel, what: str, lines: list[str], remedy: str
) -> Unsupported:
    head = f"{spec.name}: will not lock {spec.repo} at {remote.commit}: {what}"
    shown = listing(head, lines) if lines else f"{head}."
    return Unsupported(f"{shown}\nNothing was locked. {remedy}")
