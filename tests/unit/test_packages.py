"""Imports point one way, and nothing heavy is loaded before a child process needs it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# From base to top: a package imports only itself and what stands before it.
ORDER = (
    "errors",
    "files",
    "machine",
    "process",
    "tasks",
    "catalogue",
    "home",
    "verify",
    "sandbox",
    "fetch",
    "convert",
    "settings",
    "stages",
    "commands",
    "report",
    "plugin",
)
APART = (("fetch", "convert"), ("fetch", "sandbox"))  # what never imports the other
HEAVY = frozenset(
    (
        *("torch", "transformers", "optimum", "openvino", "sentence_transformers"),
        *("openvino_genai", "openvino_tokenizers"),
    )
)
PROBE = "prep.sandbox.probe"
HEAVY_ROOMS = (
    *(f"{PROBE}.{name}" for name in ("embedding", "reranker", "seq2seq")),
    *(
        f"{PROBE}.{name}"
        for name in ("genai", "lengths", "libraries", "loading", "modules", "serving")
    ),
    "prep.convert.export",
    "prep.convert.gates",
    "prep.convert.content",
    "prep.convert.tokenizer",
)


@dataclass(frozen=True)
class Import:
    """One import: `who` imports `what`, at the top of the module or within a function."""

    who: str
    what: str
    at_top: bool

    def comes_from(self, *rooms: str) -> bool:
        return is_of(self.who, *rooms)

    def goes_to(self, *rooms: str) -> bool:
        return is_of(self.what, *rooms)


def is_of(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def modules(*folders: str) -> dict[str, Path]:
    """Every module below the folders, by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imports(who: str, path: Path) -> Iterator[Import]:
    """All imports of a module; a name that is itself a module counts as that module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        at_top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(who, alias.name, at_top)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{who}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield Import(who, name if name in PREP else node.module, at_top)


PREP = modules("prep")
IMPORTS = tuple(import_ for who, path in PREP.items() for import_ in imports(who, path))
OURS = tuple(import_ for import_ in IMPORTS if import_.goes_to("prep"))


def edges(imports: Iterator[Import]) -> list[str]:
    return sorted(f"{import_.who} → {import_.what}" for import_ in imports)


def test_each_package_has_its_place_in_the_order() -> None:
    tops = {who.split(".")[1] for who in PREP if who != "prep"}
    assert tops == set(ORDER)
    assert PREP.keys() >= {PROBE, *HEAVY_ROOMS}
    assert Import("prep.stages.plan", "prep.verify.problem", at_top=True) in IMPORTS
    assert any(import_.what == "torch" and not import_.at_top for import_ in IMPORTS)


def test_a_package_imports_only_packages_that_stand_before_it() -> None:
    upwards = (
        our
        for our in OURS
        if our.what != "prep"
        and ORDER.index(our.what.split(".")[1]) > ORDER.index(our.who.split(".")[1])
    )
    assert edges(upwards) == []


@pytest.mark.parametrize(("first", "other"), APART)
def test_what_acts_never_imports_another_that_acts(first: str, other: str) -> None:
    pairs = ((f"prep.{first}", f"prep.{other}"), (f"prep.{other}", f"prep.{first}"))
    between = (
        edge for edge in OURS if any(edge.comes_from(a) and edge.goes_to(b) for a, b in pairs)
    )
    assert edges(between) == []


def test_an_init_holds_no_logic() -> None:
    """A docstring, names of others, and plain constants: a traceback names the place."""
    for who, path in PREP.items():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            kinds = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
            assert [node for node in body if not isinstance(node, kinds)] == [], who


def test_the_probe_imports_nothing_of_ours_but_itself() -> None:
    """It runs in other people's interpreters, packed without the rest."""
    inside = [our for our in OURS if our.comes_from(PROBE)]
    assert any(import_.goes_to(PROBE) for import_ in inside)
    assert edges(import_ for import_ in inside if not import_.goes_to(PROBE)) == []


def test_no_module_imports_itself_round_a_corner() -> None:
    """At the top of modules: a circle would depend on who is imported first."""
    reached = {who: {who} for who in PREP}
    for _ in PREP:
        for import_ in OURS:
            if (
                import_.at_top
                and import_.who != import_.what
                and not is_of(import_.who, import_.what)
            ):
                reached[import_.who] |= reached[import_.what]
    circles = [
        f"{our.who} → {our.what}"
        for our in OURS
        if our.at_top and not is_of(our.who, our.what) and our.who in reached[our.what]
    ]
    assert circles == []


@pytest.mark.parametrize(
    ("libraries", "rooms"),
    [
        (("pytest", "_pytest", "xdist"), ("prep.plugin",)),
        (("huggingface_hub", "httpx"), ("prep.fetch",)),
        (("jinja2",), ("prep.report",)),
        (tuple(HEAVY), HEAVY_ROOMS),
    ],
    ids=["pytest", "the hub's client", "jinja2", "what loads models"],
)
def test_a_library_is_known_in_its_own_rooms_only(
    libraries: tuple[str, ...], rooms: tuple[str, ...]
) -> None:
    users = [import_ for import_ in IMPORTS if import_.goes_to(*libraries)]
    assert users
    assert edges(user for user in users if not user.comes_from(*rooms)) == []


def test_heavy_libraries_are_imported_within_functions_only() -> None:
    assert edges(import_ for import_ in IMPORTS if import_.goes_to(*HEAVY) and import_.at_top) == []


def test_the_plugin_loads_nothing_heavy() -> None:
    """Collecting and planning take well under a second, so not even the hub's client."""
    heavy = [*HEAVY, "huggingface_hub", "httpx", "numpy", "nncf", "tokenizers", "safetensors"]
    script = f"import prep.plugin.hooks, sys; print(sorted(set({heavy!r}) & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


HEX = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{40}|[0-9a-f]{64})(?![0-9a-f])", re.IGNORECASE)


def test_no_model_commit_or_digest_stands_in_code() -> None:
    """Data lies in files: a test or a module that knows a model by name would pass for others."""
    named: set[str] = set()
    for file in ("models.toml", "sample_hub/models.toml"):
        for entry in tomllib.loads((ROOT / file).read_text(encoding="utf-8"))["models"]:
            named |= {entry["name"], entry["repo"]}
    assert len(named) >= 6
    found = []
    for name, path in modules("prep", "model_tests").items():
        text = path.read_text(encoding="utf-8")
        found += [f"{name}: {model}" for model in sorted(named) if model in text]
        found += [f"{name}: {digits}" for digits in HEX.findall(text)]
    assert found == []


def test_a_digest_in_code_would_be_found() -> None:
    assert HEX.findall(f"x = '{'ab' * 20}' {'CD' * 32} {'0' * 41} {'e' * 39}") == [
        "ab" * 20,
        "CD" * 32,
    ]
