"""The stages `spec → locked → fetched → converted → loaded`, each done once per run and model.

The result of a stage is remembered, a failure too, so that any order of tests does the work once.
Nothing in this package knows pytest.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar, cast

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.errors import NotTried
from prep.home.ledger import note_wanted
from prep.machine.disk import storage_error
from prep.sandbox.import_server import Job
from prep.stages.context import Context, NotReached
from prep.stages.converted import Converted, convert_model
from prep.stages.fetch_ahead import FetchAhead
from prep.stages.fetched import Fetched, fetch_model
from prep.stages.loaded import (
    Loaded,
    check_consumer,
    check_conversion,
    check_interpreter,
    finish_load,
    lacking,
    start_load,
)
from prep.stages.reference import (
    DOING,
    Reference,
    finish_reference,
    reference_memory,
    start_reference,
)
from prep.stages.side_by_side import SideBySide
from prep.tasks.consumers import Load

T = TypeVar("T")


class Stages:
    """All stages of all models of one process; each asks for the one before it."""

    def __init__(
        self,
        context: Context,
        planned: Mapping[str, tuple[Load, ...]] | None = None,
        ahead: Sequence[ModelSpec] = (),
    ) -> None:
        """`planned` are the loads of the tests to come, by model; `ahead` is fetched before it is
        asked for.
        """
        self.context = context
        self._planned = planned or {}
        self._done: dict[tuple[str, ...], object] = {}
        self._failed: dict[tuple[str, ...], BaseException] = {}
        self._asking: dict[str, Job] = {}  # references that nobody waits for yet
        self._loads = SideBySide(context, self._planned, self._start)
        self._fetching = FetchAhead(self._fetch, ahead)
        context.meanwhile = self._loads.ahead

    def locked(self, spec: ModelSpec) -> LockedModel:
        """The model's entry in the lock, which was checked against the catalogue before."""
        locked = self.context.settings.lock.get(spec.name)
        assert locked is not None, "the settings were checked against the lock"
        self.context.record(
            spec.name,
            repo=spec.repo,
            commit=locked.commit,
            license=locked.license,
            bytes=locked.bytes,
            files=len(locked.files),
            entry=locked.digest,
        )
        return locked

    def fetched(self, spec: ModelSpec) -> Fetched:
        """The original files: every byte checked, and brought to the lock unless offline."""
        if self._planned.get(spec.name) or (self.context.wanted or {}).get(spec.name):
            self.context.server.start()  # its imports go on while bytes come or are digested
        return self._once(spec, "fetched", "", lambda: self._fetching.result(spec))

    def _fetch(self, spec: ModelSpec) -> Fetched:
        settings = self.context.settings
        if not settings.offline:  # so that no other catalogue's --cleanup takes it from us
            note_wanted(settings.home, settings.catalogue, settings.lock)
        try:
            locked = self.locked(spec)
            self.context.check_signature(locked, settings.precisions_of(spec))
            return fetch_model(self.context, spec, locked)
        finally:
            self.context.progress.finish()

    def converted(self, spec: ModelSpec, precision: str) -> Converted:
        """One precision: receipt, bytes and content checked, converted where that is needed."""
        return self._once(
            spec,
            "converted",
            precision,
            lambda: convert_model(
                self.context, self.fetched(spec), lambda: self.reference(spec), precision
            ),
        )

    def reference(self, spec: ModelSpec) -> Reference:
        """What the original answers in float32."""

        def work() -> Reference:
            fetched = self.fetched(spec)
            self.context.need(spec.name, "fetched", fetched.state.problems)
            self.context.server_ready(spec.name)
            self.context.progress.busy(spec.name, DOING)
            job = self._asking.get(spec.name)
            if job is None or (job.answer and "result" not in job.answer):
                # What ended it beside other work, as too little memory, may not do so now.
                job = self._asking[spec.name] = start_reference(self.context, fetched)
            try:
                return finish_reference(self.context, spec, job)
            finally:
                del self._asking[spec.name]

        return self._once(spec, "reference", "", work, during="reference")

    def loaded(self, spec: ModelSpec, load: Load) -> Loaded:
        """One load by one consumer in a process without network."""
        if (interpreter := load.interpreter) is not None:
            self._once(
                spec,
                "interpreter",
                interpreter.label,
                lambda: check_interpreter(self.context, spec, interpreter),
            )

        def work() -> Loaded:
            fetched = self.fetched(spec)
            converted = self.converted(spec, load.precision) if load.precision else None
            self.context.need(spec.name, "fetched", fetched.state.problems)
            if converted is not None:
                self.context.need(spec.name, f"converted to {load.precision}", converted.problems)
            check_consumer(self.context, spec, load)
            reference = self.reference(spec)
            wanted = None if load.is_interrogation else self.loaded(spec, load.interrogation)
            check_conversion(self.context, spec, load, converted)
            job = self._loads.take(spec, load)
            return finish_load(self.context, fetched, converted, load, job, reference, wanted)

        consumer = f"{load.precision}:" if load.precision else ""
        return self._once(spec, "loaded", load.id, work, during=consumer + load.consumer.name)

    def _start(self, spec: ModelSpec, load: Load, threads: int) -> Job | None:
        """Start a load, where what it reads is there and sound; else None."""
        fetched = self._done.get((spec.name, "fetched", "")) or self._fetching.files_of(spec)
        converted = self._done.get((spec.name, "converted", load.precision or ""))
        if not isinstance(fetched, Fetched) or fetched.state.problems:
            return None
        if load.precision and not (isinstance(converted, Converted) and converted.sound):
            return None
        found = converted if isinstance(converted, Converted) else None
        if lacking(load, found):
            return None
        reference = self._reference_ahead(fetched, load, threads)
        if reference is None:
            return None
        return start_load(self.context, fetched, found, reference, load, threads)

    def _reference_ahead(self, fetched: Fetched, load: Load, threads: int) -> Reference | None:
        """What the original answers, if it did already; where nobody asked it, it is asked now.

        Where that fails, the model's own tests ask again, and report what then comes.
        """
        spec = fetched.spec
        key = (spec.name, "reference", "")
        if key not in self._done and key not in self._failed:
            job = self._asking.get(spec.name)
            if job is None:
                room = -1 if load.interpreter else self._loads.room(None)
                if room >= reference_memory(self.context, fetched):
                    self._asking[spec.name] = start_reference(self.context, fetched, threads)
            elif job.answer is not None:
                with suppress(Exception):
                    self._done[key] = finish_reference(self.context, spec, job)
        return cast("Reference | None", self._done.get(key))

    def close(self) -> None:
        """End the import servers."""
        for server in self.context.servers.values():
            server.stop()
        self._fetching.close()

    def forget(self, spec: ModelSpec, load: Load | None) -> None:
        """A test is run again: do again what failed for its model, and its load in any case."""
        self._fetching.forget(spec)
        self._failed = {key: error for key, error in self._failed.items() if key[0] != spec.name}
        if load is not None:
            self._done.pop((spec.name, "loaded", load.id), None)
            self._loads.forget(spec, load)
        self.context.forget_failures()

    def _once(
        self, spec: ModelSpec, stage: str, which: str, work: Callable[[], T], during: str = ""
    ) -> T:
        """The result of `work`, done once; `during` is its name in the timeline, if not `which`.

        What interrupted a stage is remembered like its other failures: half of it may be done.
        """
        key = (spec.name, stage, which)
        if (failed := self._failed.get(key)) is not None:
            if isinstance(failed, NotReached | NotTried):
                raise failed.with_traceback(None)  # else it grows with every test that asks
            raise NotReached(spec.name, stage, failed)
        if key not in self._done:
            clock = self.context.clocks[spec.name]
            try:
                shown = "loaded" if stage == "reference" else stage
                with clock.running(shown, during or which), self._disk_errors():
                    self._done[key] = work()
            except BaseException as error:
                self._failed[key] = error
                raise
            finally:
                self.context.record(spec.name, timeline=clock.facts())
        return cast(T, self._done[key])  # each key holds what its own stage gave

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Raise our own error, which says what to do, for a disk that is full or not writable."""
        paths = (self.context.home.root, self.context.scratch, Path(tempfile.gettempdir()))
        try:
            yield
        except OSError as error:
            if known := storage_error(error, *paths):
                raise known from error
            raise
