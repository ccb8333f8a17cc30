"""The hooks of the plugin, and the stages as fixtures."""

import contextlib
import gc
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.errors import Interrupted, NotTried
from prep.machine.cores import cores
from prep.plugin import (
    expected,
    outcome,
    parameters,
    report_places,
    reruns,
    run_command,
    signals,
    terminal,
    terminal_summary,
    workspace,
)
from prep.plugin.options import add_options, refuse_cache_options, settings_of
from prep.process.child import die_with_parent
from prep.stages.converted import Converted
from prep.stages.fetched import Fetched
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from prep.tasks.consumers import Load

pytest.register_assert_rewrite("model_tests.checks")

STAGES = pytest.StashKey[Stages]()

# pytest's own: it remembers these for a fixture, or ends the session by them.
OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception)

MARKERS = {
    "pins": "the lock, the commit and every digest",
    "layout": "where files lie, and who can read them",
    "conversion": "what the converted model holds",
    "load": "consumers load it in a process without network",
    "answers": "what the loaded model answers",
    "task(name)": "only for models of that task",
    "goldens": "only for models with recorded goldens",
    "consumers(*names)": "only for loads by these consumers",
    "ours": "only for loads by the libraries of this environment",
    "interrogation": "only for loads that are asked every question",
    "access": "only for loads that are asked two: another name, place, user or mount",
    "no_model": "stands for an empty selection; never run",
}

pytest_addoption = add_options
pytest_generate_tests = parameters.generate_tests
pytest_cmdline_main = run_command.run_mode
pytest_sessionstart = terminal.get_ready
pytest_collection_finish = workspace.note_wanted


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings before anything is collected: what is wrong ends the run now (exit 4)."""
    for marker, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    if config.option.help:  # configures, but runs nothing: there need not be a catalogue
        return
    if hasattr(config, "workerinput"):
        die_with_parent()
    refuse_cache_options(config)
    settings_of(config)
    report_places.check_places(config)
    signals.install(config)
    if not hasattr(config, "workerinput"):
        run_command.start_sample_hub(config)
        config.pluginmanager.register(outcome.Outcome(config), "model-prep-outcome")
    else:
        run_command.join_sample_hub(config)
        # Each worker has its own children, and each of those would take all cores for itself.
        share = cores() // config.workerinput["workercount"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the import servers with the run, however it ended."""
    if stages := config.stash.get(STAGES, None):
        stages.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The settings."""
    workers = config.getoption("numprocesses", None) or 1
    return terminal_summary.header_lines(settings_of(config), workers)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector, which would walk over all tests made so far, again
    and again; and later, as they stay until the end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Leave out tests that no chosen model has: they are not counted as deselected; and note the
    file."""
    report = yield
    expected.note_file(collector)
    report.result = [
        node
        for node in report.result
        if not any(mark.name == "no_model" for mark in node.own_markers)
    ]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Note what the suite has for each model before any selection; sort when others have.

    pytest has them function by function, which would split a model's tests.
    """
    expected.note_expected(config, items)
    yield
    parameters.sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give an xdist worker what it shares with this process."""
    node.workerinput["prep_endpoint"] = settings_of(node.config).network.endpoint
    workspace.configure_worker(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a model on one worker; other ``--dist`` modes than the plain one stay as they are."""
    if config.getoption("dist") != "load":
        return None
    from prep.plugin.scheduler import ByModel

    return ByModel(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Say in junit whose test it is, also where its stage fails in set-up."""
    reruns.forget_attempt(item, item.config.stash.get(STAGES, None))
    try:
        yield
    finally:
        outcome.add_properties(item)
        if stages := item.config.stash.get(STAGES, None):
            stages.context.progress.finish()  # stages are fixtures: what takes time is over


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our errors without traceback, and mark them for the exit code."""
    outcome.shorten(call)
    report = yield
    outcome.mark(item, call, report, _facts(item.config))
    return report


pytest_report_teststatus = outcome.teststatus


@pytest.fixture(scope="session")
def stages(request: pytest.FixtureRequest) -> Iterator[Stages]:
    """All stages of this process, and what each gave."""
    with workspace.context_for(request.session) as context:
        session = request.session
        loads, ahead = workspace.planned_loads(session), workspace.to_fetch(session)
        made = request.config.stash[STAGES] = Stages(context, loads, ahead)
        yield made
        context.progress.busy("model-prep", "ending the processes that were started")
        made.close()
        context.progress.finish()


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    """An entry of the catalogue."""
    found: ModelSpec = request.param
    return found


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> str:
    """A precision to prepare of the model."""
    found: str = request.param
    return found


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """A way in which a consumer reads the model."""
    found: Load = request.param
    return found


@pytest.fixture
def locked(stages: Stages, spec: ModelSpec) -> LockedModel:
    """The model's entry in the lock."""
    with _ended_early(spec):
        return stages.locked(spec)


@pytest.fixture
def fetched(stages: Stages, spec: ModelSpec, locked: LockedModel) -> Fetched:
    """The model's original files, in the home and verified in full."""
    with _ended_early(spec):
        return stages.fetched(spec)


@pytest.fixture
def converted(stages: Stages, spec: ModelSpec, fetched: Fetched, precision: str) -> Converted:
    """The model in one precision, converted and checked."""
    with _ended_early(spec):
        return stages.converted(spec, precision)


@pytest.fixture
def loaded(stages: Stages, spec: ModelSpec, load: Load) -> Loaded:
    """The model as a consumer loads it in a process without network, with its answers."""
    try:
        with _ended_early(spec):
            return stages.loaded(spec, load)
    except NotTried as reason:
        # What cannot be done on this machine is reported with its reason, counted apart in the
        # summary, and no verdict rests on it alone.
        pytest.skip(f"{outcome.NOT_TRIED}{reason}")


@contextlib.contextmanager
def _ended_early(spec: ModelSpec) -> Iterator[None]:
    """Raise an error of ours, which says what to do, for `SystemExit` and other exceptions that are
    no `Exception`: pytest shows those as they are.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, *OUTCOMES):
        raise
    except BaseException as error:
        raise Interrupted(
            f"{spec.name}: interrupted: {type(error).__name__}: {error}. What was under way was "
            "ended and not used; what is finished is kept. Run again."
        ) from error


def _facts(config: pytest.Config) -> dict[str, dict[str, Any]]:
    stages = config.stash.get(STAGES, None)
    return stages.context.facts if stages else {}
