"""Dashboards' own readers read what real runs leave: ``make dashboards-test``.

Of a ready, a repaired, a failed and a transient run: junitparser and an XSD read junit and
verdict.xml, Allure 3 and datadog-ci (npm: ``READERS`` names their folder) verdict.xml, promtool
(Debian's prometheus) the metrics and the alerts. What they show is kept in reports/dashboards-*.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped

from sample_hub.server import Hub, sample_repos
from tests.proofs.conftest import Keep
from tests.support.paths import ROOT
from tests.support.runs import TINY, Run, copy_home, environment, process, sample
from tests.support.small_homes import flip

KINDS = {Failure: "failure", Error: "error", Skipped: "skipped"}
SCHEMA = Path(__file__).with_name("junit.xsd")
NAMES = ("ready", "repaired", "failed", "transient")
CODES = {"ready": 0, "repaired": 0, "failed": 1, "transient": 75}
CAUSES: Mapping[str, Mapping[str, int]] = {
    "ready": {},
    "repaired": {},
    "failed": {"failure": 1},
    "transient": {"error": 3},
}


@dataclass(frozen=True)
class Reports:
    """The files of one run, which ended with that code."""

    junit: Path
    verdict: Path
    metrics: Path
    run: Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Reports]:
    """Real runs of the sample models; the failed one has one corrupt file."""
    top = tmp_path_factory.mktemp("dashboards")
    made: dict[str, Reports] = {}

    def run(name: str, home: Path, *args: str, **how: Any) -> None:
        junit, verdict, metrics = (top / f"{name}.{kind}" for kind in ("junit", "verdict", "prom"))
        options = (f"--junitxml={junit}", f"--verdict-xml={verdict}", f"--metrics={metrics}")
        done = sample(home, *args, *options, **how)
        made[name] = Reports(junit, verdict, metrics, done)

    home = top / "home"
    with Hub(sample_repos()) as hub:
        run("ready", home, hub=hub.url, models=None)
        repairing = copy_home(home, top / "repairing")
        damage(repairing)
        run("repaired", repairing, hub=hub.url)
    damage(home)
    run("failed", home, "--offline")
    run("transient", top / "none", models=None)
    return made


def damage(home: Path) -> None:
    [weights] = home.glob(f"hub/models--*{TINY}/snapshots/*/model.safetensors")
    flip(weights.resolve())


def counts(path: Path) -> dict[str, dict[str, int]]:
    """The results by suite, as junitparser reads them."""
    found: dict[str, Counter[str]] = {}
    for suite in JUnitXml.fromfile(str(path)):
        for case in suite:
            kinds = [KINDS[type(result)] for result in case.result] or ["passed"]
            found.setdefault(suite.name, Counter()).update(kinds)
    return {name: dict(sorted(results.items())) for name, results in found.items()}


def causes(path: Path) -> list[str]:
    """The lines of the causes."""
    results = [
        result for suite in JUnitXml.fromfile(str(path)) for case in suite for result in case.result
    ]
    return [result.message for result in results if not isinstance(result, Skipped)]


@pytest.mark.parametrize("name", NAMES)
def test_both_files_are_read_and_show_each_cause_once(
    runs: Mapping[str, Reports], name: str, keep: Keep
) -> None:
    reports = runs[name]
    assert reports.run.code == CODES[name], reports.run.out
    schema = xmlschema.XMLSchema(str(SCHEMA))
    for path in (reports.junit, reports.verdict):
        assert [error.reason for error in schema.iter_errors(str(path))] == []
        found: Counter[str] = Counter()
        for results in counts(path).values():
            found.update(results)
        bad = {kind: count for kind, count in found.items() if kind in ("failure", "error")}
        assert bad == CAUSES[name], counts(path)
        assert all(len(line) <= 120 for line in causes(path))
    assert causes(reports.junit) == causes(reports.verdict)
    models = counts(reports.verdict)
    assert len(models) == (1 if name == "failed" else 3), "of the summary, also where one was run"
    assert reports.junit.stat().st_size < 150_000 * len(models)
    assert max(sum(results.values()) for results in models.values()) <= 14
    shown = {
        "junit": counts(reports.junit),
        "verdict.xml": models,
        "causes": causes(reports.verdict),
    }
    keep(f"dashboards-{name}.json", shown)


def reader(program: str) -> Path:
    """A program of the folder that ``make`` installed the readers into."""
    found = Path(os.environ.get("READERS", "")) / "node_modules" / ".bin" / program
    if not found.exists():
        pytest.fail(f"needs {program}: make dashboards-test", pytrace=False)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_allure_shows_models_and_tells_transient_from_permanent(
    runs: Mapping[str, Reports], name: str, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(runs[name].verdict, tmp_path / "results" / "verdict.xml")
    out = tmp_path / "report"
    done = process(reader("allure"), "generate", tmp_path / "results", "-o", out, cwd=tmp_path)
    assert done.code == 0, done.out
    shown = [
        json.loads(path.read_text()) for path in (out / "data" / "test-results").glob("*.json")
    ]
    assert len(shown) == sum(
        sum(results.values()) for results in counts(runs[name].verdict).values()
    )
    bad = [test for test in shown if test["status"] in ("failed", "broken")]
    status = {"failure": "failed", "error": "broken"}
    assert Counter(test["status"] for test in bad) == {
        status[kind]: count for kind, count in CAUSES[name].items()
    }
    assert sorted(test["error"]["message"] for test in bad) == sorted(causes(runs[name].verdict))
    suites = {
        label["value"] for test in shown for label in test["labels"] if label["name"] == "suite"
    }
    assert suites == set(counts(runs[name].verdict)), "by model"


@pytest.mark.parametrize("name", NAMES)
def test_datadog_takes_both_files(runs: Mapping[str, Reports], name: str, tmp_path: Path) -> None:
    for path in (runs[name].junit, runs[name].verdict):
        shutil.copy(path, tmp_path / f"{path.name}.xml")
    (tmp_path / "torn.xml").write_text("<testsuites><testsuite")
    args = ("junit", "upload", "--dry-run", "--skip-git-metadata-upload", "--service", "models")
    env = environment(DATADOG_API_KEY="none", DD_API_KEY="none")
    done = process(reader("datadog-ci"), *args, tmp_path, cwd=tmp_path, env=env)
    assert done.code == 0, done.out
    assert "Uploaded 2 files" in done.out, "the torn one alone is refused"
    assert "torn.xml" in done.out


def promtool(*args: str | Path, stdin: Path | None = None) -> Run:
    if shutil.which("promtool") is None:
        pytest.fail("needs promtool: apt install prometheus", pytrace=False)
    command = ["promtool", *map(str, args)]
    if stdin is not None:
        return process("sh", "-c", f'"$@" < "{stdin}"', "sh", *command)
    return process(*command)


@pytest.mark.parametrize("name", NAMES)
def test_prometheus_takes_the_metrics(runs: Mapping[str, Reports], name: str) -> None:
    done = promtool("check", "metrics", stdin=runs[name].metrics)
    assert (done.code, done.out) == (0, "")


def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    alerts = ROOT / "deploy" / "prometheus" / "alerts.yaml"
    done = promtool("check", "rules", alerts)
    assert (done.code, "4 rules found" in done.out) == (0, True), done.out
    torn = tmp_path / "torn.prom"
    torn.write_text("model_prep_ready{model=} 1\n")
    assert promtool("check", "metrics", stdin=torn).code != 0
    cases = Path(__file__).with_name("alerts_test.yaml")
    done = promtool("test", "rules", cases)
    assert done.code == 0, done.out
