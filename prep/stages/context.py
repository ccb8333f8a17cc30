"""What every stage works with: settings, home, import servers, and the facts for the reports."""

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.catalogue.lock import LockedModel
from prep.convert import overlay
from prep.errors import (
    ChecksumMismatch,
    HubUnreachable,
    LinkEscapesHome,
    ModelError,
    PathOccupied,
    SignatureInvalid,
    TransientError,
    listing,
)
from prep.fetch.hub import Network
from prep.home.file_lock import HolderNote, lock_stage
from prep.home.layout import Home, escapes_home, open_to_all
from prep.process.progress import Progress
from prep.sandbox.import_server import ImportServer
from prep.settings import Settings
from prep.stages.clock import Clock
from prep.stages.estimates import LOADING, load_memory
from prep.stages.preflight import Preflight, run_preflight
from prep.tasks.consumers import Interpreter, Load
from prep.verify.problem import Problem
from prep.verify.signature import SignedManifest, verify


class NotReached(ModelError):
    """A stage that was not reached because of an earlier failure, its `cause`.

    `judged_apart`: the cause is the state of a stage that was reached; other tests judge it.
    """

    def __init__(
        self, model: str, stage: str, cause: BaseException, *, judged_apart: bool = False
    ) -> None:
        self.stage = stage
        self.cause = cause
        self.judged_apart = judged_apart
        super().__init__(f"{model}: not reached, because {stage} failed before")


def is_transient(error: BaseException) -> bool:
    """Whether running again may be enough."""
    cause = error.cause if isinstance(error, NotReached) else error
    return isinstance(cause, TransientError)


@dataclass(slots=True)
class Context:
    """One run of one process. `facts` are for the reports, by the model's name.

    `unreachable` remembers hubs that did not answer: one try a run, not one for every model.
    `preflight` is made when something is first found missing, or comes from the main process;
    `wanted` narrows it to the models and precisions that this run's tests are for. `workers` are
    the processes that share this machine; `peaks` is the memory of loads, of this run and earlier
    ones, in bytes by model and load.
    """

    settings: Settings
    scratch: Path
    progress: Progress
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreachable: dict[Network, HubUnreachable] = field(default_factory=dict)
    servers: dict[Interpreter | None, ImportServer] = field(default_factory=dict)
    preflight: Preflight | None = None
    wanted: Mapping[str, Collection[str]] | None = None
    workers: int = 1
    peaks: dict[tuple[str, str], int] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=lambda: defaultdict(Clock))
    meanwhile: Callable[[], None] = lambda: None
    _signed: SignedManifest | SignatureInvalid | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def server(self) -> ImportServer:
        """Our own import server, which also converts and measures."""
        return self.server_of(None)

    def server_of(self, interpreter: Interpreter | None) -> ImportServer:
        """The import server of an interpreter, None for ours."""
        if interpreter not in self.servers:
            server = self.servers[interpreter] = ImportServer(self.scratch, interpreter)
            server.meanwhile = lambda: self.meanwhile()
        return self.servers[interpreter]

    def load_memory(self, model: str, load: Load) -> int:
        """The bytes that a load takes beside the libraries: as measured before, else estimated."""
        server = self.server_of(load.interpreter)
        known = (self.peaks.get((model, name)) for name in (load.id, load.interrogation.id))
        measured = next(filter(None, known), None)
        if measured and server.is_ready:
            return max(LOADING, measured - int(server.ready()["memory"]))
        locked = self.settings.lock.get(model)
        assert locked is not None, "the settings were checked against the lock"
        return load_memory(self.home, locked, load.precision)

    @contextmanager
    def converter(self, model: str, name: str | None) -> Iterator[ImportServer]:
        """The server that converts: ours, or one with the libraries of the second converter.

        That one ends when it has converted: two would take the memory of two.
        """
        if name is None:
            yield self.server
            return
        self.server.finish()  # it takes all memory and all cores
        server = ImportServer(self.scratch, first_on_path=overlay.needed(model))
        self.servers[Interpreter(python=overlay.folder(), label=name)] = server
        try:
            server.ready(functools.partial(self.progress.begin, model))
            yield server
        finally:
            server.stop()

    @property
    def home(self) -> Home:
        """The home of this run."""
        return self.settings.home

    def check_signature(self, locked: LockedModel, precisions: tuple[str, ...]) -> None:
        """Go on with what was signed only, where that is asked for. Verified once a run."""
        key = self.settings.verify_signature
        if key is None:
            return
        with self._lock:
            if self._signed is None:
                try:
                    self._signed = verify(self.home, key, self.scratch)
                except SignatureInvalid as error:
                    self._signed = error
        if isinstance(self._signed, SignatureInvalid):
            raise SignatureInvalid(f"{locked.name}: {self._signed}")
        self._signed.check(self.home, locked, precisions)

    def check_preflight(self, model: str) -> None:
        """Begin nothing that cannot be finished; each model reports its own obstacles."""
        with self._lock:
            if self.preflight is None:
                self.progress.busy(model, "checking what all models need")
                say = functools.partial(self.progress.say, model)
                self.preflight = run_preflight(self.settings, self.scratch, say=say)
            refusal = self.preflight.only(self.wanted).refusal(model)
        if refusal:
            raise refusal

    def record(self, model: str, **facts: Any) -> None:
        """Note facts for the reports; repairs add up, the rest is replaced."""
        with self._lock:
            known = self.facts.get(model, {})
            if "repaired" in facts:
                facts["repaired"] = [*known.get("repaired", ()), *facts["repaired"]]
            self.facts[model] = known | facts  # never changed in place: others may be reading it

    def report_repair(self, model: str, problems: Iterable[str]) -> None:
        """No repair is silent."""
        for problem in problems:
            self.progress.say(model, f"repairing: {' '.join(problem.split())}")

    def server_ready(self, model: str, interpreter: Interpreter | None = None) -> dict[str, Any]:
        """Wait for an import server; gives what it has and how its network is cut."""
        with self.clocks[model].running("importing"):
            begin = functools.partial(self.progress.begin, model)
            return self.server_of(interpreter).ready(begin)

    def lock_stage(self, repo: str, stage: str, model: str) -> AbstractContextManager[HolderNote]:
        """No other process works on this stage of this repository meanwhile."""
        begin = functools.partial(self.progress.begin, model)
        return lock_stage(self.home.lock(repo, stage), begin)

    def open_modes(self, problems: Iterable[Problem]) -> None:
        """Open modes below the home's root; the root itself is its owner's to open."""
        for problem in problems:
            path = self.home.root / problem.path
            if problem.aspect == "modes" and path != self.home.root:
                try:
                    open_to_all(path)
                except PermissionError:
                    continue  # another user's file: the next check reports it

    def refuse_escaping_link(self, model: str, folder: Path) -> None:
        """Write nothing through a link that leaves the home."""
        if escape := escapes_home(self.home, folder):
            raise LinkEscapesHome(
                f"{model}: {self.home.shown(folder)} {escape[1]}. Nothing was written there: "
                "replace that link by a folder, or by a relative link that stays in the home."
            )

    def refuse_folders(self, model: str, paths: Iterable[Path]) -> None:
        """Replace no folder by a file: what is in it is not ours to remove."""
        folders = (path for path in paths if path.is_dir() and not path.is_symlink())
        if found := [self.home.shown(path) for path in folders]:
            raise PathOccupied(
                f"{listing(f'{model}: folders in place of files of the model', found)}\n"
                "Nothing was removed: remove them by hand, and run again."
            )

    def forget_failures(self) -> None:
        """A failed stage is tried again, and with it the hub, the preflight and import servers."""
        self.unreachable.clear()
        self.preflight = None
        for server in self.servers.values():
            server.forget_failure()

    def need(self, model: str, stage: str, problems: Iterable[object]) -> None:
        """Go no further on what is known to be wrong; its own test reports it."""
        if lines := [" ".join(str(problem).split()) for problem in problems]:
            cause = ChecksumMismatch(
                f"{listing(f'{model}: {stage}', lines)}\nRun all checks of the model, without -m "
                "and -k: each problem is then reported with what to do."
            )
            raise NotReached(model, stage, cause, judged_apart=True)
