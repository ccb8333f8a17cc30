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
from prep.tasks.consumers import Load

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
        key = (spec.name, load.id)
        self._taken.add(key)
        job = self._jobs.pop(key, None) or self.start(spec, load, self.slots.threads)
        assert job is not None, "what a load needs was checked before"
        return job

    def ahead(self) -> None:
        """Start what may run beside what is running."""
        for spec, load in self._next():
            servers = self.context.servers
            server = servers.get(load.interpreter)
            others = (other for name, other in servers.items() if name != load.interpreter)
            if server is None or not server.is_ready or any(other.running for other in others):
                return  # the libraries of two interpreters at once would take twice the memory
            running = server.running
            serial = not server.ready()["side-by-side"]
            if len(running) >= (1 if serial else self.slots.count):
                return
            free = memory().free // self.context.workers - sum(job.memory for job in running)
            if running and free - SPARE < self.context.load_memory(spec.name, load):
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

    def _next(self) -> Iterator[tuple[ModelSpec, Load]]:
        """Loads that nobody started yet, of the model whose tests run and of the next."""
        names = list(self.planned)
        first = names.index(self._model) if self._model in self.planned else 0
        specs = {spec.name: spec for spec in self.context.settings.models}
        ahead = AHEAD if self.context.workers == 1 else 1  # the next may be another worker's
        for name in names[first : first + ahead]:
            for load in self.planned[name]:
                if (name, load.id) not in self._jobs and (name, load.id) not in self._taken:
                    yield specs[name], load
