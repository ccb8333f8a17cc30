"""`verdict.xml`: a suite a model, a case a check, and one failure for one cause."""

from dataclasses import replace
from xml.etree import ElementTree as ET

from prep.report.run_report import CheckReport, ModelReport
from prep.report.verdict import Failure, ModelRun
from prep.report.verdict_xml import render
from tests.support.reports import model_report, run_report

CHECKS = {
    "lock": "pins",
    "bytes": "pins",
    "read": "layout",
    "made": "conversion int8",
    "opens": "int8 optimum-intel access",
    "says": "int8 optimum-intel answers",
}


def cases(model: ModelReport) -> dict[str, ET.Element]:
    """The cases of the file for this model, by name."""
    [suite] = ET.fromstring(render(run_report(tiny=model)))
    found = suite.findall("testcase")
    assert suite.get("name") == "tiny"
    assert {case.get("classname") for case in found} == {"tiny"}
    counted = {tag: sum(case.find(tag) is not None for case in found) for tag in TAGS}
    assert counted == {tag: int(suite.get(key, "")) for tag, key in TAGS.items()}
    assert suite.get("tests") == str(len(found))
    names = [case.get("name", "") for case in found]
    assert len({*names}) == len(names), "GitLab counts the first of a name alone"
    return dict(zip(names, found, strict=True))


TAGS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def results(model: ModelReport) -> dict[str, str]:
    """What became of each case."""
    return {
        name: next((tag for tag in TAGS if case.find(tag) is not None), "passed")
        for name, case in cases(model).items()
    }


def run_of(**failures: Failure) -> ModelRun:
    """A run in which these tests failed, and all others passed."""
    made = ModelRun(checks=dict(CHECKS), tests=dict.fromkeys(CHECKS, "passed"))
    for test, failure in failures.items():
        made.fail(test, failure)
    return made


def wrong(text: str, *, transient: bool = False, reached: bool = True) -> Failure:
    error = "HubUnreachable" if transient else "ChecksumMismatch"
    return Failure(error=error, text=text, transient=transient, reached=reached)


def test_a_ready_model_has_a_case_a_check_and_its_facts_as_text() -> None:
    model = model_report("ready", run_of())
    assert results(model) == dict.fromkeys(("verdict", *CHECKS.values()), "passed")
    said = cases(model)["verdict"].findtext("system-out", "")
    for words in (
        f"verdict: ready, {model.at}",
        f"model-prep: {model.model_prep}",
        f"pin: acme/tiny at {model.commit}, {model.bytes} bytes",
        "int8: 4000000 bytes, agreement 0.995 (bound 0.99), /srv/int8",
        "original transformers: 2 loads, answer 0.0075 s, memory 410000000 bytes, texts 512 of 512",
        "int8 optimum-intel: 1 loads, answer 1.5 s, memory 460000000 bytes, texts 512 of 8192",
        "versions: torch 2.0",
    ):
        assert words in said, words
    assert cases(model)["pins"].findtext("system-out") == "2 of 2 tests passed"


def test_one_cause_is_one_failure_and_the_rest_is_skipped() -> None:
    behind = wrong("not reached: checksum mismatch: tiny: x", reached=False)
    run = run_of(bytes=wrong("tiny: x\nDo this."), made=behind, opens=behind, says=behind)
    model = replace(model_report("failed", run), differs=("version: torch 1 → 2",))
    found = cases(model)
    assert results(model) == {
        "verdict": "skipped",
        "pins": "failure",
        "layout": "passed",
        **dict.fromkeys([*CHECKS.values()][3:], "skipped"),
    }
    failure = found["pins"].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("tiny: x", "ChecksumMismatch")
    assert failure.text == (
        "tiny: x\n(permanent, ChecksumMismatch)\ntiny: x\nDo this.\n\n"
        "differs from the last ready run: version: torch 1 → 2"
    )
    skipped = found["conversion int8"].find("skipped")
    assert skipped is not None
    assert skipped.text == skipped.get("message") == "not reached: checksum mismatch: tiny: x"


def test_two_faults_are_two_failures_and_one_that_two_checks_have_is_one() -> None:
    two = model_report("failed", run_of(bytes=wrong("tiny: x"), read=wrong("tiny: y")))
    assert [*results(two).values()].count("failure") == 2
    same = model_report("failed", run_of(opens=wrong("tiny: x"), says=wrong("tiny: x")))
    assert results(same)["int8 optimum-intel access"] == "failure"
    skipped = cases(same)["int8 optimum-intel answers"].find("skipped")
    assert skipped is not None and skipped.text == "the same cause: tiny: x"


def test_what_may_pass_by_itself_is_an_error() -> None:
    model = model_report("transient", run_of(bytes=wrong("tiny: x", transient=True)))
    assert results(model)["pins"] == "error"
    both = run_of(lock=wrong("tiny: y"), bytes=wrong("tiny: x", transient=True))
    assert results(model_report("failed", both))["pins"] == "failure"


def test_what_was_left_out_is_no_pass() -> None:
    nothing = CheckReport(passed=0, failed=0, not_reached=0, not_tried=0, seconds=0.0, cause=None)
    untried = replace(nothing, not_tried=3)
    model = replace(model_report("unchecked"), checks={"pins": nothing, "layout": untried})
    texts = {name: case.findtext("skipped") for name, case in cases(model).items()}
    assert texts == {
        "verdict": "unchecked: checks were left out",
        "pins": "left out of this run",
        "layout": "not tried on this machine",
    }


def test_a_cause_of_an_older_summary_is_not_lost() -> None:
    model = replace(model_report("failed", run_of(bytes=wrong("tiny: x"))), checks={})
    assert results(model) == {"verdict": "skipped", "other": "failure"}


def test_a_warning_is_told_and_fails_nothing() -> None:
    model = replace(model_report("ready", run_of()), warnings=("agreement of int8 fell",))
    assert cases(model)["verdict"].findtext("system-err") == "warning: agreement of int8 fell"
    assert {*results(model).values()} == {"passed"}


def test_what_xml_cannot_hold_is_replaced() -> None:
    model = model_report("failed", run_of(bytes=wrong("tiny: \x00\x1b[31m <&> \ud800")))
    failure = cases(model)["pins"].find("failure")
    assert failure is not None
    assert failure.get("message") == "tiny: \ufffd\ufffd[31m <&> \ufffd"
