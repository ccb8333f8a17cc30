"""`models.toml`: the models that are wanted, and why. Written by a person, never by this suite."""

import re
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.addresses import address_problem, is_url
from prep.errors import CatalogueError
from prep.files.fields import NAME, REPO, REVISION, Table, path_problem
from prep.files.reader import Unreadable, read_toml
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS

VERSION = 1
PROPERTY = re.compile(r"[A-Z][A-Z0-9_]*")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One ``[[models]]`` entry.

    `revision` may be a branch, a tag or a commit; the lock turns it into a commit. `files` are
    globs over the repository's paths, `consumers` names of the consumers' table; None means the
    task's defaults. `licenses`, where given, are the only ones that the lock may hold. `language`
    is that of the questions; `questions` a file of the model's own, relative to the catalogue.
    `source_language` and `target_language` are codes of a translator's tokenizer. `hub` is the
    address of the model's own hub, or a folder, relative to the catalogue. `ov_config` is how
    the model's service configures OpenVINO.
    """

    name: str
    repo: str
    revision: str
    task: str
    precisions: tuple[str, ...]
    why: str
    files: tuple[str, ...] | None = None
    consumers: tuple[str, ...] | None = None
    licenses: tuple[str, ...] | None = None
    language: str = "en"
    questions: str | None = None
    hub: str | None = None
    ov_config: tuple[tuple[str, str], ...] = ()
    source_language: str | None = None
    target_language: str | None = None

    @property
    def languages(self) -> dict[str, str]:
        """Between which languages a translator is asked to translate, by its tokenizer's codes."""
        named = {"source": self.source_language, "target": self.target_language}
        return {side: code for side, code in named.items() if code is not None}

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs in force: the entry's own, else the task's."""
        return self.files if self.files is not None else TASKS[self.task].files


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All entries in the order of the file, names unique."""

    path: Path
    models: tuple[ModelSpec, ...]

    @property
    def lock_path(self) -> Path:
        """``models.toml`` → ``models.lock.toml`` beside it."""
        return self.path.with_name(f"{self.path.stem}.lock.toml")

    @classmethod
    def from_dict(cls, data: object, path: Path) -> "Catalogue":
        """Check the parsed file; `CatalogueError` names every problem with its place."""
        problems: list[str] = []
        top = Table(data, "", problems)
        models: list[ModelSpec] = []
        if top.version("catalogue-version", VERSION):
            models = [_model(table) for table in top.tables("models")]
            top.done()
            if not models and not problems:
                problems.append("names no model: add a [[models]] entry")
            problems += duplicate_names([spec.name for spec in models], any_case=True)
            problems += _conflicts(models)
        if problems:
            raise CatalogueError(path.name, problems)
        return cls(path=path, models=tuple(models))


def read_catalogue(path: Path) -> Catalogue:
    """Read the file; `CatalogueError` where it is missing, not TOML, or has unusable entries."""
    try:
        data = read_toml(path)
    except OSError as error:
        raise CatalogueError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except Unreadable as error:
        raise CatalogueError(path.name, [f"is not TOML: {error}"]) from None
    return Catalogue.from_dict(data, path)


def _model(table: Table) -> ModelSpec:
    spec = ModelSpec(
        name=table.text("name", NAME, "a name of letters, digits, '.', '_' and '-'"),
        repo=table.text("repo", REPO, "ORG/NAME"),
        revision=table.text("revision", REVISION, "a branch, a tag or a commit"),
        task=table.choice("task", tuple(TASKS)),
        precisions=table.texts("precisions", PRECISIONS, least=0),
        why=table.text("why"),
        files=table.texts("files") if table.has("files") else None,
        consumers=table.texts("consumers") if table.has("consumers") else None,
        licenses=table.texts("licenses") if table.has("licenses") else None,
        language=_language(table) if table.has("language") else "en",
        questions=table.text("questions") if table.has("questions") else None,
        hub=table.text("hub") if table.has("hub") else None,
        ov_config=_ov_config(table) if table.has("ov-config") else (),
        source_language=table.text("source-language") if table.has("source-language") else None,
        target_language=table.text("target-language") if table.has("target-language") else None,
    )
    if spec.questions and (problem := path_problem(spec.questions)):
        table.note("questions", f"{spec.questions!r} {problem}; it is relative to the catalogue")
    if spec.hub and is_url(spec.hub) and (problem := address_problem(spec.hub)):
        table.note("hub", f"is not the address of a hub: {problem}")
    for index, glob in enumerate(spec.files or ()):
        if problem := path_problem(glob):
            table.note(f"files[{index}]", f"{glob!r} {problem}")
    known = [consumer.name for consumer in TASKS[spec.task].consumers] if spec.task else []
    for index, consumer in enumerate(spec.consumers or ()):
        if known and consumer not in known:
            table.note(
                f"consumers[{index}]", f"must be one of {', '.join(known)}, got {consumer!r}"
            )
    named = None if table.problems else spec.consumers
    if named and not TASKS[spec.task].loads_of(spec.repo, named, spec.precisions):
        table.note("consumers", "load nothing here: add a precision to be converted, or a consumer")
    table.done()
    return spec


def _language(table: Table) -> str:
    return table.text("language", LANGUAGE, "a code of a language, as de or pt-br")


def _ov_config(table: Table) -> tuple[tuple[str, str], ...]:
    given = table.table("ov-config")
    if "CACHE_DIR" in given.raw:
        given.note("CACHE_DIR", "would have a load write into that folder: leave it out")
    return tuple((key, given.text(key)) for key in given.raw if _is_property(given, key))


def _is_property(table: Table, key: str) -> bool:
    if not PROPERTY.fullmatch(key):
        table.note(key, "is not a name of an OpenVINO property, as INFERENCE_PRECISION_HINT")
    return PROPERTY.fullmatch(key) is not None


def duplicate_names(names: list[str], *, any_case: bool = False) -> list[str]:
    """The entries of a catalogue or lock whose name an earlier entry has."""
    problems = []
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        before = first.setdefault(name.lower() if any_case else name, index)
        if name and before < index:
            problems.append(
                f"in 'models[{index}].name': {name!r} is the name of 'models[{before}]' too"
            )
    return problems


def _conflicts(models: list[ModelSpec]) -> list[str]:
    """Entries, each right by itself, that cannot be in one home together."""
    problems = []
    revisions: dict[str, tuple[int, str]] = {}  # by repository, the first
    hubs: dict[str, tuple[int, str | None]] = {}
    made: dict[tuple[str, str], tuple[int, object]] = {}  # by repository and precision, the first
    for index, spec in enumerate(models):
        if spec.repo and spec.revision:
            before, revision = revisions.setdefault(spec.repo, (index, spec.revision))
            if spec.revision != revision:
                problems.append(
                    f"in 'models[{index}].revision': {spec.revision!r}, but 'models[{before}]' "
                    f"wants {revision!r} of the same repo; refs/main can name only one commit"
                )
        before, hub = hubs.setdefault(spec.repo, (index, spec.hub))
        if spec.repo and spec.hub != hub:
            problems.append(
                f"in 'models[{index}]': it comes from another hub than 'models[{before}]' of the "
                "same repo; the home has one folder for both"
            )
        if not (spec.repo and spec.task):
            continue
        how = (spec.task, spec.files)
        firsts = [
            made.setdefault((spec.repo, precision), (index, how)) for precision in spec.precisions
        ]
        problems += [
            f"in 'models[{index}]': 'models[{before}]' converts other files of the same repo, or "
            "for another task, to the same precision; the stable path can lead to only one"
            for before in sorted({before for before, first in firsts if first != how})
        ]
    return problems
