"""Installed from a wheel: inert in other people's runs, and the suite runs in any directory."""

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.runs import FILES_ONLY, SAMPLE, TINY, Run, copy_home, environment, read_summary

PACKAGES = ("prep", "model_tests", "sample_hub")
BESIDE = ("pyproject.toml", "README.md", "LICENSE", "requirements.txt")
CHECKOUT = (*PACKAGES, *BESIDE, "conftest.py", "pytest.ini", "models.toml", "models.lock.toml")
SUITE = ("--pyargs", "model_tests")
PATHS = ("--catalogue", "--model-home", "--consumer-python", "--summary", "--report")

# Options of its own, of three kinds and with the names of ours.
CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--offline", action="store_true")
    parser.addoption("--models", type=int, default=3)
    parser.addoption("--report", choices=["short", "long"])

@pytest.fixture
def models(request):
    return request.config.getoption("--models")
"""
# What would fail a run of ours, leave tests out of it, or write beside it.
INI = """
[pytest]
addopts = -x --doctest-modules --strict-config -k nothing
python_files = check_*.py
python_functions = check_*
filterwarnings = error
"""

RunIn = Callable[..., Run]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of what a wheel is built from."""
    copy = tmp_path_factory.mktemp("clean") / "checkout"
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shutil.copytree(checkout, tmp_path_factory.mktemp("source") / "model-prep")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", out, source)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; the libraries are those of the present one."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    made = venv / "bin" / "python"
    [site] = venv.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip("--python", made, "install", "--no-deps", "--target", site, wheel)
    return made


def pip(*args: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    options = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}
    subprocess.run([*command, *map(str, args)], env=environment(**options), check=True)


@pytest.fixture(scope="module")
def run_in(python: Path) -> RunIn:
    """Run pytest of that environment in a folder, without the checkout of these tests."""

    def run(folder: Path, *args: str | Path, **env: str) -> Run:
        done = subprocess.run(
            [python, "-m", "pytest", "-p", "no:rerunfailures", *map(str, args)],
            cwd=folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(code=done.returncode, out=done.stdout, seconds=0)

    return run


@pytest.fixture(scope="module")
def empty(run_in: RunIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that was empty before the sample models were fetched there."""
    folder = tmp_path_factory.mktemp("empty")
    done = run_in(folder, *SUITE, "--hub", "sample", *FILES_ONLY, "-n", "2")
    assert done.code == 0, done.out
    return folder


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A service's repository: its own tests and settings, and a catalogue with lock and goldens."""
    folder = tmp_path / "service"
    (folder / "tests").mkdir(parents=True)
    for name in ("models.toml", "models.lock.toml"):
        shutil.copy(SAMPLE.with_name(name), folder / name)
    shutil.copytree(SAMPLE.with_name("goldens"), folder / "goldens")
    (folder / "tests" / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text(INI)
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A suite of 120 tests that has nothing to do with models; some fail."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_many.py").write_text(
        "import warnings, pytest\n"
        "@pytest.mark.parametrize('number', range(120))\n"
        "def test_number(number, models):\n"
        "    if number == 7: warnings.warn('seven')\n"
        "    if number == 8: pytest.skip('eight')\n"
        "    assert number % 50 != models\n"
    )
    return folder


def comparable(run: Run) -> str:
    """All it printed but for times and the line of plugins."""
    lines = (line for line in run.out.splitlines() if not line.startswith("plugins: "))
    return re.sub(r"in \d+\.\d+s", "in a while", "\n".join(lines))


def ids(run: Run) -> list[str]:
    return [line for line in run.out.splitlines() if "::" in line]


def home_of(run: Run) -> str:
    return run.out.partition("\nhome: ")[2].partition(", hub: ")[0]


def test_the_wheel_holds_every_file_of_its_packages(checkout: Path, wheel: Path) -> None:
    wanted = {
        str(path.relative_to(checkout))
        for name in PACKAGES
        for path in (checkout / name).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted


def test_help_shows_the_options_and_needs_no_catalogue(tmp_path: Path, run_in: RunIn) -> None:
    done = run_in(tmp_path, "--help")
    assert done.code == 0, done.out
    for option in PATHS:
        assert f"\n  {option}=" in done.out


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("-v", "--models", "4", "--offline", "--report", "long"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_another_suite_runs_as_without_the_plugin(
    foreign: Path, run_in: RunIn, args: tuple[str, ...]
) -> None:
    without = run_in(foreign, "-p", "no:model-prep", *args)
    done = run_in(foreign, *args)
    assert (done.code, comparable(done)) == (without.code, comparable(without))
    assert ("plugins: model-prep-" in done.out) == ("platform linux" in done.out)


def test_another_suite_runs_without_anything_of_ours_imported(foreign: Path, run_in: RunIn) -> None:
    (foreign / "test_many.py").write_text(
        "import sys\n"
        "def test_modules():\n"
        "    ours = sorted(name for name in sys.modules if name.split('.')[0] == 'prep')\n"
        "    assert ours == ['prep', 'prep.plugin', 'prep.plugin.entry']\n"
    )
    done = run_in(foreign)
    assert done.code == 0, done.out


def test_the_sample_models_are_fetched_in_an_empty_directory(empty: Path) -> None:
    home = empty / "models-sample"
    assert [path.name for path in empty.iterdir()] == [home.name]
    found = read_summary(home / "model-prep" / "summary.json")
    assert len(found["models"]) == 3
    assert found["home"] == str(home)
    assert (home / "model-prep" / "report.html").is_file()


def test_a_service_checks_its_own_catalogue(service: Path, empty: Path, run_in: RunIn) -> None:
    home = copy_home(empty / "models-sample", service / "models")
    args = ("--catalogue=models.toml", "--offline", "--summary", "out.json", *FILES_ONLY)
    done = run_in(service, *SUITE, *args, "--junitxml=junit.xml")
    assert done.code == 0, done.out
    assert home_of(done) == str(home)
    assert read_summary(service / "out.json")["home"] == str(home)
    assert 'classname="model_tests.test_pins"' in (service / "junit.xml").read_text()
    assert not list(service.rglob(".pytest_cache"))


def test_a_worker_that_dies_fails_its_model(
    service: Path, empty: Path, run_in: RunIn, tmp_path: Path
) -> None:
    copy_home(empty / "models-sample", service / "models")
    (tmp_path / "die.py").write_text(
        "import os\n"
        "def pytest_runtest_call(item):\n"
        "    if 'test_name_leads' in item.nodeid: os._exit(3)\n"
    )
    args = ("--models", TINY, "--offline", "--summary=out.json", *FILES_ONLY)
    done = run_in(service, *SUITE, *args, "-n", "1", "-p", "die", PYTHONPATH=str(tmp_path))
    assert done.code == 1, done.out
    [found] = read_summary(service / "out.json")["models"].values()
    assert found["status"] not in ("ready", "unchecked"), done.out


@pytest.mark.parametrize(
    "place",
    [SUITE, ("--pyargs", "model_tests.test_pins"), ("by path",), ("by ini",)],
    ids=" ".join,
)
def test_settings_of_the_directory_are_not_in_force(
    service: Path, python: Path, run_in: RunIn, place: tuple[str, ...]
) -> None:
    if place == ("by path",):
        [folder] = python.parents[1].glob("lib/python*/site-packages/model_tests")
        place = (str(folder / "test_pins.py"),)
    elif place == ("by ini",):
        text = INI.replace("-k nothing", "-k nothing --pyargs model_tests")
        (service / "pytest.ini").write_text(text)
        place = ()
    done = run_in(service, *place, "--models", TINY, "--collect-only", "-q")
    assert done.code == 0, done.out
    assert f"model_tests/test_pins.py::test_lock_answers_the_catalogue[{TINY}]" in ids(done)


def test_what_the_ini_file_says_of_our_options_is_in_force(service: Path, run_in: RunIn) -> None:
    (service / "pytest.ini").write_text(
        f"[pytest]\nmodel_home = {service}/elsewhere\nmodels = {TINY}\n"
    )
    done = run_in(service, *SUITE, "--collect-only")
    assert done.code == 0, done.out
    assert home_of(done) == f"{service}/elsewhere"
    assert f"({TINY})" in done.out


@pytest.mark.parametrize("way", ["installed", "checkout", "fixtures"])
def test_options_take_existing_paths_after_a_space(
    way: str, service: Path, checkout: Path, python: Path, run_in: RunIn, tmp_path: Path
) -> None:
    """pytest would take them for places of tests, and look there for its ini file."""
    given = tmp_path / "given"
    shutil.copytree(service, given, ignore=shutil.ignore_patterns("pytest.ini", "tests"))
    (given / "out.json").touch()
    (given / "out.html").touch()
    values = (given / "models.toml", given, python, given / "out.json", given / "out.html")
    args = [arg for pair in zip(PATHS, values, strict=True) for arg in pair]
    folder, arguments = {
        "installed": (service, SUITE),
        "checkout": (checkout, ()),
        "fixtures": (service, ("tests",)),
    }[way]
    if way == "fixtures":
        (service / "pytest.ini").unlink()
        (service / "tests" / "conftest.py").write_text('pytest_plugins = ["prep.plugin"]\n')
        (service / "tests" / "test_mine.py").write_text("def test_mine(spec, load): pass\n")
    done = run_in(folder, *arguments, "--models", TINY, "--collect-only", *args)
    assert done.code == 0, done.out
    name = "test_mine" if way == "fixtures" else "test_consumer_loads"
    assert re.search(rf"<Function {name}\[{TINY}:\S+:python=", done.out), done.out
    assert f": {given / 'models.toml'} ({TINY})" in done.out
    assert home_of(done) == str(given)


@pytest.mark.parametrize(
    ("way", "args"), [("suite", SUITE), ("fixtures", ("tests",))], ids=["suite", "fixtures"]
)
def test_a_path_does_not_move_the_home(
    way: str, args: tuple[str, ...], service: Path, python: Path, run_in: RunIn
) -> None:
    """The home is below the root, which would be the folder that holds both."""
    (service / "pytest.ini").unlink()
    (service / "tests" / "conftest.py").write_text('pytest_plugins = ["prep.plugin"]\n')
    done = run_in(service, *args, "--collect-only", "--consumer-python", python)
    assert home_of(done) == str(service / "models"), done.out


def test_an_option_of_the_environment_is_written_with_an_equals_sign(
    checkout: Path, tmp_path: Path, run_in: RunIn
) -> None:
    done = run_in(checkout, "--offline", PYTEST_ADDOPTS=f"--model-home {tmp_path}")
    assert done.code == 4
    assert done.out.strip() == (
        "ERROR: unknown here: --model-home, --offline. For model-prep, write `pytest --pyargs "
        "model_tests -p no:rerunfailures --offline`, and each option in PYTEST_ADDOPTS as "
        "--option=value."
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ("--relock", "tests"),
            (
                "unknown here: --relock. For model-prep, write `pytest --pyargs model_tests "
                "-p no:rerunfailures --relock tests`, and each option in PYTEST_ADDOPTS as "
                "--option=value."
            ),
        ),
        (
            (*SUITE, "tests"),
            (
                "model_tests runs under its own settings, apart from other tests: leave out tests; "
                "or add `-p prep.plugin` to run under this directory's settings."
            ),
        ),
        (
            (*SUITE, "-c", "pytest.ini"),
            (
                "model_tests runs under its own settings, apart from other tests: leave out "
                "-c pytest.ini; or add `-p prep.plugin` to run under this directory's settings."
            ),
        ),
    ],
    ids=["not asked for", "beside other tests", "under another ini file"],
)
def test_what_would_run_half_is_refused(
    service: Path, run_in: RunIn, args: tuple[str, ...], sentence: str
) -> None:
    (service / "tests" / "conftest.py").unlink()
    done = run_in(service, *args)
    assert (done.code, done.out.strip()) == (4, f"ERROR: {sentence}")


@pytest.mark.parametrize("how", ["ini", "environment"])
def test_the_suite_without_its_plugin_is_refused(service: Path, run_in: RunIn, how: str) -> None:
    (service / "pytest.ini").write_text(
        f"[pytest]\naddopts = -p no:{'model-prep' * (how == 'ini')}\n"
    )
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if how == "environment" else {}
    done = run_in(service, *SUITE, **env)
    assert done.code == 4, done.out
    assert done.out.endswith(
        "ERROR: model_tests needs the plugin of model-prep: add `-p model-prep`.\n\n"
    )
    done = run_in(service, *SUITE, "-p", "model-prep", "--models", TINY, "--collect-only", **env)
    assert done.code == 0, done.out
    assert home_of(done) == str(service / "models")


@pytest.mark.proof
def test_every_sample_model_is_ready(service: Path, run_in: RunIn) -> None:
    done = run_in(service, *SUITE, "--hub", "sample", "-n", "2")
    assert done.code == 0, done.out
    home = copy_home(service / "models-sample", service / "models")
    done = run_in(service, *SUITE, "--catalogue=models.toml", "--offline", "--summary=out.json")
    assert done.code == 0, done.out
    assert "no goldens are recorded" not in done.out
    for path in (home / "model-prep" / "summary.json", service / "out.json"):
        assert {found["status"] for found in read_summary(path)["models"].values()} == {"ready"}
