"""The plan says what a run would do, with real sizes, and does nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from prep.fetch.spans import Spans, record_of, record_place
from sample_hub.server import Hub
from tests.support.paths import ROOT
from tests.support.runs import TINY, TINY_REPO, copy_home, in_namespace, listing, sample

SCHEMA = json.loads((ROOT / "docs" / "plan.schema.json").read_text(encoding="utf-8"))
NO_HUB = "http://127.0.0.1:9"


def plan(home: Path, *args: str, code: int = 0, **how: Any) -> dict[str, Any]:
    """The plan for programs, held against its schema."""
    done = sample(home, "--dry-run=json", *args, **how)
    assert done.code == code, done.out
    content: dict[str, Any] = json.loads(done.out[done.out.index("{") :])
    Draft202012Validator(SCHEMA).validate(content)
    assert content["exit"] == code
    return content


def test_an_empty_home_is_planned_whole_and_stays_empty(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    done = sample(home, "--dry-run", hub=hub.url)
    assert done.code == 0, done.out
    assert done.out.startswith(f"plan for {home} (from sizes and receipts; not digested)\n")
    table = [line.split() for line in done.out.splitlines()[2:5]]
    assert table[1][:3] == [TINY, "ccc4049cb5dc", "0"]
    assert table[1][-3:] == ["0.4", "MB", "unknown"]
    assert table[2][:2] == ["int8", "convert"]
    assert "fetch model.safetensors 389832 bytes" in done.said
    assert "convert int8" in done.said
    assert "to fetch: 400015 bytes; to adopt: 0 bytes;" in done.out
    assert not home.exists()

    content = plan(home, hub=hub.url)
    [model] = content["models"]
    assert (model["fetch-bytes"], len(model["missing"]), model["fetch-seconds"]) == (
        400015,
        10,
        None,
    )
    assert model["ref"] == {"from": None, "to": model["commit"]}
    [int8] = model["precisions"]
    assert (int8["action"], int8["known-from"], int8["seconds"]) == ("convert", "computed", None)
    assert not home.exists()


def test_a_prepared_home_needs_nothing_and_asks_nobody(prepared: Path, hub: Hub) -> None:
    before = listing(prepared)
    done = sample(prepared, "--dry-run", hub=hub.url)
    assert done.code == 0, done.out
    assert "10 of 10 files nothing original keep 0.4 MB 0 s int8 keep 0.3 MB 0 s" in done.said
    content = plan(prepared, hub=hub.url)
    [model] = content["models"]
    assert (model["missing"], model["fetch-bytes"], content["problems"]) == ([], 0, [])
    assert model["precisions"][0]["known-from"] == "receipt"
    assert (hub.requests, listing(prepared)) == ([], before)


def test_what_was_made_here_before_says_how_long_it_takes(prepared: Path, tmp_path: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    place = home / "openvino" / TINY_REPO.replace("/", "--")
    receipt = json.loads((place / "int8" / "receipt.json").read_text())
    (place / "int8").resolve().rename(place / ("0" * 64))  # as by other tools
    (place / "int8").unlink()
    next(home.glob("hub/*/snapshots/*/model.safetensors")).resolve().unlink()
    [model] = plan(home, code=75)["models"]
    assert [file["path"] for file in model["missing"]] == ["model.safetensors"]
    assert model["fetch-seconds"] > 0
    [int8] = model["precisions"]
    assert int8["action"].startswith("convert")
    assert (int8["seconds"], int8["memory"], int8["known-from"]) == (
        receipt["made"]["seconds"],
        receipt["made"]["peak-bytes"],
        "receipt",
    )


def test_what_an_earlier_run_left_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    [model] = plan(home, hub=hub.url)["models"]
    weights = next(file for file in model["missing"] if file["path"] == "model.safetensors")
    lock = (ROOT / "sample_hub" / "models.lock.toml").read_text()
    sha = lock.split(f"size = {weights['size']}", 1)[1].split('"')[1]
    (home / "model-prep" / "partial").mkdir(parents=True)
    part, size = home / "model-prep" / "partial" / sha, weights["size"]
    part.write_bytes(b"x" * 100_000)
    [model] = plan(home, hub=hub.url)["models"]
    assert model["fetch-bytes"] == 300015
    ranges = record_of(Spans(size, [(0, 40_000), (200_000, 260_000)]))
    part.write_bytes(bytes(record_place(size)) + ranges)
    [model] = plan(home, hub=hub.url)["models"]
    assert model["fetch-bytes"] == 300015


def test_a_hub_that_does_not_answer_can_pass(tmp_path: Path) -> None:
    content = plan(tmp_path / "home", code=75)
    [problem] = content["problems"]
    assert problem["models"] == [TINY]
    assert "connection refused" in problem["text"]
    assert (
        "cannot work: tiny-embedding: hub unreachable: 127.0.0.1:9"
        in sample(tmp_path / "home", "--dry-run").out
    )


def test_offline_nothing_can_be_fetched_or_made(tmp_path: Path, prepared: Path) -> None:
    content = plan(tmp_path / "home", "--offline", code=1)
    assert [problem["text"] for problem in content["problems"]] == [
        "its files are not what the lock says; --offline repairs nothing",
        "int8 is missing or corrupt; --offline makes none",
    ]
    assert content["hub"] is None
    assert plan(prepared, "--offline")["problems"] == []
    unconverted = copy_home(prepared, tmp_path / "unconverted")
    shutil.rmtree(unconverted / "openvino")
    done = sample(unconverted, "--dry-run", "--offline")
    assert done.code == 1
    assert f"cannot work: {TINY}: int8 is missing or corrupt; --offline makes none" in done.out


def test_a_disk_that_is_too_small_cannot_work(tmp_path: Path, hub: Hub) -> None:
    script = 'mkdir "$0" && mount -t tmpfs -o size=200k none "$0" && exec "$@"'
    home = tmp_path / "small"
    prefix = (*in_namespace("--mount"), "sh", "-c", script, str(home))
    content = plan(home, code=1, hub=hub.url, prefix=prefix)
    assert content["free-bytes"] == 204800
    [problem] = content["problems"]
    assert problem["text"].startswith(f"no space left: {home} has 204800 bytes free, ")


def test_json_is_not_for_cleanup(tmp_path: Path) -> None:
    done = sample(tmp_path, "--dry-run=json", "--cleanup")
    assert done.code == 4
    assert "--dry-run=json is for a run and for --relock" in done.out
