"""From pytest's reports to the outcome: exit code, junit, summary, page, what consumers read."""

import os
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from prep.errors import Exit, PathOccupied, PrepError
from prep.machine.disk import storage_error
from prep.plugin import reruns, worker_crashes
from prep.plugin.causes import check_of, failure_of
from prep.plugin.expected import EXPECTED, is_own
from prep.plugin.junit import Junit
from prep.plugin.options import settings_of
from prep.plugin.parameters import load_of, model_of, precision_of
from prep.plugin.terminal_summary import STALE, closing_lines
from prep.report import step_summary, summary
from prep.report.ready_file import write_for_consumers
from prep.report.run_report import ModelReport, RunReport
from prep.report.verdict import Failure, ModelRun, judge

NOT_TRIED = "not tried: "
NOTHING_COLLECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)
PROPERTIES = pytest.StashKey[bool]()


def add_properties(item: pytest.Item) -> None:
    """Say whose test it is; the facts come at the end, once: `prep.plugin.junit`."""
    spec = model_of(item)
    if spec is None or item.stash.get(PROPERTIES, False):
        return
    item.stash[PROPERTIES] = True
    load, precision = load_of(item), precision_of(item)
    consumer = load.consumer.name if load else None
    pairs = {"model": spec.name, "precision": precision, "consumer": consumer}
    item.user_properties += [(name, value) for name, value in pairs.items() if value is not None]


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
    if call.when == "setup":  # of an attempt before this one
        item.user_properties[:] = [
            pair for pair in item.user_properties if pair[0] not in ("error", "kind")
        ]
    error = call.excinfo.value if call.excinfo else None
    failure = failure_of(item, error) if error is not None and report.failed else None
    load = load_of(item)
    if failure is not None and not failure.reached:
        path, line, _ = report.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {failure.line}")
    elif failure is not None:
        if isinstance(error, PrepError):
            report.longrepr = failure.text
        kind = "transient" if failure.transient else "permanent"
        item.user_properties += [("error", failure.error), ("kind", kind)]
    reruns.note_failure(item, failure)
    report.prep = {  # type: ignore[attr-defined]  # a report takes more attributes
        "model": spec.name,
        "own": is_own(item),
        "check": check_of(item),
        "load": load.id if load else "",
        "failure": asdict(failure) if failure else None,
        "exchange": reruns.exchange_of(item),
        "not-tried": report.skipped and f"Skipped: {NOT_TRIED}" in str(report.longrepr),
        "facts": dict(facts.get(spec.name, {})),
    }


def teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Tests that an earlier failure kept from running are counted, not shown at length."""
    failure = (getattr(report, "prep", None) or {}).get("failure")
    if failure is not None and not failure["reached"]:
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
        self.reports: dict[str, ModelReport] = {}

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
        run, test, check = self.runs[about["model"]], report.nodeid, about["check"]
        run.facts = {**run.facts, **about["facts"]}
        run.checks[test] = check
        run.seconds[check] = run.seconds.get(check, 0.0) + report.duration
        if str(report.outcome) not in ("passed", "failed", "skipped"):
            run.retried[test] = about["exchange"]  # the attempt counts no more
            run.tests.pop(test, None)
            return
        if about["failure"] is not None:
            failure = Failure(**about["failure"])
            run.fail(test, failure, about["load"])
        elif report.when == "call" and report.passed:
            exchange = about["exchange"]  # run again, but by the answers that it failed by?
            if exchange is not None and run.retried.get(test) == exchange:
                run.fail(test, Failure(error="Failed", text=f"{test} {STALE}", transient=False))
            run.tests.setdefault(test, "passed")
        elif report.skipped:
            run.tests[test] = "not tried" if about["not-tried"] else "not run"

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
            self.reports = {
                name: summary.model_report(
                    run, judge(run, set(self.expected.get(name, ()))), self.settings, name
                )
                for name, run in self.runs.items()
            }
            try:
                junit.write(self.reports)
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
        table = closing_lines(self.settings, self.runs, self.reports)
        for line in (*table, *self.written):
            terminalreporter.write_line(line)

    def _exit(self, code: int) -> int:
        """The suite's own codes; where other tests ran too, failures of those stay pytest's."""
        if code not in (0, 1):
            return code
        outcomes = [outcome for run in self.runs.values() for outcome in run.tests.values()]
        # pytest counts what was not reached as skipped, and a rerun that passed, we do not.
        if "failed" in outcomes or self.foreign_failures:
            return int(pytest.ExitCode.TESTS_FAILED)
        if "transient" in outcomes:
            return int(Exit.TRANSIENT)
        if code == 0 and "passed" not in outcomes and not self.foreign:
            return NOTHING_COLLECTED
        return code

    def _write_records(self, code: int) -> int:
        """Write the reports and what consumers read; gives the exit code from then on."""
        settings = self.settings
        if not settings.offline:
            statuses = {name: report.status for name, report in self.reports.items()}
            try:
                wrong = write_for_consumers(settings, statuses, self.began)
            except OSError as error:
                code = self._not_written("what consumers read", error, code, settings.home.state)
            else:  # a file that is not as it was judged is a failure
                self.written += wrong
                code = code or int(bool(wrong))
        written_to = {
            "summary": settings.summary,
            "report": settings.report,
            "verdict": settings.verdict_xml,
            "metrics": settings.metrics,
            "bill of materials": settings.bom,
        }
        paths = [path for path in written_to.values() if path is not None]
        try:
            whole = summary.write_reports(settings, self.reports, code, self.began)
        except (OSError, PathOccupied) as error:
            return self._not_written("summary and report", error, code, *paths)
        for name, report in self.reports.items():
            if whole.models[name].status == report.status:  # else an earlier verdict was kept
                self.reports[name] = whole.models[name]
        self.written += [f"{what}: {path}" for what, path in written_to.items() if path is not None]
        self._write_step_summary(whole)
        return code

    def _write_step_summary(self, whole: RunReport) -> None:
        """On GitHub, a table on the page of the job; nobody takes an older one for it."""
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(step_summary.render(whole))
            except OSError as error:
                self.written.append(f"GITHUB_STEP_SUMMARY could not be written: {error}")

    def _not_written(
        self, what: str, error: OSError | PathOccupied, code: int, *paths: Path
    ) -> int:
        known = storage_error(error, *paths) if isinstance(error, OSError) else None
        self.written.append(f"{what} could not be written: {known or error}")
        return summary.exit_unwritten(code, error)
