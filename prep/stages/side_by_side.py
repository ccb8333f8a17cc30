"""Which loads run side by side: as many as cores and memory allow, in the order of their tests.

A load is started when its model's files are there, whether or not its test asks already. The next
model's may begin as well, so that no core waits for the last load of a model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prep.catalogue.entries import ModelSpec
from prep.errors import PrepError
from prep.machine.cores import cores
from prep.machine.memory import memory
from prep.sandbox.import_server import Job
from prep.stages.context import Context
from prep.tasks.consumers import Interpreter, Load

MOST = 8  # loads at once: more of them wait for the same disk and the same caches
AHEAD = 2  # models: the one whose tests run, and the next
SPARE = 256 << 20  # bytes of memory that stay free: for pytest itself, and for what grows

Key = tuple[str, str]  # model and load
Start = Callable[[ModelSpec, Load, int], Job | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many loads may run at once, and in how many threads each computes."""

    count: int
    threads: int


def slots(workers: int = 1) -> Slots:
    """Those of one of so many processes, which share the cores."""
    share = max(1, cores() // workers)
    count = min(share, MOST)
    return Slots(count=count, threads=max(1, share // count))


@dataclass(slots=True)
class SideBySide:
    """The loads that were started and whose results no test has taken yet.

    `planned` are all loads of the run's tests, by model, in their order. `start` starts one, or
    gives None where its model is not ready for it.
    """

    context: Context
    planned: Mapping[str, tuple[Load, ...]]
    start: Start
    _jobs: dict[Key, Job] = field(default_factory=dict)
    _taken: set[Key] = field(default_factory=set)
    _model: str = ""

    def take(self, spec: ModelSpec, load: Load) -> Job:
        """The job of a load that its test asks for now; started here if it was not yet."""
        self._model = spec.name
        job = self._job(spec, load)
        if job is None:
            for server in tuple(self.context.servers.values()):
                server.finish(enough=lambda: self._fits(spec, load))
            job = self.start(spec, load, self.slots.threads)
        assert job is not None, "what a load needs was checked before"
        self._jobs.pop((spec.name, load.id), None)
        self._taken.add((spec.name, load.id))
        return job

    def ahead(self) -> None:
        """Start what may run beside what is running."""
        for spec, load in self._next():
            server = self.context.servers.get(load.interpreter)
            if server is None or not server.is_ready or not self._fits(spec, load):
                return
            try:
                job = self.start(spec, load, self.slots.threads)
            except PrepError:
                return  # its own test starts it again, and reports that
            if job is None:
                continue
            self._jobs[spec.name, load.id] = job

    def forget(self, spec: ModelSpec, load: Load) -> None:
        """It is to be made again."""
        self._taken.discard((spec.name, load.id))
        self._jobs.pop((spec.name, load.id), None)

    @property
    def slots(self) -> Slots:
        """Those of this process."""
        return slots(self.context.workers)

    def _fits(self, spec: ModelSpec, load: Load) -> bool:
        """Whether it may run beside what is running. Where nothing is, a test need not ask."""
        return self.room(load.interpreter) >= self.context.load_memory(spec.name, load)

    def room(self, interpreter: Interpreter | None) -> int:
        """The bytes of memory that one more load of that interpreter may take, -1 for no more."""
        servers = self.context.servers
        if any(other.running for name, other in servers.items() if name != interpreter):
            return -1  # the libraries of two interpreters at once would take twice the memory
        server = self.context.server_of(interpreter)
        running = server.running
        if len(running) >= self.slots.count or not server.ready()["side-by-side"]:
            return -1
        free = memory().free // self.context.workers - sum(job.memory for job in running)
        return free - SPARE

    def _job(self, spec: ModelSpec, load: Load) -> Job | None:
        """What was started of a load, if it did not end with its process."""
        job = self._jobs.get((spec.name, load.id))
        running = self.context.server_of(load.interpreter).running
        return job if job and (job.answer or job in running) else None

    def _next(self) -> Iterator[tuple[ModelSpec, Load]]:
        """Loads that nobody started yet, of the model whose tests run and of the next."""
        names = list(self.planned)
        first = names.index(self._model) if self._model in self.planned else 0
        specs = {spec.name: spec for spec in self.context.settings.models}
        ahead = AHEAD if self.context.workers == 1 else 1  # the next may be another worker's
        for name in names[first : first + ahead]:
            for load in self.planned[name]:
                if (name, load.id) not in self._taken and not self._job(specs[name], load):
                    yield specs[name], load
