"""The entry point: which runs ask for the suite, and with which arguments they go on."""

import subprocess
import sys
import tomllib
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path

import pytest

from prep.plugin import entry
from tests.support.paths import ROOT
from tests.support.runs import environment


@pytest.mark.parametrize(
    ("place", "pyargs", "asked"),
    [
        ("model_tests", True, True),
        ("model_tests.test_pins", True, True),
        ("model_tests.test_pins::test_a[tiny:int8]", True, True),
        ("model_tests_of_mine", True, False),
        ("mine.model_tests", True, False),
        (f"{ROOT}/model_tests", False, True),
        (f"{ROOT}/model_tests/test_pins.py::test_a[tiny]", False, True),
        (f"{ROOT}/docs/../model_tests", False, True),
        ("model_tests", False, False),  # a folder of that name in another place
        ("model_tests/none.py", False, False),
        (f"{ROOT}/tests", False, False),
        ("tests", True, False),
    ],
)
def test_a_place_is_of_the_suite(tmp_path: Path, place: str, pyargs: bool, asked: bool) -> None:
    (tmp_path / "model_tests").mkdir()
    assert entry.is_suite(place, tmp_path, pyargs) == asked


def test_a_place_is_of_the_suite_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    assert entry.is_suite("link/model_tests", tmp_path, pyargs=False)


@pytest.mark.parametrize(
    ("args", "joined"),
    [
        (["--model-home", "there", "-v"], ["--model-home=there", "-v"]),
        (["--model-home=there", "there"], ["--model-home=there", "there"]),
        (["--model-home", "there", "there"], ["--model-home=there", "there"]),
        (["--model-home", "-v"], ["--model-home", "-v"]),
        (["--model-home"], ["--model-home"]),
        (["--model-home", "not-there"], ["--model-home", "not-there"]),
        (["--report", "there"], ["--report", "there"]),
    ],
    ids=str,
)
def test_existing_paths_are_joined_to_named_options(
    tmp_path: Path, args: list[str], joined: list[str]
) -> None:
    (tmp_path / "there").touch()
    assert entry.join_values(args, frozenset(("--model-home",)), tmp_path) == joined


def test_a_command_that_does_not_ask_is_told_what_to_write() -> None:
    assert entry.not_asked(["--relock", "--models"], ["--relock", "--models=a b", "tests"]) == (
        "unknown here: --relock, --models. For model-prep, write `pytest --pyargs model_tests "
        "--relock '--models=a b' tests`, and each option in PYTEST_ADDOPTS as --option=value."
    )


def test_it_knows_the_settings_of_pytest_ini() -> None:
    ini = ConfigParser()
    ini.read(ROOT / "pytest.ini")
    said = ini["pytest"]["addopts"].split()
    pairs = [*pairwise(entry.SETTINGS)]
    assert {pair for pair in pairwise(said) if pair[0] == "-p"} <= {*pairs}
    assert [word for word in said if word.startswith("--")] == ["--import-mode=importlib"]
    assert "--import-mode=importlib" in entry.SETTINGS
    assert ini["pytest"]["strict"] == "true"
    assert ("-o", "strict=true") in pairs


def test_it_is_the_entry_point_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"model-prep": entry.__name__}


def test_it_imports_only_pytest_and_the_standard_library() -> None:
    script = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import prep.plugin.entry\n"
        "new = {name for name in set(sys.modules) - before if name.split('.')[0] not in"
        " sys.stdlib_module_names}\n"
        "print(sorted(new))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['prep', 'prep.plugin', 'prep.plugin.entry']\n"
