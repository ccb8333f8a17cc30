"""junit and verdict.xml of whole runs: one cause is one failure, and no verdict is weaker for it.

`make dashboards-test` asks the readers themselves.
"""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.runs import FILES_ONLY, TINY, copy_home, read_summary, sample
from tests.support.small_homes import flip

TAGS = ("failure", "error", "skipped")


def results(path: Path) -> Counter[str]:
    """How many cases came out how; no name stands twice."""
    cases = list(ET.parse(path).iter("testcase"))
    names = Counter((case.get("classname"), case.get("name")) for case in cases)
    assert max(names.values()) == 1
    return Counter(
        next((tag for tag in TAGS if case.find(tag) is not None), "passed") for case in cases
    )


def failures(path: Path) -> list[ET.Element]:
    return [found for tag in ("failure", "error") for found in ET.parse(path).getroot().iter(tag)]


def skips(path: Path) -> set[str]:
    return {element.get("message", "") for element in ET.parse(path).iter("skipped")}


def weights_of(home: Path) -> Path:
    [weights] = home.glob(f"hub/models--*{TINY}/snapshots/*/model.safetensors")
    return weights


def test_one_corrupt_file_is_one_failure(tmp_path: Path, prepared: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    flip(weights_of(home).resolve())
    junit, verdict = tmp_path / "junit.xml", tmp_path / "verdict.xml"
    where = (f"--junitxml={junit}", f"--verdict-xml={verdict}", f"--metrics={tmp_path / 'prom'}")
    done = sample(home, "--offline", *where, f"--summary={tmp_path / 'summary.json'}")
    assert done.code == 1, done.out
    for path in (junit, verdict):
        found = results(path)
        assert (found["failure"], found["error"]) == (1, 0)
        [failure] = failures(path)
        line, text = failure.get("message", ""), failure.text or ""
        assert text.startswith(f"{line}\n") and len(line) <= 120
        assert line.startswith(f"{TINY} is not what the lock says in ")
        assert "corrupt model.safetensors" in line
        assert "The lock is the authority." in text
    assert results(junit)["skipped"] > 50
    [behind] = skips(junit)
    assert behind.startswith(f"not reached: checksum mismatch: {TINY}: fetched: corrupt model.safe")
    assert junit.stat().st_size < 150_000
    model = read_summary(tmp_path / "summary.json")["models"][TINY]
    assert model["status"] == "failed"
    assert model["tests"]["failed"] == 1
    assert model["tests"]["not-reached"] == results(junit)["skipped"]
    assert 'model_prep_ready{model="tiny-embedding",task="embedding"} 0' in (
        (tmp_path / "prom").read_text()
    )


def test_two_faults_of_one_model_are_two_failures(tmp_path: Path, prepared: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    flip(weights_of(home).resolve())
    weights_of(home).with_name("config.json").resolve().chmod(0o600)
    junit = tmp_path / "junit.xml"
    done = sample(home, "--offline", f"--junitxml={junit}")
    assert (done.code, results(junit)["failure"]) == (1, 2), done.out
    texts = "".join(failure.text or "" for failure in failures(junit))
    assert "corrupt      model.safetensors" in texts
    assert "cannot be read by other users" in texts


@pytest.mark.parametrize("level", ["load", "answers"])
def test_a_cause_whose_own_test_was_not_chosen_is_reported_once(
    tmp_path: Path, prepared: Path, level: str
) -> None:
    """Else there would be a failed run without a failure, which dashboards show as passed."""
    home = copy_home(prepared, tmp_path / "home")
    flip(weights_of(home).resolve())
    junit = tmp_path / "junit.xml"
    done = sample(home, "--offline", "-m", level, f"--junitxml={junit}")
    assert done.code == 1, done.out
    assert set(results(junit)) == {"failure", "skipped"}
    [failure] = failures(junit)
    assert failure.get("type") == "ChecksumMismatch"
    assert failure.get("message", "").startswith(f"checksum mismatch: {TINY}: fetched: corrupt ")
    assert "without -m and -k" in (failure.text or "")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_an_unreachable_hub_is_one_error_a_model(tmp_path: Path, workers: tuple[str, ...]) -> None:
    home, junit = tmp_path / "home", tmp_path / "junit.xml"
    done = sample(home, *workers, f"--junitxml={junit}", models=None)
    assert done.code == 75, done.out
    found = results(junit)
    assert (found["error"], found["failure"]) == (3, 0)
    assert found["passed"] == 3, "that the lock answers the catalogue needs no hub"
    models = sorted((error.get("message") or "").split(": ")[1] for error in failures(junit))
    assert models == ["tiny-embedding", "tiny-reranker", "tiny-seq2seq"]
    assert {error.get("type") for error in failures(junit)} == {"PreflightTransient"}
    verdict = home / "model-prep" / "verdict.xml"
    suites = list(ET.parse(verdict).iter("testsuite"))
    assert [suite.get("name") for suite in suites] == models
    assert [(suite.get("errors"), suite.get("failures")) for suite in suites] == [("1", "0")] * 3
    read_summary(home / "model-prep" / "summary.json")


def test_the_table_of_a_github_job(tmp_path: Path, prepared: Path) -> None:
    steps = tmp_path / "steps.md"
    steps.write_text("an earlier step\n")
    env = {"GITHUB_STEP_SUMMARY": str(steps)}
    done = sample(prepared, "--offline", *FILES_ONLY, env=env)
    assert done.code == 0, done.out
    text = steps.read_text()
    assert text.startswith("an earlier step\n### model-prep ")
    assert f"| {TINY} | ➖ unchecked | " in text
    closed = {"GITHUB_STEP_SUMMARY": str(tmp_path / "none" / "steps.md")}
    done = sample(prepared, "--offline", *FILES_ONLY, env=closed)
    assert done.code == 0, "nobody takes an older table for this run's"
    assert "GITHUB_STEP_SUMMARY could not be written: " in done.out
