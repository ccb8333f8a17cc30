"""`models.toml`: what is wanted, and why. Written by a person, never by this suite."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from prep.consumers import consumers_of
from prep.errors import CatalogueError
from prep.shape import NAME, REPO, REVISION, Table, path_problem
from prep.tasks import PRECISIONS, TASKS

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One ``[[models]]`` entry.

    `revision` may be a branch, a tag or a commit; the lock turns it into a commit. `files` are
    globs over the repository's paths, `consumers` names of the consumers' table; None means the
    task's defaults. `licenses`, where given, are the only ones that the lock may hold.
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
            problems += _between(models)
        if problems:
            raise CatalogueError(path.name, problems)
        return cls(path=path, models=tuple(models))


def read_catalogue(path: Path) -> Catalogue:
    """Read the file; `CatalogueError` where it is absent, no TOML, or says something unusable."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(path.name, [f"is not TOML: {error}"]) from None
    return Catalogue.from_dict(data, path)


def _model(table: Table) -> ModelSpec:
    spec = ModelSpec(
        name=table.text("name", NAME, "a name of letters, digits, '.', '_' and '-'"),
        repo=table.text("repo", REPO, "ORG/NAME"),
        revision=table.text("revision", REVISION, "a branch, a tag or a commit"),
        task=table.choice("task", tuple(TASKS)),
        precisions=table.texts("precisions", PRECISIONS),
        why=table.text("why"),
        files=table.texts("files") if table.has("files") else None,
        consumers=table.texts("consumers") if table.has("consumers") else None,
        licenses=table.texts("licenses") if table.has("licenses") else None,
    )
    for index, glob in enumerate(spec.files or ()):
        if problem := path_problem(glob):
            table.note(f"files[{index}]", f"{glob!r} {problem}")
    known = tuple(consumer.name for consumer in consumers_of(spec.task, None))
    for index, consumer in enumerate(spec.consumers or ()):
        if known and consumer not in known:
            table.note(
                f"consumers[{index}]", f"must be one of {', '.join(known)}, got {consumer!r}"
            )
    table.done()
    return spec


def _between(models: list[ModelSpec]) -> list[str]:
    """What is wrong between entries, each being right by itself."""
    problems = []
    for index, spec in enumerate(models):
        for before, other in enumerate(models[:index]):
            if spec.name and spec.name.lower() == other.name.lower():
                problems.append(
                    f"in 'models[{index}].name': {spec.name!r} is the name of "
                    f"'models[{before}]' too"
                )
            if not spec.repo or spec.repo != other.repo:
                continue
            if spec.revision and other.revision and spec.revision != other.revision:
                problems.append(
                    f"in 'models[{index}].revision': {spec.revision!r}, but 'models[{before}]' "
                    f"wants {other.revision!r} of the same repo; refs/main can name only one commit"
                )
            if _clash(spec, other):
                problems.append(
                    f"in 'models[{index}]': 'models[{before}]' converts other files of the same "
                    "repo, or for another task, to the same precision; the stable path can lead "
                    "to only one"
                )
    return problems


def _clash(spec: ModelSpec, other: ModelSpec) -> bool:
    """Whether two entries of one repository would make different conversions of one name."""
    shared = set(spec.precisions) & set(other.precisions)
    known = spec.task and other.task
    return bool(known and shared) and (spec.task, spec.files) != (other.task, other.files)
