"""The page: true to the summary, whole by itself, readable in light and dark, never too large."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import pytest

from prep.report import page as pages
from prep.report.page import MOST_BYTES, TEMPLATE
from prep.report.summary import entry
from prep.report.verdict import ModelRun, Status
from prep.tasks.registry import TASKS
from tests.support.runs import TINY
from tests.support.small_homes import locked_model
from tests.support.small_settings import SPEC, settings_for

EVIL = "<script>alert('&')</script>"
LOADS = {
    "transformers:name": {"seconds": 0.75, "latency": 0.0075, "peak-bytes": 410_000_000},
    "transformers:commit:cache_dir": {"seconds": 0.25, "latency": 0.5, "peak-bytes": 1},
    "transformers:path:other:read-only": {"not-tried": "needs root"},
    "int8:optimum-intel:path": {"seconds": 2.0, "latency": 1.5, "peak-bytes": 460_000_000},
    "int8:optimum-intel:path:python=search": {"seconds": 1.0, "latency": 1.5, "peak-bytes": 1},
}
FACTS: dict[str, Any] = {
    "fetched": 7_000_000,
    "adopted": 2_000_000,
    "seconds": 1.5,
    "timeline": {
        "began": "2026-01-01T00:00:10.000+00:00",
        "stretches": [
            {"stage": "fetched", "which": "", "at": 0.0, "seconds": 10.0},
            {"stage": "loaded", "which": "int8:optimum-intel", "at": 20.0, "seconds": 20.0},
        ],
    },
    "precisions": {
        "int8": {
            "path": "/srv/int8",
            "made": True,
            "seconds": 2.0,
            "bytes": 4_000_000,
            "peak-bytes": 9,
            "agreement": 0.995,
            "tools-differ": ["openvino 1 (here 2)"],
        }
    },
    "loads": LOADS,
    "answers": {"original": [[0.5] * 24 for _ in range(12)]},
    "cut": "seccomp filter",
    "goldens": False,
    "versions": {"torch": "2.0"},
    "interpreters": {
        "search": {"python": "/srv/p", "versions": {"python": "3.9"}, "not-tried": {}}
    },
    "moved_ref": ("old", "new"),
    "unused": ["README.md"],
}


def model(status: Status = "ready", **facts: Any) -> dict[str, Any]:
    """An entry of the summary with all that a run may tell."""
    run = ModelRun(tests={"test_pins": "passed"}, facts={**FACTS, **facts})
    fresh = entry(run, status, settings_for(Path("/srv/home"), locked_model()), "tiny")
    return {**fresh, "at": "2026-01-01T00:01:00+00:00"}


def whole(code: int = 0, **models: dict[str, Any]) -> dict[str, Any]:
    """A summary of these models."""
    return {
        "summary-version": 3,
        "model-prep": {"version": "1.2.3", "commit": None},
        "began": "2026-01-01T00:00:00+00:00",
        "at": "2026-01-01T00:01:00+00:00",
        "exit": code,
        "home": "/srv/home",
        "catalogue": "models.toml",
        "hub": "https://huggingface.co",
        "offline": False,
        "models": models,
    }


def render(run: dict[str, Any], past: list[dict[str, Any]]) -> str:
    """The page, where each model is asked the committed questions of its task."""
    asked = {name: entry["task"] for name, entry in run["models"].items()}
    return pages.render(
        run, past, {name: TASKS[task].questions() for name, task in asked.items() if task in TASKS}
    )


def line(status: str = "ready", **more: Any) -> dict[str, Any]:
    """A line of the history."""
    known = {"at": "2026", "model": "tiny", "status": status, "seconds": {"loaded": 2.0}}
    return {**known, "agreement": {"int8": 0.99}, **more}


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
    models = {f"model-{number}": model(status) for number, status in enumerate(statuses)}
    page = parsed(render(whole(code, **models), []))
    assert "".join(page.find(".//h1").itertext()) == headline


def test_a_model_shows_all_that_is_known_of_it() -> None:
    repaired = model("repaired", repaired=["corrupt  config.json\n  size is 3"])
    said = text_of(render(whole(tiny=repaired), [line("failed"), line()]))
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
        "transformers original name, commit, path yes not tried not tried 2 of 3 500 ms 254 ms",
        "optimum-intel int8 path – – – 1 of 1 2.0 s 1.5 s 460 MB",
        "optimum-intel in search int8 path",
        "1 load not tried: needs root.",
        "Last 2 runs",
        "agreement int8: 0.99 now, 0.99 to 0.99",
        "torch 2.0",
        "int8 was converted with openvino 1 (here 2).",
        "tiny 10.0 s 20.0 s",
    ):
        assert words in said, words


def test_what_is_wrong_stands_with_what_to_do() -> None:
    wrong = ["tiny is wrong:\n  changed  x\nRun again.", "and more"]
    failed = {**model("failed"), "problems": wrong}
    page = parsed(render(whole(1, tiny=failed), []))
    problems = page.findall(".//div[@class='problem failed']")
    heads = ["".join(problem.find("p").itertext()) for problem in problems]
    assert heads == ["tiny is wrong:", "and more"]
    assert problems[0].find("pre").text == "  changed  x\nRun again."


def test_a_model_of_which_nothing_is_known_is_shown_as_well() -> None:
    settings = replace(settings_for(Path("/srv/home"), locked_model()), models=(SPEC,))
    bare = entry(ModelRun(), "transient", settings, "tiny")
    said = text_of(render(whole(75, tiny={**bare, "commit": None, "license": None}), []))
    assert "nothing was loaded" in said
    assert "not locked" in said
    assert "Where the time went" not in said


def test_models_of_earlier_runs_are_told_apart() -> None:
    earlier = {**model(), "at": "2025-12-31T23:59:59+00:00"}
    said = text_of(render(whole(tiny=model(), other=earlier), []))
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
    entry = {**model(), "task": task, "answers": {"original": given, "int8": given}}
    said = text_of(render(whole(tiny=entry), []))
    assert question in said
    assert ("1.50 0.50 -0.50" if task == "reranker" else "answer 0 the same") in said


@pytest.mark.parametrize("answers", [[[0.5]], ["x"], []], ids=str)
def test_answers_to_other_questions_are_not_shown(answers: list[Any]) -> None:
    said = text_of(render(whole(tiny={**model(), "answers": {"original": answers}}), []))
    assert "How near texts are" not in said


def test_numbers_that_are_none_are_a_dash() -> None:
    rows: list[list[float | None]] = [[0.5] * 24 for _ in range(12)]
    rows[0][0] = None
    said = text_of(render(whole(tiny={**model(), "answers": {"original": rows}}), []))
    assert "can you turn on the lamp in the kitchen – 0.50" in said


def spoiled(value: Any) -> Any:
    """The same with something evil in place of every text and every name, but what is chosen."""
    if isinstance(value, str):
        return EVIL
    if isinstance(value, dict):
        return {key: spoiled(nested) for key, nested in value.items()}
    return [spoiled(nested) for nested in value] if isinstance(value, list | tuple) else value


def test_whatever_is_shown_is_escaped() -> None:
    entry = model("failed", repaired=[EVIL])
    kept = {key: entry[key] for key in ("status", "task", "timeline", "at")}
    evil = {**spoiled(entry), **kept, "problems": [EVIL, f"{EVIL}\n{EVIL}"]}
    run = {**whole(1), "home": EVIL, "catalogue": EVIL, "hub": EVIL, "models": {EVIL: evil}}
    page = render(run, [line(at=EVIL, model=EVIL)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20
    parsed(page)


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = parsed(render(whole(tiny=model()), [line(), line()]))
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
    page = parsed(render(whole(one=model(), two=model("failed")), []))
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
        problems = {"problems": ["wrong:\n" + "x" * 9000] * 20}
        entry = {**model("failed"), **problems} if failed else model()
        many = {f"model-{number}": entry for number in range(count)}
        page = render(whole(**many), [line(model=name) for name in many for _ in range(20)])
        assert len(page.encode()) <= MOST_BYTES
        assert all(re.search(rf">model-{number}\b", page) for number in range(count))
        assert page.count("<pre>xxx") == (count if failed else 0)


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
