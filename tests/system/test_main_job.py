"""The main job, as a person meets it: prepare, prove, run again, run side by side, run offline."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from sample_hub.server import Hub
from tests.support.runs import (
    CHECKS,
    ROOT,
    SAMPLE,
    TINY,
    TINY_REPO,
    command,
    copy_home,
    environment,
    in_namespace,
    listing,
    run,
    sample,
    status,
    summary,
    write_lock,
)

THREE = (TINY, "tiny-reranker", "tiny-seq2seq")
LOAD_BY_NAME = f"""
import socket, sys
from transformers import AutoModel, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("{TINY_REPO}")
model = AutoModel.from_pretrained("{TINY_REPO}")
sys.stdout.write(str(model(**tokenizer("turn on the lamp", return_tensors="pt"))[0].shape[-1]))
"""


def test_prepares_and_leaves_a_model_that_loads_by_name_without_network(
    tmp_path: Path, first_run: Path
) -> None:
    home, junit = first_run / "home", first_run / "junit.xml"
    said = (first_run / "out").read_text(encoding="utf-8")
    assert f"{TINY} ready" in said
    assert "converted int8" in said
    model = summary(home)["models"][TINY]
    assert model["status"] == "ready"
    assert model["fetched-bytes"] == model["bytes"] == 400015
    assert Path(model["precisions"]["int8"]["path"], "openvino_model.xml").is_file()
    assert (home / "model-prep" / "report.html").read_text().startswith("<!doctype html>")

    rows = list(ET.parse(junit).iter("testcase"))
    assert len(rows) == CHECKS
    given = [{item.get("name"): item.get("value") for item in row.iter("property")} for row in rows]
    assert all(properties["model"] == TINY for properties in given)
    [pinned] = [properties for properties in given if "commit" in properties]
    assert (pinned["commit"], pinned["bytes"], pinned["status"]) == (
        model["commit"],
        "400015",
        "ready",
    )
    assert pinned["network-cut"] == "network namespace"
    assert pinned["version.transformers"] == model["versions"]["transformers"]
    loaded = [properties for properties in given if "seconds.loaded" in properties]
    assert len(loaded) == len(model["loads"])
    assert sum("agreement" in properties for properties in given) == 1
    assert junit.stat().st_size < 150_000, "of each model"

    alone = subprocess.run(
        [*in_namespace("--net"), sys.executable, "-c", LOAD_BY_NAME],
        env=environment(HF_HOME=str(home), HF_HUB_OFFLINE="1", HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (alone.returncode, alone.stdout) == (0, "64"), alone.stderr


def test_second_run_fetches_and_converts_nothing_and_asks_nobody(
    tmp_path: Path, prepared: Path, hub: Hub
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    before = listing(home / "hub") | listing(home / "openvino")
    again = sample(home, hub=hub.url)
    assert again.code == 0, again.out
    assert "fetched 0 bytes, converted nothing" in again.said
    assert hub.requests == []
    assert listing(home / "hub") | listing(home / "openvino") == before
    assert status(home) == "ready"


def test_two_processes_at_once_do_each_thing_once(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    chosen = ("--catalogue", SAMPLE, "--models", TINY)
    args = command(*chosen, "--hub", hub.url, "--model-home", home, "-m", "conversion")
    both = [
        subprocess.Popen(args, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(outs)
    assert fetched_once(hub)
    assert len(conversions(home)) == 1


def test_workers_prepare_models_side_by_side_and_each_once(tmp_path: Path, hub: Hub) -> None:
    catalogue = two_models(tmp_path)
    home = tmp_path / "home"
    write_lock(catalogue, "--hub", hub.url)
    hub.requests.clear()
    given = ("--catalogue", catalogue, "--hub", hub.url, "--model-home", home)
    done = run(*given, "-n", "2", "-v", "-m", "pins or layout or conversion")
    assert done.code == 0, done.out
    passed = re.findall(r"^\[(gw\d)\] \[ *\d+%\] PASSED \S+\[(one|two)\b", done.out, re.MULTILINE)
    assert len(passed) == 2 * 17
    assert len(set(passed)) == 2, "each model stays on one worker"
    assert len({worker for worker, _ in passed}) == 2, "side by side"
    assert len(conversions(home)) == 1  # two entries of one repository share their files
    assert fetched_once(hub)


def test_three_tasks_are_prepared_side_by_side_and_once(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    first = sample(home, "-n", "2", hub=hub.url, models=None)
    assert first.code == 0, first.out
    models = summary(home)["models"]
    assert {name: model["status"] for name, model in models.items()} == dict.fromkeys(
        THREE, "ready"
    )
    assert [model["precisions"]["int8"]["made"] for model in models.values()] == [True] * 3
    assert len(conversions(home)) == 3


def test_offline_passes_on_read_only_mounts_and_writes_nothing(
    tmp_path: Path, prepared: Path
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    before = listing(home)
    script = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && '
        'mount --bind "$2" "$2" && mount -o remount,ro,bind "$2" && cd "$2" && '
        '! touch "$1/x" 2>/dev/null && ! touch "$2/x" 2>/dev/null && shift 2 && exec "$@"'
    )
    done = sample(
        home,
        "--offline",
        f"--junitxml={tmp_path / 'junit.xml'}",
        prefix=(*in_namespace("--mount"), "sh", "-c", script, "sh", str(home), str(ROOT)),
    )
    assert done.code == 0, done.out
    assert f"{CHECKS} passed" in done.said
    assert f"{TINY} ready" in done.said
    assert listing(home) == before


def fetched_once(hub: Hub) -> bool:
    """Whether the hub sent each file's bytes exactly once."""
    bodies = [
        request
        for request in hub.requests
        if request.method == "GET" and request.status in (200, 206)
    ]
    files = [body.path for body in bodies if body.sent and body.kind in ("resolve-cache", "cdn")]
    return len(files) == len(set(files)) == 10


def conversions(home: Path) -> list[str]:
    """The conversions that the ledger knows."""
    lines = (home / "model-prep" / "placed.jsonl").read_text(encoding="utf-8").splitlines()
    placed = [json.loads(line) for line in lines]
    return [line["path"] for line in placed if line["what"] == "conversion"]


def two_models(folder: Path) -> Path:
    """A catalogue with two entries, which tests can tell apart by name only."""
    entry = f"""
[[models]]
name = "NAME"
repo = "{TINY_REPO}"
revision = "main"
task = "embedding"
precisions = ["int8"]
why = "stands beside the other one"
"""
    path = folder / "two.toml"
    entries = entry.replace("NAME", "one") + entry.replace("NAME", "two")
    path.write_text(f"catalogue-version = 1\n{entries}", encoding="utf-8")
    return path
