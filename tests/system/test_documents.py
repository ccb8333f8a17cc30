"""What stands in the documents and build files is true of the code: options, names, commands."""

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

import prep
from prep.catalogue.entries import ModelSpec, read_catalogue
from prep.errors import InvalidFile, PrepError
from prep.plugin.options import INI
from prep.report import metrics, properties
from prep.report.run_report import Status
from prep.settings import GivenOptions, Settings, resolve_settings
from prep.tasks.consumers import Interpreter
from prep.tasks.registry import TASKS
from sample_hub.server import commit_of
from tests.support.paths import ROOT
from tests.support.reports import model_report
from tests.support.runs import environment, process, run
from tools import pages

README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
REPORTS = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
ADDING = (ROOT / "docs" / "adding-a-model.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
POINTER = re.compile(
    r"(?<![\w/.{<*-])"
    r"((?:docs|prep|tests|model_tests|sample_hub|tools|deploy|benchmarks)/(?![\w./-]*[A-Z]{4})"
    r"[\w./-]*\w(?![\w*]*[{<*])|(?:README|CONTRIBUTING|SECURITY)\.md)(#[\w-]+)?"
)
# Words of the first edition that have a term of the field now.
GONE = re.compile(
    r"\b(?:red|heal(?:s|ed)?|mend(?:s|ed)?|undelivered|wish(?:es|ed)?|astray|hazards?|beforehand"
    r"|surroundings|obituary|deeds?|told)\b",
    re.IGNORECASE,
)
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")


@pytest.fixture(scope="module")
def pytest_help() -> str:
    """All that ``pytest --help`` prints here."""
    done = run("--help")
    assert done.code == 0, done.out
    return done.out


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return resolve_settings(GivenOptions(hub="sample", model_home=tmp_path), {}, ROOT)


def rows(text: str, before: str) -> list[list[str]]:
    """The cells of the first table after some text; a table ends with an empty line."""
    table = text.split(before, 1)[1].split("\n---|", 1)[1].split("\n\n", 1)[0]
    return [re.split(r" *(?<!\\)\| *", row) for row in table.splitlines()[1:]]


def names(text: str, before: str) -> list[str]:
    """The first cells, without the marks of code."""
    return [row[0].strip("`") for row in rows(text, before)]


def words(text: str) -> set[str]:
    """All that is marked as code in a text, without values."""
    return {code.partition(" = ")[0] for code in re.findall(r"`([^`]+)`", text)}


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of any level."""
    return text.split(f"\n{heading}\n", 1)[1].partition("\n#")[0]


def listed(text: str) -> list[str]:
    """The code before the colon of every line of a list."""
    lines = re.findall(r"^ *- (.*?)(?:: |$)", text.replace("\n  ", " "), re.MULTILINE)
    return [name for line in lines for name in re.findall(r"`([\w.-]+)`", line)]


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def own_options(pytest_help: str) -> set[str]:
    """The options of our group."""
    group = pytest_help.split("model-prep: prepare models and prove them:\n", 1)[1]
    return set(re.findall(r"^  (--[a-z-]+)", group.split("\n\n", 1)[0], re.MULTILINE))


def test_reference_lists_every_option_and_no_other(pytest_help: str) -> None:
    lines = re.findall(r"^- `(--[^`]+)`", section(REFERENCE, "## Options"), re.MULTILINE)
    assert options(" ".join(lines)) == own_options(pytest_help)
    assert len(lines) == len(own_options(pytest_help))


def test_variables_that_the_reference_names_stand_in_the_help(pytest_help: str) -> None:
    variables = re.findall(r"^- `--[^`]+` \(`(\w+)`\): ", section(REFERENCE, "## Options"), re.M)
    assert len(variables) == 6
    assert [variable for variable in variables if f"({variable})" not in pytest_help] == []


def test_reference_names_the_keys_of_pytest_ini() -> None:
    keys = REFERENCE.split("which beats `pytest.ini` (", 1)[1].split(")", 1)[0]
    assert words(keys) == set(INI)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_pytest_commands_use_options_that_exist(path: Path, pytest_help: str) -> None:
    commands = re.findall(r"pytest [^\n`]*", path.read_text(encoding="utf-8"))
    known = options(pytest_help) | {"--junitxml"}  # the help has its other spelling, --junit-xml
    assert options(" ".join(commands)) - known == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_that_documents_name_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"(?:`|\$ )make ([a-z-]+)", text)
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(commands) - targets == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not leads_somewhere(path, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether there is that file, and in it the heading behind ``#``; of none, in the page."""
    name, _, heading = link.partition("#")
    path = page.parent / name if name else page
    if not heading or not path.exists():
        return path.exists()
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def test_link_to_no_heading_would_be_found() -> None:
    assert leads_somewhere(ROOT / "docs" / "ci.md", "operations.md#how-long-it-waits")
    assert not leads_somewhere(ROOT / "docs" / "ci.md", "operations.md#how-long-it-sleeps")


def test_reference_lists_the_statuses_and_the_keys_of_the_catalogue() -> None:
    assert listed(section(REFERENCE, "## Status of a model")) == [*get_args(Status)]
    keys = listed(section(REFERENCE, "## Catalogue and lock"))
    assert keys == [field.name.replace("_", "-") for field in fields(ModelSpec)]


def test_recipe_installs_this_version() -> None:
    recipe = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert f'@v{prep.__version__}"' in recipe


def test_readmes_catalogue_loads(tmp_path: Path) -> None:
    [block] = code_blocks(README, "toml")
    path = tmp_path / "models.toml"
    path.write_text(block, encoding="utf-8")
    [spec] = read_catalogue(path).models
    assert spec == read_catalogue(ROOT / "models.toml").models[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_documents_name_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "model_tests").glob("*.py"))
    for name, parameter in re.findall(r"`(test_[a-z_0-9]+)(?:\[(\w+)\])?`", text):
        assert f"def {name}(" in code
        assert not parameter or f'"{parameter}"' in code


def test_generated_sections_are_those_of_the_code() -> None:
    assert pages.pages(), "no page has a generated section"
    for path, text in pages.pages().items():
        assert path.read_text(encoding="utf-8") == text, "python -m tools.pages"


def test_generated_section_that_is_stale_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    stale = tmp_path / "docs" / "reference.md"
    stale.write_text(REFERENCE.replace("`transformers-slow`", "`gone`"), encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "model_tests", tmp_path / "model_tests")
    pages.main()
    assert capsys.readouterr().out == "wrote docs/reference.md\n"
    assert stale.read_text(encoding="utf-8") == REFERENCE


def test_remedies_are_for_classes_and_tests_that_exist() -> None:
    remedies = pages.remedies()
    classes = {kind.__name__ for kind in pages.classes(PrepError)}
    tests = {name for names in pages.model_tests().values() for name in names}
    assert set(remedies["errors"]) - classes == set()
    assert set(remedies["tests"]) - tests == set()
    assert set(remedies["levels"]) == set(pages.model_tests())
    messages = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    assert {name for name in classes if f"`{name}`" not in messages} == {"PrepError"}


def test_every_page_and_file_that_is_named_exists() -> None:
    """In code, messages, build files and documents; a heading behind `#` exists as well."""
    stale = {
        f"{relative(path)}: {name}{heading}"
        for path in texts()
        if not relative(path).startswith(("tests/", "CHANGELOG", "sample_hub/repos/"))
        and path.parent.name != "goldens"  # these name sources in other projects
        for name, heading in POINTER.findall(path.read_text(encoding="utf-8"))
        if not leads_somewhere(ROOT / "README.md", f"{name}{heading}")
    }
    assert stale == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see docs/none.md#how", [("docs/none.md", "#how")]),
        ("`prep/none.py`, README.md.", [("prep/none.py", ""), ("README.md", "")]),
        ("https://host/docs/page, model_tests/test_TASK.py, goldens/NAME.toml", []),
    ],
)
def test_pointers_are_found_in_text(text: str, found: list[tuple[str, str]]) -> None:
    assert POINTER.findall(text) == found


def test_messages_name_the_heading_of_a_page() -> None:
    for kind in pages.classes(InvalidFile):
        for name, heading in POINTER.findall(getattr(kind, "remedy", "")):
            assert heading, f"{kind.__name__} names {name} as a whole"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_words_that_went_do_not_come_back(path: Path) -> None:
    if path.name != "CHANGELOG.md":  # it names what was renamed
        text = re.sub(r"`[^`]*`", "", path.read_text(encoding="utf-8"))
        assert sorted(set(GONE.findall(text))) == []


def test_reports_list_every_junit_property() -> None:
    documented = listed(section(REPORTS, "## junit"))
    model = model_report(versions={"PACKAGE": "1.0"})
    given = [
        *properties.of_model(model),
        *properties.of_conversion(model, "int8"),
        *properties.of_load(model, "transformers:name"),
    ]
    per_test = ["model", "precision", "consumer", "error", "kind"]
    assert sorted([*per_test, *(name for name, _ in given)]) == sorted(documented)


def test_reports_list_every_metric() -> None:
    documented = set(re.findall(r"`(model_prep_\w+)", section(REPORTS, "## Metrics")))
    assert documented == set(metrics.HELP)


def test_loads_that_reports_name_are_made() -> None:
    other = Interpreter(python=Path(sys.executable), label="search")
    made = {load.id for load in TASKS["embedding"].loads_of("org/name", None, ("int8",), (other,))}
    named = set(re.findall(r"`([\w-]+:[^`]+)`", section(REPORTS, "## The summary")))
    assert len(named) == 3
    assert named <= made


def test_goldens_section_lists_every_kind_and_key() -> None:
    by_task = {
        row[0].strip("`"): (words(row[1]), words(row[2])) for row in rows(ADDING, "\ntask |")
    }
    assert by_task == {
        task.name: (set(task.golden_facts), set(task.golden_kinds)) for task in TASKS.values()
    }
    documented = {row[0].strip("`"): words(row[1]) for row in rows(ADDING, "\nanswer |")}
    kinds = {name: kind for task in TASKS.values() for name, kind in task.golden_kinds.items()}
    for name, kind in kinds.items():
        known = kind.known.keys() - {"id", "source", "repeat"}
        assert known <= documented[name], name


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_ranges_have_an_end_and_admit_what_was_tested(name: str) -> None:
    tested = dict(pins("requirements-tested.txt"))
    for requirement in requirements(name):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators & {"<", "=="}, f"{requirement} has no upper bound"
        version = tested[canonical(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, tested {version}"


def test_what_is_tested_is_pinned_once_and_exactly() -> None:
    tested = [name for name, _ in pins("requirements-tested.txt")]
    assert len(tested) == len(set(tested))
    assert "pip" not in tested


def test_torch_comes_from_one_index_everywhere() -> None:
    assert f"TORCH_INDEX ?= {TORCH_INDEX}\n" in MAKEFILE
    assert f"ARG TORCH_INDEX={TORCH_INDEX}\n" in DOCKERFILE


@pytest.mark.parametrize("version", ["3.10.2", "3.14.0"])
def test_make_refuses_a_python_that_was_not_tried(tmp_path: Path, version: str) -> None:
    python = tmp_path / "python"
    info = tuple(map(int, version.split(".")))
    faked = f"import sys; sys.version_info = {info}; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{faked}" "$2"\n', encoding="ascii")
    python.chmod(0o755)
    env = {key: value for key, value in environment().items() if "MAKE" not in key}
    chosen = (f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    done = process("make", "demo", *chosen, env=env, apart=True)
    assert done.code == 2
    assert done.err.splitlines()[0] == (
        f"model-prep was tried on Python 3.11 to 3.13, but {sys.executable} is Python {version}: "
        "give another one with PYTHON=python3.11"
    )
    assert not (tmp_path / "venv").exists()


def test_ci_runs_what_contributing_says() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = re.findall(r"^make \w+$", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == ["make lint", "make test"]
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [command for command in commands if f"$ {command}" not in contributing] == []


def test_image_has_all_that_it_copies_and_needs() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if not let_in(source)] == []
    wanted = {
        *(ROOT / "prep").rglob("*.py"),
        *(ROOT / "prep").rglob("*.j2"),
        *(ROOT / "prep" / "tasks" / "questions").rglob("*.toml"),
        *(ROOT / "model_tests").rglob("*.py"),
        *(ROOT / "model_tests" / "goldens").glob("*.*"),
        *(ROOT / "sample_hub").glob("*.*"),
        *(ROOT / "sample_hub" / "goldens").iterdir(),
    }
    assert [path for path in map(relative, sorted(wanted)) if not let_in(path)] == []


def test_image_leaves_out_what_it_does_not_need() -> None:
    unwanted = [
        *("README.md", "tests/support/runs.py", "docs/reports.md", "models/x", ".git/config"),
        *(".venv/x", "prep/__pycache__/x.pyc", "prep/NOTES.md", "tools/train_samples.py"),
    ]
    assert [path for path in unwanted if let_in(path)] == []


def test_sample_in_the_image_has_the_locked_commit(settings: Settings) -> None:
    """A sample's commit is made of all its files: none may be left out, its README neither."""
    for locked in settings.lock.models:
        folder = ROOT / "sample_hub" / "repos" / locked.repo
        files = [relative(path) for path in folder.rglob("*") if path.is_file()]
        assert [path for path in files if not let_in(path)] == []
        assert commit_of(folder) == locked.commit


def test_image_is_of_a_python_that_was_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [default] = re.findall(r"^ARG PYTHON_VERSION=([\d.]+)$", DOCKERFILE, re.MULTILINE)
    assert default == project["tool"]["mypy"]["python_version"]
    assert re.findall(r"\((3, \d+)\)", MAKEFILE) == ["3, 11", "3, 13"]
    assert "Python 3.11, 3.12 or 3.13" in README


@pytest.mark.parametrize(
    ("words", "why"),
    [
        # Each with a letter in brackets, so that this file does not hold what it looks for.
        (r"(?<![\w.~-])/(?:w[o]rk|r[o]ot)(?![\w.-])", "a path of one machine"),
        (r"(?<!\w)share[d]/", "something beside the repository"),
        (r"py[p]i\.org|pythonhoste[d]|npm[j]s|index-ur[l]\S*[ =]+\"?http", "a package registry"),
    ],
    ids=["paths", "neighbours", "registries"],
)
def test_project_stands_alone(words: str, why: str) -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(words, line)
    ]
    assert found == [], f"these name {why}"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[Path]:
    """Every text file of the project: nothing that .gitignore names, no environment, no binary."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    globs = [*(line.strip("/") for line in lines), ".git"]

    def ignored(name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in globs)

    for top, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if not ignored(name) and not Path(top, name, "pyvenv.cfg").exists()
        ]
        for path in (Path(top, name) for name in files if not ignored(name)):
            head = path.read_bytes()[:4096] if not path.is_symlink() else b"\0"
            if b"\0" not in head:
                yield path


def let_in(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last line that names it or a parent wins."""
    allowed = True
    paths = [path, *(parent.as_posix() for parent in Path(path).parents)]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = glob(line.removeprefix("!"))
            if any(pattern.fullmatch(place) for place in paths if place != "."):
                allowed = line.startswith("!")
    return allowed


def glob(pattern: str) -> re.Pattern[str]:
    """A line of .dockerignore: ``*`` stops at a slash, ``**/`` is any folders or none."""
    meaning: Mapping[str, str] = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def pins(name: str) -> list[tuple[str, str]]:
    found = []
    for requirement in requirements(name):
        [specifier] = requirement.specifier
        assert specifier.operator == "==", requirement
        found.append((canonical(requirement.name), specifier.version))
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
