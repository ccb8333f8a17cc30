"""Metrics in Prometheus' text format; `make dashboards-test` asks promtool."""

import json
import re
from dataclasses import replace

import pytest

from prep.report.metrics import HELP, render
from tests.support.paths import ROOT
from tests.support.reports import model_report, run_report

LINE = re.compile(r"(\w+)(?:\{((?:\w+=\"(?:[^\"\\\n]|\\.)*\",?)*)\})? (-?[\d.e+-]+)")


def samples(text: str) -> dict[tuple[str, str], float]:
    """By name and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return {(match[1], match[2] or ""): float(match[3]) for match in found if match}


def test_every_metric_has_help_type_and_samples_beside_each_other() -> None:
    text = render(run_report(tiny=model_report(), other=model_report("failed")))
    for metric in HELP:
        [block] = re.findall(
            rf"# HELP {metric} .*\n# TYPE {metric} gauge\n((?:{metric}.*\n)+)", text
        )
        assert text.count(f"\n{metric}{{") + text.count(f"\n{metric} ") == block.count("\n"), metric
    assert text.endswith("\n")


def test_what_was_measured_stands_there() -> None:
    int8 = replace(model_report().precisions["int8"], fell=True)
    model = replace(model_report("repaired"), precisions={"int8": int8})
    found = samples(render(run_report(tiny=model, other=model_report("failed"))))
    own = 'model="tiny",task="embedding"'
    converted = f'{own},precision="int8"'
    original = f'{own},precision="original"'
    at = 1767225660
    for name, labels, value in (
        ("ready", own, 1),
        ("ready", own.replace("tiny", "other"), 0),
        ("verdict_timestamp_seconds", own, at),
        ("run_timestamp_seconds", "", at),
        ("agreement", converted, 0.995),
        ("agreement_fell", converted, 1),
        ("bytes", converted, 4_000_000),
        ("bytes", original, model.bytes),
        ("answer_seconds", f'{original},consumer="transformers"', 0.0075),
        ("load_seconds", f'{original},consumer="transformers"', 0.5),
        ("memory_bytes", f'{original},consumer="transformers"', 410_000_000),
        ("stage_seconds", f'{own},stage="loaded"', 20),
    ):
        assert found[f"model_prep_{name}", labels] == value, (name, labels)


def test_a_name_ends_no_label() -> None:
    text = render(run_report(**{'a"b\\c\nd': model_report()}))
    assert 'model="a\\"b\\\\c\\nd"' in text
    samples(text)


@pytest.mark.parametrize("path", ["prometheus/alerts.yaml", "grafana/model-prep.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_are_written(path: str) -> None:
    text = (ROOT / "deploy" / path).read_text(encoding="utf-8")
    asked = set(re.findall(r"model_prep_\w+", text))
    assert len(asked) >= 4
    assert asked <= set(HELP)
    if path.endswith(".json"):
        panels = json.loads(text)["panels"]
        assert all(panel["targets"] for panel in panels)
