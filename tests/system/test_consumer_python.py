"""Other people's interpreters: the same loads in a Python that has nothing of this project.

The two environments of `make consumers` are real services'; here are the cheap proofs.
"""

import sys
import venv
from pathlib import Path

import pytest

from prep.errors import WrongRequest
from prep.settings import GivenOptions, resolve_settings
from tests.support.paths import ROOT
from tests.support.runs import TINY, copy_home, sample, summary

THEIRS = ("-m", "load", "-k", "python")  # what loads in our own interpreter is another test's


def labels(*pythons: Path) -> list[str]:
    settings = resolve_settings(GivenOptions(hub="sample", consumer_pythons=pythons), {}, ROOT)
    return [interpreter.label for interpreter in settings.interpreters]


def python_in(folder: Path) -> Path:
    """What counts as an interpreter: a file that may be run."""
    path = folder / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def test_label_is_the_environments_folder_and_what_is_above_a_vague_one(tmp_path: Path) -> None:
    folders = ("search", "search app", "srv/search/venv", "srv/index/.venv", "other/search")
    pythons = [python_in(tmp_path / folder) for folder in folders]
    wanted = ["search", "search-app", "search-venv", "index-.venv", "search-2"]
    assert labels(*pythons) == wanted
    assert labels(pythons[0], pythons[0]) == ["search"]


def test_what_is_no_interpreter_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(WrongRequest, match=f"--consumer-python {path} is not an interpreter"):
            labels(path)


def test_own_interpreter_makes_every_load_by_the_packed_probe(
    tmp_path: Path, prepared: Path
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    done = sample(home, "--consumer-python", sys.executable)
    assert done.code == 0, done.out
    model = summary(home)["models"][TINY]
    [label] = model["interpreters"]
    theirs = {name for name in model["loads"] if name.endswith(f":python={label}")}
    ours = {name for name in model["loads"] if "python=" not in name}
    assert theirs == {f"{name}:python={label}" for name in ours}
    assert all("seconds" in model["loads"][name] for name in theirs)
    assert model["interpreters"][label]["python"] == sys.executable
    assert model["interpreters"][label]["not-tried"] == {}
    assert model["status"] == "ready"


def test_interpreter_that_can_be_no_consumer_is_red_once_and_says_why(
    tmp_path: Path, prepared: Path
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    done = sample(home, "--consumer-python", python, *THEIRS)
    assert done.code == 1, done.out
    [cause] = summary(home)["models"][TINY]["causes"]
    problem = cause["text"]
    assert problem == (
        f"{TINY}: {python} can be none of its consumers (5 problems):\n"
        "  transformers  not installed: torch, transformers\n"
        "  sentence-transformers  not installed: sentence_transformers\n"
        "  optimum-intel  not installed: optimum.intel, openvino\n"
        "  sentence-transformers-openvino  not installed: sentence_transformers, optimum.intel, "
        "openvino\n"
        "  openvino-genai  not installed: torch, transformers, openvino_genai\n"
        "Give the Python of a service that reads this model, or choose other models with --models."
    )


def test_what_is_no_python_at_all_is_red_and_says_so(tmp_path: Path, prepared: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    done = sample(home, "--consumer-python", "/bin/false", *THEIRS)
    assert done.code == 1, done.out
    [cause] = summary(home)["models"][TINY]["causes"]
    problem = cause["text"]
    assert problem.startswith(f"{TINY}: /bin/false cannot run the probe: ")
    assert "Give the Python 3.9 or newer" in problem


def test_library_that_is_broken_there_is_red_and_not_missing(
    tmp_path: Path, prepared: Path
) -> None:
    """`not tried` is for what is absent; what is there and cannot be imported fails its loads."""
    home = copy_home(prepared, tmp_path / "home")
    venv.create(tmp_path / "torn", symlinks=True)
    python = tmp_path / "torn" / "bin" / "python"
    [packages] = (tmp_path / "torn" / "lib").glob("python*/site-packages")
    for name in ("torch", "transformers"):
        (packages / f"{name}.py").write_text("raise ImportError('torn apart')\n")
    done = sample(home, "--consumer-python", python, *THEIRS)
    assert done.code == 1, done.out
    causes = summary(home)["models"][TINY]["causes"]
    problems = "\n".join(cause["text"] for cause in causes)
    assert f"{TINY}: loading by transformers:name:python=torn failed: ImportError" in problems
    assert "torn apart" in problems
    assert "sentence-transformers (not installed: sentence_transformers)" in done.said
