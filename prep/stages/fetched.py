"""`fetched`: the original files, looked at in full, and brought to the lock unless offline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedFile, LockedModel
from prep.errors import HubUnreachable, UnsafeFile
from prep.fetch import hub
from prep.fetch.adopt import Adopted, adopt
from prep.files import unsafe
from prep.home.file_lock import HolderNote
from prep.home.layout import Home, write_text
from prep.home.ledger import placing_blobs
from prep.process.child import Event
from prep.stages.context import Context, NotReached, megabytes
from prep.stages.plan import damage_of, plan_source
from prep.verify.source import SourceState, check_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model's original files. `fetched` counts bytes that came now, `adopted` bytes that were in
    the home already under other names; `repaired` is what was mended.

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
    """Look at every byte; online, fetch what is missing or wrong, and look again."""
    context.server.start()  # its imports go on while bytes come or are digested
    began = time.monotonic()
    state = _look(context, locked)
    if state.sound or context.settings.offline:
        fetched = Fetched(
            spec=spec,
            locked=locked,
            home=context.home,
            snapshot=context.home.snapshot(locked.repo, locked.commit),
            state=state,
        )
    else:
        context.check_preflight(spec.name)
        with context.lock_stage(locked.repo, "fetch", spec.name) as holding:
            fetched = _bring(context, spec, locked, holding)
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


def _bring(context: Context, spec: ModelSpec, locked: LockedModel, holding: HolderNote) -> Fetched:
    """Look again now that nobody else is at it, decide, do, and look at the result."""
    home = context.home
    state = _look(context, locked)
    plan = plan_source(locked, state)
    repaired = tuple(map(str, damage_of(state, was_whole=_was_whole(home, locked))))
    context.report_repair(spec.name, repaired)
    came = adopted = 0
    if plan.fetch:
        snapshot = home.snapshot(locked.repo, locked.commit)
        folders = [(snapshot / file.path).parent for file in plan.fetch]
        for folder in dict.fromkeys([home.repo(locked.repo) / "blobs", *folders]):
            context.refuse_escaping_link(spec.name, folder)
        context.refuse_folders(spec.name, (snapshot / file.path for file in plan.fetch))
        with placing_blobs(home, locked.repo, plan.fetch):
            found = _adopt_files(context, spec, locked, plan.fetch)
            adopted = sum(file.size for file in found)
            if left := [file for file in plan.fetch if file not in found]:
                came = _fetch_files(context, spec, locked, left, holding)
        plan = plan_source(locked, _look(context, locked))  # modes behind a missing link show now
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
    return Fetched(
        spec=spec,
        locked=locked,
        home=home,
        snapshot=home.snapshot(locked.repo, locked.commit),
        state=_look(context, locked),
        fetched=came,
        adopted=adopted,
        repaired=repaired,
        moved_ref=moved,
    )


def _was_whole(home: Home, locked: LockedModel) -> bool:
    """Whether this suite has finished this commit before: its ref comes after its files."""
    wanted = ("ref", locked.repo, locked.commit)
    return any(
        (line.get("what"), line.get("repo"), line.get("commit")) == wanted for line in home.placed()
    )


def _adopt_files(
    context: Context, spec: ModelSpec, locked: LockedModel, files: Sequence[LockedFile]
) -> list[LockedFile]:
    """Use what was in the home before, by its digest; gives the files that need no fetching."""

    paths = [file.path for file in locked.files]

    def note(one: Adopted) -> None:
        if finding := unsafe.of_path(one.file.path, one.path, paths):
            raise UnsafeFile(
                f"{spec.name}: {one.file.path} lies in the home as the lock names it, and it is "
                f"not taken: {finding.detail}. Choose another model or revision."
            )
        _note_file(context, locked, one.file, adopted=one.how, origin=context.home.shown(one.path))

    counted = context.progress.counter(spec.name, "digesting what was there", locked.bytes)
    found = [one.file for one in adopt(context.home, locked, files, note, counted)]
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
    holding: HolderNote,
) -> int:
    """Fetch; gives how many bytes came over the network."""
    if context.unreachable is not None:  # one host, one try: not the whole wait for every model
        raise NotReached(spec.name, "fetched", context.unreachable)
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
        holding.saw(int(event["done"]))
        context.progress.bytes(spec.name, "fetching", event)

    began = time.monotonic()
    try:
        came = hub.fetch_files(
            context.settings.network,
            context.home,
            locked.repo,
            locked.commit,
            files,
            locked=[file.path for file in locked.files],
            scratch=context.scratch,
            alone=holding.locked,
            on_event=on_event,
            say=lambda text: context.progress.say(spec.name, text),
        )
    except HubUnreachable as error:
        context.unreachable = error
        raise
    seconds = time.monotonic() - began
    context.progress.say(spec.name, f"fetched {megabytes(came)} in {seconds:.1f} s")
    return came


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


def _look(context: Context, locked: LockedModel) -> SourceState:
    counted = context.progress.counter(locked.name, "digesting", locked.bytes)
    return check_source(
        context.home,
        locked,
        also_locked=context.settings.lock.paths_of(locked.repo, locked.commit),
        deep=True,
        on_bytes=counted,
    )
