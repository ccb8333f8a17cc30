"""`fetched`: the original files, every byte checked, and brought to the lock unless offline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedFile, LockedModel
from prep.errors import HubUnreachable, UnsafeFile
from prep.fetch import hub
from prep.fetch.adopt import Adopted, adopt
from prep.files import unsafe
from prep.files.tree import megabytes
from prep.home.file_lock import HolderNote
from prep.home.layout import Home, write_text
from prep.home.ledger import placing_blobs, read_ledger
from prep.process.child import Event
from prep.stages.context import Context, NotReached
from prep.stages.plan import damage_of, plan_source
from prep.verify.source import SourceState, check_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model's original files. `fetched` counts bytes that came now, `adopted` bytes that were in
    the home already under other names; `repaired` lists the damage.

    `moved_ref` is what refs/main held before and holds now, where it held something else.
    """

    spec: ModelSpec
    locked: LockedModel
    home: Home
    snapshot: Path
    state: SourceState
    fetched: int = 0
    adopted: int = 0
    repaired: tuple[str, ...] = ()
    moved_ref: tuple[str, str] | None = None


def fetch_model(context: Context, spec: ModelSpec, locked: LockedModel) -> Fetched:
    """Check every byte; online, fetch what is missing or wrong, and check again."""
    began = time.monotonic()
    fetched = Fetched(
        spec=spec,
        locked=locked,
        home=context.home,
        snapshot=context.home.snapshot(locked.repo, locked.commit),
        state=_check(context, locked),
    )
    if not (fetched.state.sound or context.settings.offline):
        context.check_preflight(spec.name)
        with context.lock_stage(locked.repo, "fetch", spec.name) as holder:
            fetched = _repair(context, fetched, holder)
    context.record(
        spec.name,
        fetched=fetched.fetched,
        adopted=fetched.adopted,
        repaired=fetched.repaired,
        moved_ref=fetched.moved_ref,
        unused=fetched.state.unused,
        seconds=round(time.monotonic() - began, 2),
    )
    return fetched


def _repair(context: Context, before: Fetched, holder: HolderNote) -> Fetched:
    """Check again now that no other process works on it, plan, act, and check the result."""
    spec, locked, home, snapshot = before.spec, before.locked, before.home, before.snapshot
    state = _check(context, locked)
    plan = plan_source(locked, state)
    repaired = tuple(map(str, damage_of(state, was_whole=_was_whole(home, locked))))
    context.report_repair(spec.name, repaired)
    fetched = adopted = 0
    if plan.fetch:
        folders = [(snapshot / file.path).parent for file in plan.fetch]
        for folder in dict.fromkeys([home.repo(locked.repo) / "blobs", *folders]):
            context.refuse_escaping_link(spec.name, folder)
        context.refuse_folders(spec.name, (snapshot / file.path for file in plan.fetch))
        with placing_blobs(home, locked.repo, plan.fetch):
            found = _adopt_files(context, spec, locked, plan.fetch)
            adopted = sum(file.size for file in found)
            if missing := [file for file in plan.fetch if file not in found]:
                fetched = _fetch_files(context, spec, locked, missing, holder)
        plan = plan_source(locked, _check(context, locked))  # modes behind a missing link show now
    context.open_modes(plan.open)
    moved = None
    if plan.move_ref and not plan.fetch:  # a name never leads to files that are not whole
        ref = home.ref(locked.repo)
        context.refuse_folders(spec.name, [ref])
        home.note_placed("ref", ref, repo=locked.repo, commit=locked.commit)
        write_text(ref, locked.commit)
        if state.ref is not None:
            moved = (state.ref, locked.commit)
            context.progress.say(spec.name, f"refs/main moved: {moved[0]!r} → {moved[1]!r}")
    return replace(
        before,
        state=_check(context, locked),
        fetched=fetched,
        adopted=adopted,
        repaired=repaired,
        moved_ref=moved,
    )


def _was_whole(home: Home, locked: LockedModel) -> bool:
    """Whether this suite has finished this commit before: its ref comes after its files."""
    wanted = ("ref", locked.repo, locked.commit)
    return any(
        (line["what"], line.get("repo"), line.get("commit")) == wanted
        for line in read_ledger(home).lines
    )


def _adopt_files(
    context: Context, spec: ModelSpec, locked: LockedModel, files: Sequence[LockedFile]
) -> list[LockedFile]:
    """Use what was in the home before, by its digest; gives the files that need no fetching."""
    paths = [file.path for file in locked.files]

    def note(adopted: Adopted) -> None:
        file, origin = adopted.file, adopted.path
        if finding := unsafe.of_path(file.path, origin, paths):
            raise UnsafeFile(
                f"{spec.name}: {file.path} is in the home as the lock names it, and it is not "
                f"used: {finding.detail}. Choose another model or revision."
            )
        _note_file(context, locked, file, adopted=adopted.how, origin=context.home.shown(origin))

    counted = context.progress.counter(spec.name, "digesting what was there", locked.bytes)
    found = [adopted.file for adopted in adopt(context.home, locked, files, note, counted)]
    if found:
        size = sum(file.size for file in found)
        context.progress.say(
            spec.name, f"adopted {size} bytes in {len(found)} files that were in the home before"
        )
    return found


def _fetch_files(
    context: Context,
    spec: ModelSpec,
    locked: LockedModel,
    files: Sequence[LockedFile],
    holder: HolderNote,
) -> int:
    """Fetch; gives the number of bytes that came over the network."""
    network = context.settings.network_of(spec)
    if network in context.unreachable:  # one host, one try: not the whole wait for every model
        raise NotReached(spec.name, "fetched", context.unreachable[network])
    size = megabytes(sum(file.size for file in files))
    context.progress.say(spec.name, f"fetching {len(files)} files, {size}")
    for file in files:
        _note_file(context, locked, file)

    def on_event(event: Event) -> None:
        if event["event"] == "waiting":
            context.progress.countdown(
                spec.name,
                f"waiting, as {event['host']} asks ({event['status']})",
                float(event["left"]),
                float(event["of"]),
            )
            return
        holder.record_bytes(int(event["done"]))
        context.progress.bytes(spec.name, "fetching", event)

    began = time.monotonic()
    try:
        fetched = hub.fetch_files(
            network,
            context.home,
            locked.repo,
            locked.commit,
            files,
            locked=[file.path for file in locked.files],
            scratch=context.scratch,
            alone=holder.locked,
            on_event=on_event,
            say=lambda text: context.progress.say(spec.name, text),
        )
    except HubUnreachable as error:
        context.unreachable[network] = error
        raise
    seconds = time.monotonic() - began
    context.progress.say(spec.name, f"fetched {megabytes(fetched)} in {seconds:.1f} s")
    return fetched


def _note_file(context: Context, locked: LockedModel, file: LockedFile, **more: str) -> None:
    """One line of the ledger for one file of a snapshot."""
    context.home.note_placed(
        "file",
        context.home.snapshot(locked.repo, locked.commit) / file.path,
        repo=locked.repo,
        commit=locked.commit,
        sha256=file.sha256,
        size=file.size,
        **more,
    )


def _check(context: Context, locked: LockedModel) -> SourceState:
    counted = context.progress.counter(locked.name, "digesting", locked.bytes)
    return check_source(
        context.home,
        locked,
        also_locked=context.settings.lock.paths_of(locked.repo, locked.commit),
        deep=True,
        on_bytes=counted,
    )
