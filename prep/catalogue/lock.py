"""`models.lock.toml`: the commit and the checksums of each model of the catalogue.

Written by ``--relock`` only, the same bytes for the same input, so that a diff is a review.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.entries import Catalogue, ModelSpec, duplicate_names
from prep.errors import LockError
from prep.files import unsafe
from prep.files.fields import COMMIT, NAME, REPO, REVISION, SHA256, Table
from prep.files.patterns import matches
from prep.files.reader import Unreadable, read_toml

VERSION = 1
CONVERTER = "transformers-4.57"  # the second one, see prep/convert/overlay.py
HEAD = "# Written by `pytest --relock`. Do not edit: change the catalogue and lock again.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One file of a repository: POSIX path below the snapshot, size in bytes, checksum."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedModel:
    """One model's pin. `files` are sorted by path.

    `consumers` are those that can read such a model, None for all of its task; `converter` is the
    one that its architecture needs, None for the usual one; `hub` is its entry's own.
    """

    name: str
    repo: str
    requested_revision: str
    commit: str
    license: str
    files: tuple[LockedFile, ...]
    requested_files: tuple[str, ...] | None = None
    consumers: tuple[str, ...] | None = None
    converter: str | None = None
    hub: str | None = None

    @property
    def bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """sha256 over the entry: verdicts with the same digest are of the same entry."""
        return hashlib.sha256(_entry(self).encode()).hexdigest()

    def file(self, path: str) -> LockedFile | None:
        """The locked file of that path, or None."""
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """All locked models, in the order of the file."""

    models: tuple[LockedModel, ...] = ()

    def get(self, name: str) -> LockedModel | None:
        """The entry of that name, or None."""
        return next((model for model in self.models if model.name == name), None)

    def paths_of(self, repo: str, commit: str) -> frozenset[str]:
        """All paths that any entry locks in that snapshot: entries may share one."""
        return frozenset(
            file.path
            for model in self.models
            if (model.repo, model.commit) == (repo, commit)
            for file in model.files
        )

    @classmethod
    def from_dict(cls, data: object, name: str) -> "Lock":
        """Check the parsed file called `name`; `LockError` names every problem with its place."""
        problems: list[str] = []
        top = Table(data, "", problems)
        models: list[LockedModel] = []
        if top.version("lock-version", VERSION):
            models = [_model(table) for table in top.tables("models")]
            top.done()
            problems += duplicate_names([model.name for model in models])
        if problems:
            raise LockError(name, problems)
        return cls(models=tuple(models))


def read_lock(path: Path) -> Lock:
    """Read the file; where there is none, the lock is empty."""
    try:
        data = read_toml(path)
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise LockError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except Unreadable as error:
        raise LockError(path.name, [f"is not TOML: {error}"]) from None
    return Lock.from_dict(data, path.name)


def check_lock(catalogue: Catalogue, lock: Lock, specs: Iterable[ModelSpec]) -> None:
    """Check that the lock answers the catalogue for `specs`; `LockError` with every problem."""
    problems = []
    again = set[str]()  # what to lock again
    wanted = {spec.name for spec in catalogue.models}
    for spec in specs:
        locked = lock.get(spec.name)
        if locked is None:
            problems.append(f"{spec.name}: has no entry")
            again.add(spec.name)
            continue
        stale = _differences(catalogue, spec, locked)
        for other in lock.models:  # a branch that moved between two times of locking
            if other.repo == locked.repo and other.commit != locked.commit and other.name in wanted:
                stale.append(
                    f"locked commit {locked.commit}, but {other.name} of the same repo "
                    f"{other.commit}; refs/main can name only one"
                )
                again.add(other.name)
        if stale:
            again.add(spec.name)
        problems += [f"{spec.name}: {difference}" for difference in stale]
        if spec.licenses is not None and locked.license not in spec.licenses:
            problems.append(
                f"{spec.name}: license {locked.license!r}, {catalogue.path.name} allows "
                f"{', '.join(spec.licenses)}; allow it there, or take another model"
            )
    if problems:
        names = ",".join(spec.name for spec in catalogue.models if spec.name in again)
        raise LockError(
            f"{catalogue.lock_path.name} does not answer {catalogue.path.name} and",
            problems,
            # Locking again changes no licence.
            f"Lock again and review the diff: pytest --relock --models {names}" if again else "",
        )


def _differences(catalogue: Catalogue, spec: ModelSpec, locked: LockedModel) -> list[str]:
    """Where an entry of the lock is not of the catalogue's entry; of several kinds, the first."""
    if changed := [
        f"locked {what} {was!r}, {catalogue.path.name} says {now!r}"
        for what, was, now in (
            ("repo", locked.repo, spec.repo),
            ("hub", locked.hub, spec.hub),
            ("requested-revision", locked.requested_revision, spec.revision),
            ("requested-files", locked.requested_files, spec.files),
        )
        if was != now
    ]:
        return changed
    if COMMIT.fullmatch(spec.revision) and locked.commit != spec.revision:
        return [f"locked commit {locked.commit}, the revision is {spec.revision}"]
    unwanted = [file.path for file in locked.files if not matches(file.path, spec.globs)]
    return (
        [f"locks files that the catalogue does not name: {', '.join(unwanted)}"] if unwanted else []
    )


def render(lock: Lock) -> str:
    """The file's text: the same for the same lock."""
    return "\n".join([f"{HEAD}lock-version = {VERSION}\n", *map(_entry, lock.models)])


def _entry(model: LockedModel) -> str:
    lines = [
        "[[models]]",
        f"name = {_quoted(model.name)}",
        f"repo = {_quoted(model.repo)}",
        *([f"hub = {_quoted(model.hub)}"] if model.hub is not None else []),
        f"requested-revision = {_quoted(model.requested_revision)}",
    ]
    if model.requested_files is not None:
        lines.append(f"requested-files = [{', '.join(map(_quoted, model.requested_files))}]")
    lines += [
        f"commit = {_quoted(model.commit)}",
        f"license = {_quoted(model.license)}",
        *(
            [f"consumers = [{', '.join(map(_quoted, model.consumers))}]"]
            if model.consumers is not None
            else []
        ),
        *([f"converter = {_quoted(model.converter)}"] if model.converter is not None else []),
        "files = [",
        *(
            f"  {{ path = {_quoted(file.path)}, size = {file.size},"
            f" sha256 = {_quoted(file.sha256)} }},"
            for file in sorted(model.files, key=lambda file: file.path)
        ),
        "]\n",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _model(table: Table) -> LockedModel:
    files = [locked_file(file, unsafe.of_name) for file in table.tables("files")]
    seen: set[str] = set()
    for index, file in enumerate(files):
        if file.path and file.path in seen:
            table.note(f"files[{index}].path", f"{file.path!r} appears twice")
        seen.add(file.path)
    if table.has("files") and not files:
        table.note("files", "names no file")
    requested = table.texts("requested-files") if table.has("requested-files") else None
    model = LockedModel(
        name=table.text("name", NAME, "a name of letters, digits, '.', '_' and '-'"),
        repo=table.text("repo", REPO, "ORG/NAME"),
        hub=table.text("hub") if table.has("hub") else None,
        requested_revision=table.text("requested-revision", REVISION, "a branch, tag or commit"),
        requested_files=requested,
        commit=table.text("commit", COMMIT, "a commit of 40 hex digits"),
        license=table.text("license"),
        consumers=table.texts("consumers") if table.has("consumers") else None,
        converter=table.choice("converter", (CONVERTER,)) if table.has("converter") else None,
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
    table.done()
    return model


def locked_file(table: Table, problem_of: Callable[[str], str | None]) -> LockedFile:
    """A table of ``path``, ``size`` and ``sha256``; `problem_of` says what is wrong with a path."""
    path = table.text("path")
    if path and (problem := problem_of(path)):
        table.note("path", f"{path!r} {problem}")
    file = LockedFile(
        path=path,
        size=table.number("size"),
        sha256=table.text("sha256", SHA256, "a sha256 of 64 hex digits"),
    )
    table.done()
    return file
