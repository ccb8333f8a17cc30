"""From pytest's reports to exit code, junit properties, summary, page and closing table."""

import platform
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from prep.errors import DiskFull, Exit, PathOccupied, PrepError
from prep.machine.disk import storage_error
from prep.plugin import reruns, worker_crashes
from prep.plugin.junit import Junit
from prep.plugin.options import settings_of
from prep.plugin.parameters import load_of, model_of, precision_of
from prep.report import summary
from prep.report.properties import properties
from prep.report.ready_file import write_for_consumers
from prep.report.verdict import ModelRun, Status, judge
from prep.sandbox.network_cut import NAMESPACE
from prep.settings import SUITE, Settings
from prep.stages.context import NotReached, is_transient

EXPECTED = pytest.StashKey[dict[str, list[str]]]()
NOT_TRIED = "not tried: "
STALE = (
    "passed when it was run again, but by the answers that it failed by: the load was not made "
    "again. Run the whole model again."
)
NAMES = {"python_functions": ["test"], "python_files": ["test_*.py", "*_test.py"]}
NOTHING_COLLECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)
OWN = SUITE / "model_tests"
PROPERTIES = pytest.StashKey[bool]()
TOLD = pytest.StashKey[list[BaseException]]()


def header(settings: Settings) -> list[str]:
    """The report header states the case."""
    models = ", ".join(spec.name for spec in settings.models) or "no models"
    tools = " ".join(
        f"{name}-{metadata.version(name)}"
        for name in ("huggingface-hub", "transformers", "optimum-intel", "openvino", "torch")
    )
    hub = "offline" if settings.offline else settings.network.endpoint
    timeout = settings.network.timeout
    deadline = settings.network.deadline
    catalogue = settings.catalogue
    ends = f"{deadline:g} s" if deadline else "none"
    share = f", share {settings.shard}" if settings.shard else ""
    return [
        f"model-prep: {catalogue.path} ({models}){share}, lock {catalogue.lock_path.name}",
        f"home: {settings.home.root}, hub: {hub}",
        f"download: stops after {timeout:g} s without progress, deadline {ends}",
        f"tools: python-{platform.python_version()} {tools}",
    ]


def check_places(config: pytest.Config) -> None:
    """What is written at the very end: see now whether it can be, where a place was given."""
    if hasattr(config, "workerinput"):
        return
    places = {"--junitxml": "xmlpath", "--summary": "summary", "--report": "report"}
    for option, name in places.items():
        if given := config.getoption(name, None):
            _check_place(option, Path(given))
    given = {name: config.getoption(name, None) for name in places.values()}
    same = [option for option, name in places.items() if _is_twice(given[name], given.values())]
    if same:
        raise pytest.UsageError(f"{' and '.join(same)} are one file: give each its own.")


def _is_twice(place: object, places: Iterable[object]) -> bool:
    """Whether a place is given for two files."""
    absolute = [Path(str(given)).absolute() for given in places if given]
    return bool(place) and absolute.count(Path(str(place)).absolute()) > 1


def _check_place(option: str, given: Path) -> None:
    path = given.absolute()
    there = next(up for up in path.parents if up.exists())
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=there).close()  # asking for the mode would not tell
    except OSError:
        sentence = f"{option} {given} cannot be written: choose another place."
        raise pytest.UsageError(sentence) from None


def note_expected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every own test of each model, where the whole suite was collected; else nothing."""
    expected: dict[str, list[str]] = {}
    files = set()
    for item in items:
        if is_own(item) and (spec := model_of(item)):
            expected.setdefault(spec.name, []).append(item.nodeid)
            files.add(_resolved(item.path))
    settings = settings_of(config)
    built = {path for path in OWN.glob("test_*.py") if _applies(path, settings)}
    whole = built <= files and not any("::" in arg for arg in config.args)
    # Other names of tests (-o, PYTEST_ADDOPTS) leave some out, and pytest does not say which.
    whole = whole and all(config.getini(name) == usual for name, usual in NAMES.items())
    config.stash[EXPECTED] = expected if whole and settings.precisions is None else {}
    if hasattr(config, "workerinput"):
        # type: ignore, here and below: xdist sets workeroutput, and a report takes more attributes.
        config.workeroutput["prep_expected"] = config.stash[EXPECTED]  # type: ignore[attr-defined]


def is_own(item: pytest.Item) -> bool:
    """Whether the test is of this suite, and not of a repository that borrows the fixtures."""
    return _resolved(item.path).is_relative_to(OWN)


@cache
def _resolved(path: Path) -> Path:
    """Without links: an environment may be reached by one."""
    return path.resolve()


def add_properties(item: pytest.Item, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Append the junit properties, once, after the set-up that gave most of them."""
    spec = model_of(item)
    if spec is None or item.stash.get(PROPERTIES, False):
        return
    item.stash[PROPERTIES] = True
    locked = settings_of(item.config).lock.get(spec.name)
    known = facts.get(spec.name, {})
    item.user_properties += properties(spec, locked, precision_of(item), load_of(item), known)


def shorten(call: pytest.CallInfo[None]) -> None:
    """Keep one step of the traceback of an error of ours: its text is the whole message.

    pytest writes every step with its source, which took most of the time of a run that failed: a
    stage that is not reached is reported for each of hundreds of tests.
    """
    if call.excinfo and isinstance(call.excinfo.value, PrepError):
        call.excinfo.traceback = call.excinfo.traceback[-1:]


def mark(
    item: pytest.Item,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Note on the report what the outcome needs; it travels from xdist's workers as JSON."""
    spec = model_of(item)
    if spec is None:
        return
    error = call.excinfo.value if call.excinfo else None
    if error is not None and report.failed:
        error = _told_before(item.config, spec.name, error)
        if isinstance(error, PrepError):
            report.longrepr = str(error)
    failure = _failure(report, error)
    reruns.note_failure(item, failure)
    report.prep = {  # type: ignore[attr-defined]
        "model": spec.name,
        "own": is_own(item),
        "failure": failure,
        "exchange": reruns.exchange_of(item),
        "not-tried": report.skipped and f"Skipped: {NOT_TRIED}" in str(report.longrepr),
        "message": str(error) if error is not None and report.failed else "",
        "facts": dict(facts.get(spec.name, {})),
    }


def teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Tests that an earlier failure kept from running are counted, not told again at length."""
    if report.failed and getattr(report, "prep", {}).get("failure") in (
        "not reached",
        "not reached, transient",
    ):
        return "not reached", "n", ("NOT REACHED", {"yellow": True})
    return None


class Outcome:
    """Collects in the controlling process what became of every test; writes it at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = settings_of(config)
        self.began = time.time()
        self.runs = {spec.name: ModelRun() for spec in self.settings.models}
        self.expected: dict[str, list[str]] = {}
        self.foreign_failures = 0
        self.foreign = 0
        self.own = 0
        self.written: list[str] = []
        self.full = False  # whether a full disk kept it from being written

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker collected; all workers collect the same."""
        self.expected = getattr(node, "workeroutput", {}).get("prep_expected") or self.expected

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """A worker died at this test."""
        worker_crashes.tell(self.config, self.settings, report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of one test."""
        about = getattr(report, "prep", None)
        if about is None or not about["own"]:
            self.foreign += 1
            self.foreign_failures += report.failed
            return
        self.own += 1
        run = self.runs[about["model"]]
        run.facts = {**run.facts, **about["facts"]}
        failure = about["failure"]
        if str(report.outcome) not in ("passed", "failed", "skipped"):
            run.retried[report.nodeid] = about["exchange"]  # the attempt counts no more
            run.tests.pop(report.nodeid, None)
            return
        if failure is None:
            if report.when == "call" and report.passed:
                if _is_stale(run, report.nodeid, about["exchange"]):
                    run.tests[report.nodeid] = "failed"
                    run.problems.append(f"{report.nodeid} {STALE}")
                run.tests.setdefault(report.nodeid, "passed")
            elif report.skipped:
                run.tests[report.nodeid] = "not tried" if about["not-tried"] else "not run"
            return
        run.tests[report.nodeid] = "transient" if failure.endswith("transient") else "failed"
        if failure.startswith("not reached"):
            run.not_reached += 1
        else:
            run.problems.append(about["message"])

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Set the exit code before all others; when they are done, write what is to be written.

        Who reads what could not be written, or an earlier one, would be misled: that is a failure.
        """
        if not self.own:
            if self.settings.idle and session.exitstatus == NOTHING_COLLECTED:
                session.exitstatus = 0
            return (yield)
        self.expected = self.expected or self.config.stash.get(EXPECTED, {})
        session.exitstatus = self._exit(int(session.exitstatus))
        junit = Junit(self.config)
        try:
            with junit.in_memory():
                return (yield)
        finally:
            for write in (partial(self._write_junit, junit), partial(self._write, session)):
                if not write() and session.exitstatus == 0:
                    code = Exit.TRANSIENT if self.full else pytest.ExitCode.TESTS_FAILED
                    session.exitstatus = int(code)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line a model, and what a consumer has to set."""
        if self.settings.idle:
            terminalreporter.write_line(self.settings.idle)
        if not self.own:
            return
        terminalreporter.write_sep("=", "model-prep")  # not section: it forgets the open line
        for line in closing(self.settings, self.runs, self.expected):
            terminalreporter.write_line(line)
        for line in self.written:
            terminalreporter.write_line(line)

    def _exit(self, code: int) -> int:
        """The suite's own codes; where other tests ran too, failures of those stay pytest's."""
        if code not in (0, 1):
            return code
        outcomes = [outcome for run in self.runs.values() for outcome in run.tests.values()]
        if code == 0 and "failed" in outcomes:  # pytest counts a rerun that passed, we did not
            return int(pytest.ExitCode.TESTS_FAILED)
        if code == 1:
            transient = "failed" not in outcomes and "transient" in outcomes
            return int(Exit.TRANSIENT) if transient and not self.foreign_failures else code
        if "passed" not in outcomes and not self.foreign:
            return NOTHING_COLLECTED
        return code

    def _write_junit(self, junit: Junit) -> bool:
        """Write what pytest has made of it; whether that went well."""
        try:
            junit.write()
        except OSError as error:
            return self._not_written("junit", error, Path(self.config.getoption("xmlpath")))
        return True

    def _write(self, session: pytest.Session) -> bool:
        """Write summary and page where they are wanted; whether that went well."""
        settings, code = self.settings, int(session.exitstatus)
        entries = {
            name: summary.entry(run, judge(run, set(self.expected.get(name, ()))), settings, name)
            for name, run in self.runs.items()
        }
        if settings.summary is None:
            return True
        told = self._tell_consumers({name: one["status"] for name, one in entries.items()})
        try:
            summary.write_summary(
                settings.summary, settings, entries, code, self.began, settings.report
            )
            self.written.append(f"summary: {settings.summary}")
            if settings.report is not None:
                self.written.append(f"report: {settings.report}")
            return told
        except (OSError, PathOccupied) as error:
            places = [settings.summary, *([settings.report] if settings.report else [])]
            return self._not_written("summary and report", error, *places)

    def _tell_consumers(self, verdicts: Mapping[str, Status]) -> bool:
        """Write what consumers read; whether all is still as it was judged."""
        if self.settings.offline:
            return True
        try:
            wrong = write_for_consumers(self.settings, verdicts, self.began)
        except OSError as error:
            return self._not_written("what consumers read", error, self.settings.home.state)
        self.written += wrong
        return not wrong

    def _not_written(self, what: str, error: OSError | PathOccupied, *places: Path) -> bool:
        known = storage_error(error, *places) if isinstance(error, OSError) else None
        self.full = self.full or isinstance(known, DiskFull)
        self.written.append(f"{what} could not be written: {known or error}")
        return False


def closing(
    settings: Settings, runs: Mapping[str, ModelRun], expected: Mapping[str, list[str]]
) -> list[str]:
    """The closing table: aligned columns, one line a model."""
    rows = [_row(name, run, judge(run, set(expected.get(name, ())))) for name, run in runs.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [f"{name}: {note}" for name, run in runs.items() for note in _notes(run.facts)]
    notes += [
        f"{name}: {len(run.retried)} tests failed first and were run again"
        for name, run in runs.items()
        if run.retried
    ]
    notes += [why for run in runs.values() for why in run.problems if why.endswith(STALE)]
    return [*lines, *notes, f"consumers set HF_HOME={settings.home.root} HF_HUB_OFFLINE=1"]


def _notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is no failure, and what a reader of the verdict should know."""
    if facts.get("goldens") is False:
        yield "no goldens are recorded: judged by properties and by the PyTorch original alone"
    if facts.get("cut") not in (None, NAMESPACE):
        yield f"loaded without a network namespace of its own: {facts['cut']}"
    for precision, one in facts.get("precisions", {}).items():
        if one["tools-differ"]:
            yield f"{precision} was converted with {', '.join(one['tools-differ'])}"
    reasons = [one.get("not-tried") for one in facts.get("loads", {}).values()]
    for reason, count in Counter(filter(None, reasons)).items():
        yield f"{count} load{'' if count == 1 else 's'} not tried: {reason}"
    for label, one in facts.get("interpreters", {}).items():
        untried = [f"{name} ({why})" for name, why in one["not-tried"].items()]
        tried = f"transformers {one['versions'].get('transformers', 'not installed')}"
        yield f"also loaded in {label}, {tried}" + (
            f"; not tried: {', '.join(untried)}" if untried else ""
        )
    if facts.get("cpu_default") not in (None, "f32"):
        yield f"this CPU answers in {facts['cpu_default']} unless told otherwise; asked in f32 here"
    if facts.get("unused"):
        yield f"files that no loader takes: {', '.join(facts['unused'])}"


def _row(name: str, run: ModelRun, status: str) -> tuple[str, ...]:
    facts = run.facts
    precisions = facts.get("precisions", {})
    made = [precision for precision, one in precisions.items() if one["made"]]
    adopted = f", adopted {facts['adopted']} bytes" if facts.get("adopted") else ""
    fetched = f"fetched {facts.get('fetched', 0)} bytes{adopted}"
    done = f"{fetched}, converted {', '.join(made) or 'nothing'}"
    repaired = f", repaired {len(facts['repaired'])}" if facts.get("repaired") else ""
    paths = "  ".join(f"{precision}: {one['path']}" for precision, one in precisions.items())
    return name, status, (facts.get("commit") or "")[:12], done + repaired, paths


def _is_stale(run: ModelRun, nodeid: str, exchange: int | None) -> bool:
    """Whether a test that was run again was judged by the answers that it failed by."""
    return exchange is not None and run.retried.get(nodeid) == exchange


def _told_before(config: pytest.Config, model: str, error: BaseException) -> BaseException:
    """The error, or where pytest raises a fixture's same error again, one line that says so."""
    told = config.stash.setdefault(TOLD, [])
    if any(error is known for known in told):
        return NotReached(model, "the same stage", error)
    told.append(error)
    return error


def _failure(report: pytest.TestReport, error: BaseException | None) -> str | None:
    if not report.failed:
        return None
    transient = error is not None and is_transient(error)
    if isinstance(error, NotReached):
        return "not reached, transient" if transient else "not reached"
    return "transient" if transient else "failed"


def _applies(path: Path, settings: Settings) -> bool:
    """Whether the catalogue has models for a test file that is of one task only."""
    tasks = {spec.task for spec in settings.models}
    from prep.tasks.registry import TASKS

    named = path.stem.removeprefix("test_")
    return named not in TASKS or named in tasks
