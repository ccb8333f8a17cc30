"""From pytest's reports to the outcome: exit code, junit, summary, page, what consumers read."""

import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from prep.errors import Exit, PathOccupied, PrepError
from prep.machine.disk import storage_error
from prep.plugin import reruns, worker_crashes
from prep.plugin.expected import EXPECTED, is_own
from prep.plugin.junit import Junit
from prep.plugin.options import settings_of
from prep.plugin.parameters import load_of, model_of, precision_of
from prep.plugin.terminal_summary import STALE, closing_lines
from prep.report import summary
from prep.report.properties import properties
from prep.report.ready_file import write_for_consumers
from prep.report.verdict import ModelRun, judge
from prep.stages.context import NotReached, is_transient

NOT_TRIED = "not tried: "
NOTHING_COLLECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)
PROPERTIES = pytest.StashKey[bool]()
REPORTED = pytest.StashKey[list[BaseException]]()


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
        error = _first_or_not_reached(item.config, spec.name, error)
        if isinstance(error, PrepError):
            report.longrepr = str(error)
    failure = _failure(report, error)
    reruns.note_failure(item, failure)
    report.prep = {  # type: ignore[attr-defined]  # a report takes more attributes
        "model": spec.name,
        "own": is_own(item),
        "failure": failure,
        "exchange": reruns.exchange_of(item),
        "not-tried": report.skipped and f"Skipped: {NOT_TRIED}" in str(report.longrepr),
        "message": str(error) if error is not None and report.failed else "",
        "facts": dict(facts.get(spec.name, {})),
    }


def teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Tests that an earlier failure kept from running are counted, not shown at length."""
    failure = getattr(report, "prep", {}).get("failure")
    if report.failed and failure in ("not reached", "not reached, transient"):
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

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker collected; all workers collect the same."""
        self.expected = getattr(node, "workeroutput", {}).get("prep_expected") or self.expected

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """A worker died at this test."""
        worker_crashes.complete_report(self.config, self.settings, report)

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
                exchange = about["exchange"]  # run again, but by the answers that it failed by?
                if exchange is not None and run.retried.get(report.nodeid) == exchange:
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
            code = int(session.exitstatus)
            try:
                junit.write()
            except OSError as error:
                place = Path(self.config.getoption("xmlpath"))
                code = self._not_written("junit", error, code, place)
            session.exitstatus = self._write_records(code)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line a model, and what a consumer has to set."""
        if self.settings.idle:
            terminalreporter.write_line(self.settings.idle)
        if not self.own:
            return
        terminalreporter.write_sep("=", "model-prep")  # not section: it forgets the open line
        table = closing_lines(self.settings, self.runs, self.expected)
        for line in (*table, *self.written):
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

    def _write_records(self, code: int) -> int:
        """Write summary, page and what consumers read; gives the exit code from then on."""
        settings = self.settings
        entries = {
            name: summary.entry(run, judge(run, set(self.expected.get(name, ()))), settings, name)
            for name, run in self.runs.items()
        }
        if settings.summary is None:
            return code
        if not settings.offline:
            statuses = {name: entry["status"] for name, entry in entries.items()}
            try:
                wrong = write_for_consumers(settings, statuses, self.began)
            except OSError as error:
                code = self._not_written("what consumers read", error, code, settings.home.state)
            else:  # a file that is not as it was judged is a failure
                self.written += wrong
                code = code or int(bool(wrong))
        try:
            summary.write_summary(
                settings.summary, settings, entries, code, self.began, settings.report
            )
        except (OSError, PathOccupied) as error:
            paths = [settings.summary, *([settings.report] if settings.report else [])]
            return self._not_written("summary and report", error, code, *paths)
        self.written.append(f"summary: {settings.summary}")
        if settings.report is not None:
            self.written.append(f"report: {settings.report}")
        return code

    def _not_written(
        self, what: str, error: OSError | PathOccupied, code: int, *paths: Path
    ) -> int:
        known = storage_error(error, *paths) if isinstance(error, OSError) else None
        self.written.append(f"{what} could not be written: {known or error}")
        return summary.exit_unwritten(code, error)


def _first_or_not_reached(config: pytest.Config, model: str, error: BaseException) -> BaseException:
    """The error, or where pytest raises a fixture's same error again, one line that says so."""
    reported = config.stash.setdefault(REPORTED, [])
    if any(error is known for known in reported):
        return NotReached(model, "the same stage", error)
    reported.append(error)
    return error


def _failure(report: pytest.TestReport, error: BaseException | None) -> str | None:
    if not report.failed:
        return None
    transient = error is not None and is_transient(error)
    if isinstance(error, NotReached):
        return "not reached, transient" if transient else "not reached"
    return "transient" if transient else "failed"
