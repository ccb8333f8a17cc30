"""`--relock`: ask the hub what the catalogue's revisions are now, and write it down."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import Lock, LockedFile, LockedModel, check_lock, render
from prep.catalogue.pin_change import is_compared, meaning
from prep.commands.suitability import architecture_of, ask_exporter, check
from prep.errors import Exit, UnsafeFile, WrongRequest, listing
from prep.fetch import hub
from prep.fetch.hub import RemoteModel
from prep.files import unsafe
from prep.files.reader import printable
from prep.files.typed import Texts, plain
from prep.home.layout import Home, write_text
from prep.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """A model as the hub has it now, against its lock entry."""

    name: str
    repo: str
    before: Annotated[str | None, "locked commit, null where the model is new"]
    after: Annotated[str, "commit of the revision that the catalogue names"]
    moved: Annotated[bool, "whether the lock entry would change"]
    changes: Annotated[Texts, "in the lock entry, file by file"]
    meaning: Annotated[Texts, "for those who use the model; the last says if answers may change"]
    main: Annotated[str | None, "commit of the repository's main, where the catalogue pins another"]

    def lines(self) -> list[str]:
        """As text."""
        lines = [*self.changes, *(f"  {line}" for line in self.meaning)]
        if self.main is not None:
            lines.append(f"  the catalogue pins this commit; the repository's main is {self.main}")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocked:
    """What ``--relock --dry-run=json`` prints."""

    relock_version: Literal[1] = 1
    lock: Annotated[str, "name of the lock file"]
    exit: Annotated[Literal[0, 10], "10: the lock would change"]
    models: tuple[ModelChange, ...]
    gone: Annotated[Texts, "models of the lock that the catalogue does not name"]


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Lock the chosen models, keep the other entries, print what changed and what it means; 0.

    With ``--dry-run`` nothing is written; `Exit.MOVED` where the lock would change, and the last
    line says so, or with ``=json`` a `Relocked`.
    """
    old, fresh = settings.lock, dict[str, LockedModel]()
    changes: list[ModelChange] = []
    specs = {spec.name: spec for spec in settings.models}
    remotes: dict[str, RemoteModel] = {}

    def take(name: str, remote: RemoteModel) -> None:
        fresh[name], remotes[name] = _locked(specs[name], remote), remote

    def say(text: str) -> None:
        (sys.stderr.write if settings.as_json else write)(f"{text}\n")

    for network, asked in settings.by_network(settings.models).items():
        hub.ask_all(
            network,
            {spec.name: (spec.repo, spec.revision, spec.globs) for spec in asked},
            scratch=scratch,
            on_model=take,
            say=say,
        )
    kinds = [(specs[name], architecture_of(remote)) for name, remote in remotes.items()]
    gates = ask_exporter(kinds, scratch, say)
    for name, spec in specs.items():
        remote, suited = remotes[name], check(spec, remotes[name], gates)
        fresh[name] = replace(fresh[name], consumers=suited.consumers, converter=suited.converter)
        change = _model_change(settings.home, spec, old.get(name), fresh[name], remote)
        if change.moved and not spec.consumers:
            unable = tuple(f"  not read by {who}: {why}" for who, why in suited.unable.items())
            change = replace(change, changes=change.changes + unable)
        changes.append(change)
    new = _merged(settings, fresh)
    check_lock(settings.catalogue, new, settings.models)
    gone = tuple(model.name for model in old.models if new.get(model.name) is None)
    path = settings.catalogue.lock_path
    moved = [change.name for change in changes if change.moved]
    code = int(Exit.MOVED) if settings.dry_run and (moved or gone) else 0
    if settings.as_json:
        relocked = Relocked(
            lock=path.name, exit=10 if code else 0, models=tuple(changes), gone=gone
        )
        write(json.dumps(plain(relocked), indent=1, ensure_ascii=False) + "\n")
        return code
    lines = [line for change in changes for line in change.lines()]
    lines += [f"{name}: gone, the catalogue does not name it" for name in gone]
    write("".join(f"{line}\n" for line in lines))
    if settings.dry_run:
        changed = ", ".join([*moved, *gone])
        says = f"the lock would change for {changed}" if changed else "nothing has moved on"
        write(f"{path.name} is not written (--dry-run): {says}\n")
        return code
    try:
        write_text(path, render(new))
    except OSError as error:
        raise WrongRequest(f"{path} cannot be written: {error.strerror}.") from None
    write(f"wrote {path.name}: {len(new.models)} models; review the diff and commit it\n")
    return 0


def _merged(settings: Settings, fresh: Mapping[str, LockedModel]) -> Lock:
    """The catalogue's entries in its order; entries that were not chosen stay as they are."""
    old, catalogue = settings.lock, settings.catalogue
    entries = [fresh.get(spec.name) or old.get(spec.name) for spec in catalogue.models]
    if settings.models != catalogue.models:
        names = {spec.name for spec in catalogue.models}
        entries += [model for model in old.models if model.name not in names]
    return Lock(models=tuple(entry for entry in entries if entry is not None))


def _model_change(
    home: Home, spec: ModelSpec, before: LockedModel | None, after: LockedModel, remote: RemoteModel
) -> ModelChange:
    """What changed of a model, what that means, and whether the hub's main is past the pin."""
    means: list[str] = []
    if before is not None and before != after:
        new = {file.path: file.text for file in remote.files if file.text is not None}
        means = meaning(before, after, spec.task, _texts(home, before), new)
    return ModelChange(
        name=after.name,
        repo=after.repo,
        before=before.commit if before else None,
        after=after.commit,
        moved=before != after,
        changes=tuple(_change(before, after)),
        meaning=tuple(means),
        main=remote.head if remote.head != remote.commit else None,
    )


def _texts(home: Home, locked: LockedModel) -> dict[str, str]:
    """The small files of an entry as they lie in the home, where they are the lock's bytes."""
    texts = {}
    for file in locked.files:
        path = home.snapshot(locked.repo, locked.commit) / file.path
        if is_compared(file.path) and path.is_file() and path.stat().st_size == file.size:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == file.sha256:
                texts[file.path] = content.decode(errors="replace")
    return texts


def _change(before: LockedModel | None, after: LockedModel) -> list[str]:
    """What is different in a model's entry, file by file; never empty."""
    if before is None:
        return [f"{after.name}: new, {len(after.files)} files, {after.bytes} bytes"]
    if before == after:
        return [f"{after.name}: unchanged at {after.commit}"]
    lines = [f"{after.name}:"]
    for what in ("repo", "hub", "requested_revision", "commit", "license", "converter"):
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            lines.append(f"  {what.replace('_', '-')}: {was} → {now}")
    for path in sorted({file.path for file in (*before.files, *after.files)}):
        old, new = before.file(path), after.file(path)
        if old is None and new is not None:
            lines.append(f"  added    {path}  {new.size} bytes")
        elif new is None:
            lines.append(f"  gone     {path}")
        elif old != new and old is not None:
            lines.append(f"  changed  {path}  {old.size} → {new.size} bytes")
    return lines


def _locked(spec: ModelSpec, remote: RemoteModel) -> LockedModel:
    """The entry, or `UnsafeFile` where the repository holds nothing that may be loaded."""
    reasons = ((file.path, unsafe.of_name(file.path) or file.unsafe) for file in remote.files)
    if bad := [f"{path}  {reason}" for path, reason in reasons if reason]:
        head = f"{spec.name}: will not lock {spec.repo} at {remote.commit}"
        raise UnsafeFile(
            f"{listing(head, bad)}\nNothing was locked. Choose another model or revision; where a "
            "library needs the model without these files, narrow 'files' in the catalogue."
        )
    if not any(file.path.endswith(".safetensors") for file in remote.files):
        others = printable(", ".join(remote.others), 1000) or "nothing else"
        remedy = "choose a revision with safetensors."
        if remote.requests:
            remedy += (
                f" Pull requests of this repository have them: {', '.join(remote.requests)}. "
                "Anybody may open one: look at who did, and write it as 'revision' in the entry."
            )
        raise UnsafeFile(
            f"{spec.name}: {spec.repo} at {remote.commit} has no safetensors weights among the "
            f"wanted files; it has {others}. Pickled weights run code when loaded and are not "
            f"taken: {remedy}"
        )
    return LockedModel(
        name=spec.name,
        repo=spec.repo,
        hub=spec.hub,
        requested_revision=spec.revision,
        requested_files=spec.files,
        commit=remote.commit,
        license=remote.license,
        files=tuple(
            LockedFile(path=file.path, size=file.size, sha256=file.sha256)
            for file in sorted(remote.files, key=lambda file: file.path)
        ),
    )
