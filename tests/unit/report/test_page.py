"""The page: true to the summary, whole by itself, readable in light and dark, never too large."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import pytest

from prep.report import page as pages
from prep.report.history import Line
from prep.report.page import MOST_BYTES, TEMPLATE
from prep.report.run_report import RunReport, Status
from prep.report.verdict import Failure, ModelRun
from prep.tasks.registry import TASKS
from tests.support.reports import history_line, model_report, run_report
from tests.support.runs import TINY

EVIL = "<script>alert('&')</script>"


def render(run: RunReport, past: list[Line]) -> str:
    """The page, where each model is asked the committed questions of its task."""
    asked = {name: TASKS[model.task] for name, model in run.models.items() if model.task in TASKS}
    return pages.render(run, past, {name: task.questions() for name, task in asked.items()})


def parsed(page: str) -> Any:
    """The page as a tree; an error of its HTML is one of the test."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(page: str) -> str:
    """All that is read on the page, with white space folded."""
    body = parsed(page).find("body")
    return " ".join(" ".join(body.itertext()).split())


@pytest.mark.parametrize(
    ("code", "statuses", "headline"),
    [
        (0, ["ready"], "The model is ready"),
        (0, ["repaired"], "The model is ready, and was repaired"),
        (0, ["ready", "ready", "ready"], "All 3 models are ready"),
        (0, ["ready", "repaired"], "All 2 models are ready, 1 of them repaired"),
        (1, ["ready", "failed", "transient"], "1 of 3 models failed"),
        (1, ["failed", "failed"], "2 of 2 models failed"),
        (1, ["failed"], "The model failed"),
        (75, ["transient"], "The model failed with transient errors: run again"),
        (75, ["ready", "transient"], "1 of 2 models failed with transient errors: run again"),
        (0, ["ready", "unchecked"], "1 of 2 models is not wholly checked"),
        # What was green before a run that did not come to its end is no word about that run.
        (2, ["ready"], "Stopped by Ctrl-C"),
        (143, ["ready"], "Stopped by SIGTERM"),
        (3, ["ready"], "An error inside the suite"),
    ],
    ids=str,
)
def test_the_verdict_is_one_sentence(code: int, statuses: list[Status], headline: str) -> None:
    models = {f"model-{number}": model_report(status) for number, status in enumerate(statuses)}
    page = parsed(render(run_report(code, **models), []))
    assert "".join(page.find(".//h1").itertext()) == headline


def test_a_model_shows_all_that_is_known_of_it() -> None:
    repaired = model_report("repaired", repaired=["corrupt  config.json\n  size is 3"])
    said = text_of(render(run_report(tiny=repaired), [history_line("failed"), history_line()]))
    for words in (
        "acme/tiny c0ffee0000000000000000000000000000000000",
        "Licence mit",
        "7.0 MB fetched, 2.0 MB adopted from the home, 1 that no loader takes",
        "none recorded: judged by properties and the PyTorch original",
        "cut by a seccomp filter",
        "refs/main moved old → new",
        "Found and repaired in this run corrupt config.json size is 3",
        "int8 made in this run 4.0 MB ✓ cosine 0.995",
        "Of int8, the lowest cosine to the PyTorch original is 0.995; the bound is 0.99.",
        "50.0 % of the allowed difference",
        "name, commit, path yes not tried not tried 2 of 3 500 ms 7.5 ms 512 of 512 tokens",
        "optimum-intel int8 path – – – 1 of 1 2.0 s 1.5 s 512 of 8192 tokens 460 MB",
        "optimum-intel in search int8 path",
        "1 load not tried: needs root.",
        "Last 2 runs",
        "agreement int8: 0.99 now, 0.99 to 0.99",
        "torch 2.0",
        "int8 was converted with openvino 1 (here 2).",
        "tiny 10.0 s 20.0 s",
    ):
        assert words in said, words


def failed_run(*texts: str, load: str = "") -> ModelRun:
    """A run in which a test failed by each text."""
    made = ModelRun()
    for number, text in enumerate(texts):
        test = f"test_{number}"
        made.checks[test] = "original transformers access" if load else "pins"
        failure = Failure(error="Failed", text=text, transient=False)
        made.fail(test, failure, load.format(number) if load else "")
    return made


def banners(page: Any) -> list[str]:
    found = page.findall(".//div[@class='problem failed']")
    return [" ".join(" ".join(banner.itertext()).split()) for banner in found]


def test_what_is_wrong_stands_with_what_to_do() -> None:
    run = failed_run("tiny is wrong:\n  changed  x\nRun again.", "and more")
    page = parsed(render(run_report(1, tiny=model_report("failed", run)), []))
    problems = page.findall(".//div[@class='problem failed']")
    heads = ["".join(problem.find("p").itertext()) for problem in problems]
    assert heads == ["tiny is wrong:", "and more"]
    assert problems[0].find("pre").text == "  changed  x\nRun again."


def test_one_cause_is_one_banner_and_a_consumer_that_failed_stands_in_the_table() -> None:
    loads = [f"transformers:name:{number}" for number in range(7)]
    texts = [f"crashed: tiny: loading by {load}" for load in loads]
    run = failed_run(*texts, load="transformers:name:{}")
    page = parsed(render(run_report(1, tiny=model_report("failed", run, loads={})), []))
    assert banners(page) == [
        f"{texts[0]} Failed 7 tests of: original transformers access",
    ]
    assert "transformers original name – – – ✗ 0 of 7" in " ".join(
        " ".join(page.find("body").itertext()).split()
    )


def test_a_page_says_what_changed_since_the_model_was_ready() -> None:
    changed = replace(
        model_report("failed", failed_run("tiny is wrong")),
        differs=("version: torch 1 → 2",),
        warnings=("agreement of int8 fell",),
    )
    said = text_of(render(run_report(1, tiny=changed), []))
    assert "Differs from its last ready run version: torch 1 → 2" in said
    assert "Look at this; it is no failure agreement of int8 fell" in said


def test_a_model_of_which_nothing_is_known_is_shown_as_well() -> None:
    nothing = dict.fromkeys(("seconds", "timeline", "cut", "goldens", "moved_ref"))
    empty = {name: {} for name in ("precisions", "loads", "answers", "interpreters", "versions")}
    bare = model_report("transient", ModelRun(), **nothing, **empty)
    said = text_of(render(run_report(75, tiny=replace(bare, commit=None, license=None)), []))
    assert "nothing was loaded" in said
    assert "not locked" in said
    assert "Where the time went" not in said


def test_models_of_earlier_runs_are_told_apart() -> None:
    earlier = replace(model_report(), at="2025-12-31T23:59:59+00:00")
    said = text_of(render(run_report(tiny=model_report(), other=earlier), []))
    assert said.count("of an earlier run") == 2
    assert "of an earlier run, 2025-12-31 23:59:59 UTC" in said
    assert said.split("Where the time went")[1].split("Models")[0].count("other") == 0


@pytest.mark.parametrize("task", ["reranker", "seq2seq"])
def test_answers_of_each_task_are_shown(task: str) -> None:
    asked = TASKS[task].questions().plain()
    if task == "reranker":
        rows = Counter(query for query, _ in asked["pairs"])
        given: list[Any] = [[1.5 - n for n in range(count)] for count in rows.values()]
        question = asked["pairs"][0][0]
    else:
        given = [f"answer {number}" for number, _ in enumerate(asked["prompts"])]
        question = asked["prompts"][0][0]
    report = replace(model_report(answers={"original": given, "int8": given}), task=task)
    said = text_of(render(run_report(tiny=report), []))
    assert question in said
    assert ("1.50 0.50 -0.50" if task == "reranker" else "answer 0 the same") in said


@pytest.mark.parametrize("answers", [[[0.5]], ["x"], []], ids=str)
def test_answers_to_other_questions_are_not_shown(answers: list[Any]) -> None:
    said = text_of(render(run_report(tiny=model_report(answers={"original": answers})), []))
    assert "How near texts are" not in said


def test_numbers_that_are_none_are_a_dash() -> None:
    rows: list[list[float | None]] = [[0.5] * 24 for _ in range(12)]
    rows[0][0] = None
    said = text_of(render(run_report(tiny=model_report(answers={"original": rows})), []))
    assert "can you turn on the lamp in the kitchen – 0.50" in said


def spoiled(value: Any) -> Any:
    """The same with something evil in place of every text and every name."""
    if isinstance(value, str):
        return EVIL
    if isinstance(value, Mapping):
        return {key: spoiled(nested) for key, nested in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return replace(value, **{name: spoiled(getattr(value, name)) for name in names})
    return tuple(map(spoiled, value)) if isinstance(value, tuple) else value


def test_whatever_is_shown_is_escaped() -> None:
    report = model_report("failed", failed_run("a\nb", "c"), repaired=[EVIL])
    kept = {name: getattr(report, name) for name in ("status", "task", "timeline", "at")}
    evil = replace(spoiled(report), **kept)
    run = replace(run_report(1), home=EVIL, catalogue=EVIL, hub=EVIL, models={EVIL: evil})
    page = render(run, [replace(history_line(), at=EVIL, model=EVIL)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20
    parsed(page)


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = parsed(render(run_report(tiny=model_report()), [history_line(), history_line()]))
    names = {element.tag for element in page.iter() if isinstance(element.tag, str)}
    assert names & {"script", "iframe", "object", "embed", "img", "form", "base"} == set()
    asking = [
        value
        for element in page.iter()
        for name, value in element.attrib.items()
        if name in ("href", "src", "srcset", "action", "xlink:href") and not value.startswith("#")
    ]
    assert asking == ["data:,"]
    assert not any(name.startswith("on") for element in page.iter() for name in element.attrib)
    text = TEMPLATE.read_text(encoding="utf-8")
    assert re.findall(r"url\(|@import|https?:", text) == []
    assert "default-src 'none'" in text


def test_links_and_labels_lead_somewhere() -> None:
    page = parsed(render(run_report(one=model_report(), two=model_report("failed")), []))
    ids = [element.attrib["id"] for element in page.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    targets = [element.attrib["href"][1:] for element in page.iter("a")]
    labels = [value for element in page.iter() if (value := element.attrib.get("aria-labelledby"))]
    assert {*targets, *labels} <= {*ids}
    assert targets[0] == "models", "the first thing that Tab finds leads past the head"
    regions = [element for element in page.iter() if element.attrib.get("class") == "scroll"]
    assert all(
        region.attrib["tabindex"] == "0" and region.attrib["aria-label"] for region in regions
    )


def test_a_page_of_very_many_models_is_shorter_for_each() -> None:
    for count, failed in ((20, False), (70, False), (70, True)):
        texts = ["wrong:\n" + f"{number}" + "x" * 9000 for number in range(20)]
        report = model_report("failed", failed_run(*texts)) if failed else model_report()
        many = {f"model-{number}": report for number in range(count)}
        lines = [history_line(model=name) for name in many for _ in range(20)]
        page = render(run_report(**many), lines)
        assert len(page.encode()) <= MOST_BYTES
        assert all(re.search(rf">model-{number}\b", page) for number in range(count))
        assert page.count("<pre>0xxx") == (count if failed else 0)


def test_a_real_runs_page_is_whole(prepared: Path) -> None:
    folder = prepared / "model-prep"
    page = (folder / "report.html").read_text(encoding="utf-8")
    said = text_of(page)
    assert "The model is ready Exit 0: every chosen model passed every chosen check." in said
    assert f"Models {TINY} ✓ ready" in said
    assert "How near texts are (cosine)" in said
    assert len(page.encode()) < 100_000
    [line] = map(json.loads, (folder / "history.jsonl").read_text(encoding="utf-8").splitlines())
    assert (line["model"], line["status"], line["exit"]) == (TINY, "ready", 0)
    assert {"importing", "fetched", "converted", "loaded"} <= line["seconds"].keys()
