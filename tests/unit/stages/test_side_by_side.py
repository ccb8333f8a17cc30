"""Loads side by side: by a real server, in whose jobs nothing but time passes."""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.entries import ModelSpec
from prep.errors import DiskFull, PrepError
from prep.machine.memory import Memory
from prep.process.progress import Progress
from prep.sandbox.import_server import ImportServer, Job
from prep.settings import GivenOptions, resolve_settings
from prep.stages import side_by_side
from prep.stages.context import Context
from prep.stages.side_by_side import SPARE, SideBySide, Slots, slots
from prep.tasks.consumers import Interpreter, Load
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT
from tests.support.restricted import bare_python, libraries_of
from tests.support.runs import SAMPLE

JOB = """
import time

def load(order):
    began = time.monotonic()
    time.sleep(order["seconds"])
    return {"load": order["load"], "began": began, "ended": time.monotonic()}
"""
NEED = 100 << 20  # bytes that each load is said to take


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    python = bare_python(tmp_path_factory.mktemp("service") / "environment")
    (libraries_of(python) / "job.py").write_text(JOB, encoding="utf-8")
    return Interpreter(python=python, label="service")


@dataclass
class Run:
    """Some models' loads; `most` ran at once. `without` are the models whose files are not there.

    The loads that `fail` cannot be started.
    """

    context: Context
    planned: dict[str, tuple[Load, ...]]
    seconds: float = 0.3
    most: int = 0
    without: set[str] = field(default_factory=set)
    fail: set[str] = field(default_factory=set)
    begun: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loads = SideBySide(self.context, self.planned, self.start)
        self.context.meanwhile = self.loads.ahead

    def start(self, spec: ModelSpec, load: Load, threads: int) -> Job | None:
        assert threads == self.loads.slots.threads
        if spec.name in self.without:
            return None
        if load.id in self.fail:
            raise DiskFull("no room")
        name = f"{spec.name}:{load.id}"
        job = self.context.server_of(load.interpreter).submit(
            "job:load",
            {"load": name, "seconds": self.seconds},
            doing=name,
            memory=self.context.load_memory(spec.name, load),
        )
        self.begun.append(name)
        running = [job for server in self.context.servers.values() for job in server.running]
        self.most = max(self.most, len(running))
        return job

    def spec(self, name: str) -> ModelSpec:
        return next(spec for spec in self.context.settings.models if spec.name == name)

    def take(self, name: str, load: Load) -> dict[str, Any]:
        """As the test of a load does."""
        job = self.loads.take(self.spec(name), load)
        value = self.context.server_of(load.interpreter).result(job).value
        assert value["load"] == f"{name}:{load.id}"
        return value

    def take_all(self) -> list[dict[str, Any]]:
        return [self.take(name, load) for name, loads in self.planned.items() for load in loads]


@pytest.fixture
def context(
    tmp_path: Path, service: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    """Four cores and much memory; the server is ready."""
    given = GivenOptions(catalogue=SAMPLE, model_home=tmp_path / "home", offline=True)
    settings = resolve_settings(given, os.environ, ROOT)
    made = Context(settings=settings, scratch=tmp_path, progress=Progress())
    made.servers[None] = ImportServer(tmp_path, service)
    made.server.meanwhile = lambda: made.meanwhile()
    made.server.ready()
    monkeypatch.setattr(side_by_side, "cores", lambda: 4)
    monkeypatch.setattr(Context, "load_memory", lambda self, model, load: NEED)
    allow(monkeypatch, 1 << 40)
    yield made
    for server in made.servers.values():
        server.stop()


def allow(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """So many bytes of memory are free, whatever runs."""
    found = Memory(free=free, limit=free, bound="a control group")
    monkeypatch.setattr(side_by_side, "memory", lambda: found)


def loads_of(count: int, *labels: Interpreter) -> tuple[Load, ...]:
    """Some loads of an embedding model."""
    ours = TASKS["embedding"].loads_of("a/b", None, ("int8",), labels)
    return ours[:count] if not labels else tuple(load for load in ours if load.interpreter)[:count]


def test_slots_are_the_cores_and_threads_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        (1, 1): (1, 1),
        (2, 1): (2, 1),
        (8, 1): (8, 1),
        (20, 1): (8, 2),
        (2, 2): (1, 1),
        (8, 2): (4, 1),
        (2, 8): (1, 1),
        (64, 2): (8, 4),
    }
    found = {}
    for count, workers in expected:
        monkeypatch.setattr(side_by_side, "cores", lambda count=count: count)
        given = slots(workers)
        found[count, workers] = (given.count, given.threads)
        assert given.count * given.threads * workers <= max(count, workers), "no core is used twice"
    assert found == expected
    assert slots(1) == Slots(count=8, threads=8)


def test_as_many_run_as_there_are_slots_in_the_order_of_their_tests(context: Context) -> None:
    run = Run(context, {"tiny-embedding": loads_of(9)})
    run.take_all()
    assert run.most == 4
    assert run.begun == [f"tiny-embedding:{load.id}" for load in loads_of(9)]


@pytest.mark.parametrize(
    ("free", "most"),
    [
        (0, 1),
        (NEED, 1),
        (SPARE + 2 * NEED - 1, 1),
        (SPARE + 2 * NEED, 2),
        (SPARE + 3 * NEED, 3),
        (1 << 40, 4),
    ],
)
def test_no_more_run_than_memory_allows_and_always_one(
    context: Context, monkeypatch: pytest.MonkeyPatch, free: int, most: int
) -> None:
    allow(monkeypatch, free)
    run = Run(context, {"tiny-embedding": loads_of(5)}, seconds=0.2)
    run.take_all()
    assert run.most == most
    assert len(run.begun) == 5


@pytest.mark.parametrize("free", [1 << 40, 2 * (SPARE + 2 * NEED) - 2])
def test_workers_share_memory_and_cores(
    context: Context, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    context.workers = 2
    allow(monkeypatch, free)
    run = Run(context, {"tiny-embedding": loads_of(5)}, seconds=0.2)
    run.take_all()
    assert run.most == (2 if free == 1 << 40 else 1)


def test_load_that_a_test_asks_for_out_of_turn_waits_for_room(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    loads = loads_of(6)
    run = Run(context, {"tiny-embedding": loads})
    run.loads.ahead()
    assert len(context.server.running) == 2
    run.take("tiny-embedding", loads[5])
    run.take_all()
    assert run.most == 2
    assert sorted(run.begun[:6]) == sorted(f"tiny-embedding:{load.id}" for load in loads)


def test_where_nothing_can_be_mounted_loads_come_one_after_another(context: Context) -> None:
    context.server.ready()["side-by-side"] = False
    run = Run(context, {"tiny-embedding": loads_of(4)}, seconds=0.1)
    spans = run.take_all()
    assert run.most == 1
    for before, after in itertools.pairwise(spans):
        assert before["ended"] <= after["began"]


def test_next_models_loads_begin_when_its_files_are_there_and_no_model_after(
    context: Context,
) -> None:
    only = loads_of(1)
    run = Run(context, {"tiny-embedding": only, "tiny-reranker": only, "tiny-seq2seq": only})
    run.without = {"tiny-reranker"}
    run.take("tiny-embedding", only[0])
    run.loads.ahead()
    assert run.begun == [f"tiny-embedding:{only[0].id}"]
    run.without = set()
    run.loads.ahead()
    assert run.begun[1:] == [f"tiny-reranker:{only[0].id}"]


def test_worker_of_several_begins_nothing_of_a_model_that_may_be_anothers(context: Context) -> None:
    context.workers = 2
    only = loads_of(1)
    run = Run(context, {"tiny-embedding": only, "tiny-reranker": only})
    run.take("tiny-embedding", only[0])
    run.loads.ahead()
    assert run.begun == [f"tiny-embedding:{only[0].id}"]


def test_two_interpreters_never_load_at_once(context: Context, service: Interpreter) -> None:
    ours, theirs = loads_of(3), loads_of(3, service)
    run = Run(context, {"tiny-embedding": (*ours, *theirs), "tiny-reranker": ours})
    context.server_of(service).ready()
    spans = {
        (name, load.id): run.take(name, load) for name in run.planned for load in run.planned[name]
    }
    last = max(spans["tiny-embedding", load.id]["ended"] for load in ours)
    assert last <= min(spans["tiny-embedding", load.id]["began"] for load in theirs)
    last = max(spans["tiny-embedding", load.id]["ended"] for load in theirs)
    assert last <= min(spans["tiny-reranker", load.id]["began"] for load in ours)


def test_load_of_another_interpreter_that_is_asked_for_waits_for_ours(
    context: Context, service: Interpreter
) -> None:
    ours, theirs = loads_of(2), loads_of(1, service)
    run = Run(context, {"tiny-embedding": (*ours, *theirs)})
    context.server_of(service).ready()
    run.loads.ahead()
    span = run.take("tiny-embedding", theirs[0])
    assert span["began"] >= max(run.take("tiny-embedding", load)["ended"] for load in ours)


def test_loads_that_ended_with_their_process_are_made_again_each_once(context: Context) -> None:
    loads = loads_of(4)
    run = Run(context, {"tiny-embedding": loads}, seconds=0.5)
    run.loads.ahead()
    assert len(context.server.running) == 4
    child = context.server._child
    assert child is not None
    os.kill(child.process.pid, signal.SIGKILL)
    with pytest.raises(PrepError, match="SIGKILL"):
        run.take("tiny-embedding", loads[0])
    for load in loads[1:]:
        run.take("tiny-embedding", load)
    again = [f"tiny-embedding:{load.id}" for load in loads[1:]]
    assert run.begun[4:] == again
    assert run.most == 4


def test_load_that_cannot_be_started_ahead_is_reported_by_its_own_test(context: Context) -> None:
    loads = loads_of(3)
    run = Run(context, {"tiny-embedding": loads}, fail={loads[1].id})
    run.take("tiny-embedding", loads[0])
    with pytest.raises(DiskFull):
        run.take("tiny-embedding", loads[1])
    run.take("tiny-embedding", loads[2])


def test_load_that_is_forgotten_is_made_again(context: Context) -> None:
    loads = loads_of(2)
    run = Run(context, {"tiny-embedding": loads}, seconds=0.1)
    run.take_all()
    run.loads.forget(run.spec("tiny-embedding"), loads[0])
    run.take("tiny-embedding", loads[0])
    assert run.begun == [f"tiny-embedding:{load.id}" for load in (*loads, loads[0])]
