"""A plugin that calls a failed test again without its set-up, as no rerun may do here."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Set-up once, the call until it passes, but twice at most, and tear-down."""
    hook = item.ihook

    def phase(when: str, *args: object) -> pytest.TestReport:
        name = f"pytest_runtest_{when}"
        call = pytest.CallInfo.from_call(
            lambda: getattr(hook, name)(item=item, **dict(args)),  # type: ignore[call-overload]
            when=when,  # type: ignore[arg-type]
        )
        report: pytest.TestReport = hook.pytest_runtest_makereport(item=item, call=call)
        return report

    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item._initrequest()  # type: ignore[attr-defined]  # what pytest's own protocol does first
    reports = [phase("setup")]
    if reports[0].passed:
        called = phase("call")
        if called.failed:
            called.outcome = "rerun"  # type: ignore[assignment]
            hook.pytest_runtest_logreport(report=called)
            called = phase("call")
        reports.append(called)
    reports.append(phase("teardown", ("nextitem", nextitem)))
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
