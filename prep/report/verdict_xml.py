"""`verdict.xml`: the summary as junit for dashboards, which group by class name: here, the model.

A model has about a dozen cases: its verdict, and each check. A failure stands at the first check
that it was found in; what could not be reached for it is skipped. Dashboards drop properties, so
facts are text.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from prep.report.history import answer_seconds, by_consumer, longest_text
from prep.report.run_report import GREEN, Cause, CheckReport, ModelReport, RunReport

# What XML 1.0 cannot hold.
INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LETTERS = 4000  # of a message: the summary has it whole


def render(run: RunReport) -> str:
    """The file's text."""
    root = ET.Element("testsuites", name="model-prep")
    for name, model in run.models.items():
        root.append(_suite(name, model, run))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ET.indent(root, "")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _suite(name: str, model: ModelReport, run: RunReport) -> ET.Element:
    at = datetime.fromisoformat(model.at).replace(tzinfo=None).isoformat(timespec="seconds")
    suite = ET.Element("testsuite", name=name, timestamp=at, hostname="model-prep")
    cases = [_verdict(name, model, run)]
    reported: set[str] = set()
    cases += [_case(name, check, report, model, reported) for check, report in model.checks.items()]
    left = [cause for cause in model.causes if cause.line not in reported]
    if left:  # of an older summary, or of no check
        cases.append(ET.Element("testcase", classname=name, name="other", time="0.000"))
        _fail(cases[-1], left, model.differs)
    suite.extend(cases)
    counts = {"tests": len(cases)}
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[key] = sum(case.find(tag) is not None for case in cases)
    for key, count in counts.items():
        suite.set(key, str(count))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
    return suite


def _verdict(name: str, model: ModelReport, run: RunReport) -> ET.Element:
    """The first case: passed where the model is ready; else skipped, as its cause stands below."""
    case = ET.Element("testcase", classname=name, name="verdict", time="0.000")
    if model.status not in GREEN:
        why = model.causes[0].line if model.causes else "checks were left out"
        _skip(case, f"{model.status}: {why}")
    _text(case, "system-out", "\n".join(_facts(model, run)))
    if model.warnings:
        _text(case, "system-err", "\n".join(f"warning: {text}" for text in model.warnings))
    return case


def _case(
    name: str, check: str, report: CheckReport, model: ModelReport, reported: set[str]
) -> ET.Element:
    case = ET.Element("testcase", classname=name, name=check, time=f"{report.seconds:.3f}")
    causes = [
        cause for cause in model.causes if check in cause.checks and cause.line not in reported
    ]
    if causes:
        reported.update(cause.line for cause in causes)
        _fail(case, causes, model.differs)
    elif report.failed or report.not_reached:
        _skip(case, f"the same cause: {report.cause}" if report.failed else str(report.cause))
    elif not report.passed:
        _skip(case, "not tried on this machine" if report.not_tried else "left out of this run")
    _text(case, "system-out", f"{report.passed} of {_count(report)} tests passed")
    return case


def _fail(case: ET.Element, causes: Sequence[Cause], differs: Sequence[str]) -> None:
    """The causes that stand at a case, as one failure, or error where all are transient."""
    tag = "error" if all(cause.kind == "transient" for cause in causes) else "failure"
    failure = ET.SubElement(case, tag, message=_valid(causes[0].line), type=causes[0].error)
    texts = [
        f"{cause.line}\n({cause.kind}, {cause.error})\n{cause.text[:LETTERS]}" for cause in causes
    ]
    failure.text = _valid(
        "\n\n".join([*texts, *(f"differs from the last ready run: {text}" for text in differs)])
    )


def _skip(case: ET.Element, why: str) -> None:
    # GitLab shows the text, others the attribute.
    ET.SubElement(case, "skipped", message=_valid(why)).text = _valid(why)


def _text(case: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(case, tag).text = _valid(text)


def _facts(model: ModelReport, run: RunReport) -> Iterator[str]:
    yield f"verdict: {model.status}, {model.at}"
    yield f"model-prep: {model.model_prep or run.model_prep}"
    yield f"pin: {model.repo} at {model.commit or 'no commit'}, {model.bytes} bytes"
    yield f"catalogue: {run.catalogue}, home: {model.home}"
    for precision, made in model.precisions.items():
        yield (
            f"{precision}: {made.bytes} bytes, agreement {made.agreement} "
            f"(bound {made.agreement_bound}), {made.path}"
        )
    for (weights, consumer), loads in by_consumer(model).items():
        answer, peak = answer_seconds(loads), max(load.peak_bytes for load in loads)
        took = f"{len(loads)} loads, answer {answer} s, memory {peak} bytes"
        yield f"{weights} {consumer}: {took}, texts {longest_text(loads) or 'not asked'}"
    yield from (f"repaired: {' '.join(text.split())}" for text in model.repaired)
    yield from (f"differs from the last ready run: {text}" for text in model.differs)
    if model.versions:
        yield "versions: " + ", ".join(f"{name} {text}" for name, text in model.versions.items())


def _count(report: CheckReport) -> int:
    return report.passed + report.failed + report.not_reached + report.not_tried


def _valid(text: str) -> str:
    return INVALID.sub("\ufffd", text)
