"""Runs that are interrupted, each on a home that is ready, and what must be so afterwards."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

from prep.home.layout import Home
from sample_hub.server import Hub, sample_repos
from tests.support.interruptions.ways import FIRST, A, Way
from tests.support.runs import SAMPLE, TINY, TINY_REPO, Run, run, status

VERDICTS = ("summary.json", "ready.json")
CONSUMERS = '["sentence-transformers", "optimum-intel"]'  # eight loads are enough


def prepare(folder: Path) -> Path:
    """A home that is ready, beside a catalogue of one sample with some consumers."""
    entry = SAMPLE.read_text(encoding="utf-8").partition('\n[[models]]\nname = "tiny-reranker"')[0]
    catalogue = folder / "models.toml"
    catalogue.write_text(f"{entry}consumers = {CONSUMERS}\n", encoding="utf-8")
    whole = SAMPLE.with_name("models.lock.toml").read_text(encoding="utf-8")
    kept = whole.partition('[[models]]\nname = "tiny-reranker"')[0]
    catalogue.with_name("models.lock.toml").write_text(kept, encoding="utf-8")
    with Hub(sample_repos()) as hub:
        done = suite(folder, folder / "home", "--hub", hub.url)
    assert done.code == 0, done.out
    assert status(folder / "home") == "ready"
    (folder / "ready").mkdir()
    for name in VERDICTS:
        shutil.copyfile(folder / "home" / "model-prep" / name, folder / "ready" / name)
    return folder


def suite(folder: Path, home: Path, *args: str | Path, **env: str) -> Run:
    return run("--catalogue", folder / "models.toml", "--model-home", home, *args, env=env)


def interrupted(prepared: Path, to: Path, way: Way) -> tuple[Run, Path]:
    """A run on the home with the verdict `ready` and no hub to ask, interrupted in this way."""
    home = prepared / "home"
    for name in VERDICTS:
        shutil.copyfile(prepared / "ready" / name, home / "model-prep" / name)
    folder = Home(home).stable(TINY_REPO, "int8")
    plan = {"how": way.how, "load": A, "gone": way.gone, "folder": str(folder)}
    plan["once"] = str(to / "interrupted")
    junit = ("--junitxml", to / "junit.xml", "-p", "tests.support.interruptions.plugin")
    done = suite(
        prepared,
        home,
        *("--hub", "http://127.0.0.1:9", *junit, *way.args),
        INTERRUPT=json.dumps({key: value for key, value in plan.items() if value}),
    )
    return done, home


def outcomes(junit: Path) -> dict[str, dict[str, bool]]:
    """By load, then by test: whether it failed. Only tests that were judged, or not reached."""
    found: dict[str, dict[str, bool]] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        name, bracket, load = (case.get("name") or "").rstrip("]").partition(f"[{TINY}:")
        if bracket:
            bad = [*case.findall("failure"), *case.findall("error"), *case.findall("skipped")]
            failed = any(
                element.tag != "skipped" or element.get("message", "").startswith("not reached: ")
                for element in bad
            )
            tests = found.setdefault(load, {})
            tests[name] = tests.get(name, False) or failed
    return found


def ready_status(home: Path) -> str:
    data = json.loads((home / "model-prep" / "ready.json").read_text(encoding="utf-8"))
    found: str = data["models"][TINY]["status"]
    return found


def hold(done: Run, home: Path, junit: Path, way: Way) -> None:
    """What must be so, whatever the way was."""
    assert done.code == way.code, done.out
    assert way.words in done.said, done.out
    if junit.exists():
        for load, tests in outcomes(junit).items():
            failed = {name for name, failed in tests.items() if failed}
            if load == A and way.first_of_a_alone and A in way.failed:
                assert failed == {FIRST}, done.out
            elif load in way.failed:
                assert failed == set(tests), done.out
            else:
                assert not failed, (load, done.out)
    else:
        assert way.ends, done.out
    assert status(home) == way.status, done.out
    assert ready_status(home) == way.status, done.out
