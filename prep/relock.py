"""`--relock`: ask the hub what the catalogue's revisions are now, and write it down."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from prep import fetch, hazards
from prep.catalogue import ModelSpec
from prep.errors import HubRefused, WrongRequest, listing
from prep.fetch import RemoteModel
from prep.layout import write_text
from prep.lock import Lock, LockedFile, LockedModel, answer, render
from prep.settings import Settings


def run(settings: Settings, scratch: Path, write: Callable[[str], object]) -> int:
    """Lock the chosen models, keep the other entries, print what changed; 0.

    With ``--dry-run`` nothing is written.
    """
    fresh: dict[str, LockedModel] = {}
    for spec in settings.models:
        remote = fetch.ask(
            settings.network,
            spec.repo,
            spec.revision,
            spec.globs,
            scratch=scratch,
            say=partial(_say, write, spec.name),
        )
        fresh[spec.name] = _locked(spec, remote)
    old = settings.lock
    entries = (fresh.get(spec.name) or old.get(spec.name) for spec in settings.catalogue.models)
    new = Lock(models=tuple(entry for entry in entries if entry is not None))
    answer(settings.catalogue, new, settings.models)
    for line in changes(old, new):
        write(f"{line}\n")
    path = settings.catalogue.lock_path
    if settings.dry_run:
        write(f"{path.name} is not written (--dry-run)\n")
        return 0
    try:
        write_text(path, render(new))
    except OSError as error:
        raise WrongRequest(f"{path} cannot be written: {error.strerror}.") from None
    write(f"wrote {path.name}: {len(new.models)} models; review the diff and commit it\n")
    return 0


def _say(write: Callable[[str], object], name: str, text: str) -> None:
    write(f"{name}: {text}\n")


def changes(old: Lock, new: Lock) -> list[str]:
    """What is different, model by model and file by file; never empty."""
    lines = []
    for model in new.models:
        before = old.get(model.name)
        if before is None:
            lines.append(f"{model.name}: new, {len(model.files)} files, {model.bytes} bytes")
        elif before == model:
            lines.append(f"{model.name}: unchanged at {model.commit}")
        else:
            lines += _change(before, model)
    lines += [
        f"{model.name}: gone, the catalogue does not name it"
        for model in old.models
        if new.get(model.name) is None
    ]
    return lines


def _change(before: LockedModel, after: LockedModel) -> list[str]:
    lines = [f"{after.name}:"]
    for what in ("repo", "requested_revision", "commit", "license"):
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            lines.append(f"  {what.replace('_', '-')}: {was} → {now}")
    then = {file.path: file for file in before.files}
    now_there = {file.path: file for file in after.files}
    for path in sorted({*then, *now_there}):
        was_file, now_file = then.get(path), now_there.get(path)
        if was_file is None and now_file is not None:
            lines.append(f"  added    {path}  {now_file.size} bytes")
        elif now_file is None:
            lines.append(f"  gone     {path}")
        elif was_file != now_file and was_file is not None:
            lines.append(f"  changed  {path}  {was_file.size} → {now_file.size} bytes")
    return lines


def _locked(spec: ModelSpec, remote: RemoteModel) -> LockedModel:
    """The entry, or `HubRefused` where the repository holds nothing that may be loaded."""
    told = ((file.path, hazards.of_name(file.path) or file.hazard) for file in remote.files)
    if bad := [f"{path}  {hazard}" for path, hazard in told if hazard]:
        head = f"{spec.name}: will not lock {spec.repo} at {remote.commit}"
        raise HubRefused(
            f"{listing(head, bad)}\nNothing was locked. Choose another model or revision; where a "
            "library needs the model without these files, narrow 'files' in the catalogue."
        )
    if not any(file.path.endswith(".safetensors") for file in remote.files):
        raise HubRefused(
            f"{spec.repo} at {remote.commit} has no safetensors weights among the wanted files; it "
            f"has {', '.join(remote.others) or 'nothing else'}. Pickled weights run code when "
            "loaded and are not taken: choose a revision with safetensors."
        )
    return LockedModel(
        name=spec.name,
        repo=spec.repo,
        requested_revision=spec.revision,
        requested_files=spec.files,
        commit=remote.commit,
        license=remote.license,
        files=tuple(
            sorted(
                (
                    LockedFile(path=file.path, size=file.size, sha256=file.sha256)
                    for file in remote.files
                ),
                key=lambda file: file.path,
            )
        ),
    )
