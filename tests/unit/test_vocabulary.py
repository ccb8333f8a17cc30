"""One meaning per word: names that went stay away, and each term is defined in one place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What went, as whole words of a name, and what is said instead.
GONE_WORDS = {
    "astray": "escapes",
    "beforehand": "preflight",
    "borrowed": "the thing's own name",
    "deed": "damage",
    "deeds": "damages",
    "endings": "exit codes",
    "hazard": "unsafe",
    "hazardous": "unsafe",
    "hazards": "unsafe",
    "heal": "repair",
    "healed": "repaired",
    "healing": "repairing",
    "heals": "repairs",
    "mend": "repair",
    "mended": "repaired",
    "obituary": "crash",
    "persistence": "retry limits",
    "settle": "apply",
    "surround": "sandbox",
    "surrounded": "in a sandbox",
    "surroundings": "environment or sandbox",
    "undelivered": "transient",
    "wishes": "entry",
}
# The same, as whole names.
GONE_NAMES = {
    "Bench": "HomeCopies",
    "CannotBegin": "PreflightFailed",
    "HomeClosed": "HomeNotWritable",
    "InTheWay": "PathOccupied",
    "LinkAstray": "LinkEscapesHome",
    "Misread": "InvalidFile",
    "NotYet": "PreflightTransient",
    "Pace": "retry limits",
    "Passing": "TransientError",
    "Stand": "ChangedHome",
    "WrongBytes": "ChecksumMismatch",
    "arrows": "the thing's own name",
    "death": "crash",
    "extras": "unlocked files",
    "hear": "receive",
    "homes": "the thing's own name",
    "meet": "the action's own name",
    "one": "the kind of thing",
    "passing": "transient",
    "places": "sandbox",
    "red": "failed",
    "tell": "send or report",
    "told": "the kind of thing",
    "told_before": "the kind of thing",
    "traces": "the thing's own name",
}
# By path and name, each with the reason. An entry that nothing needs any more fails too.
ALLOWED = {("prep/report/page_colours.py", "red"): "a colour, beside green and blue"}

CHECKED = ("prep", "model_tests", "sample_hub", "deploy", "tests")
GLOSSARY = ROOT / "docs" / "how-it-works.md"
DEFINITION = re.compile(r"^- \*\*(.+?)\*\*: ", re.MULTILINE)


def defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a module defines, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.arg():
                yield node.lineno, node.arg
            case ast.alias():
                yield 0, node.asname or node.name
            case (
                ast.ExceptHandler(name=str()) | ast.MatchAs(name=str()) | ast.MatchStar(name=str())
            ):
                yield node.lineno, str(node.name)


def words_of(name: str) -> list[str]:
    """The words of ``snake_case`` and ``CamelCase``."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def gone(name: str) -> str | None:
    """What to say instead of a name that went; None for any other."""
    if instead := GONE_NAMES.get(name.rpartition(".")[2].strip("_")):
        return instead
    return next((GONE_WORDS[word] for word in words_of(name) if word in GONE_WORDS), None)


def gone_in(source: str, path: str) -> Iterator[str]:
    """Every such name of one module, its own included, as a line for the developer."""
    for line, name in [(0, Path(path).stem), *defined(ast.parse(source))]:
        if (instead := gone(name)) and (path, name) not in ALLOWED:
            yield f"{path}:{line}: {name} → {instead}"


def modules() -> Iterator[tuple[str, str]]:
    for folder in CHECKED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_names_that_went_do_not_come_back() -> None:
    found = sorted({line for path, source in modules() for line in gone_in(source, path)})
    assert not found, "\n".join(found)


def test_what_is_allowed_is_there() -> None:
    sources = dict(modules())
    stale = [
        (path, name)
        for path, name in ALLOWED
        if name not in {name for _, name in defined(ast.parse(sources.get(path, "")))}
    ]
    assert stale == []


def test_each_term_is_defined_once() -> None:
    terms = [
        term
        for entry in DEFINITION.findall(GLOSSARY.read_text(encoding="utf-8"))
        for term in entry.split(", ")
    ]
    assert len(terms) > 20
    assert sorted(terms) == sorted(set(terms))
    others = [
        f"{path.relative_to(ROOT)}: {entry}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        if path != GLOSSARY
        for entry in DEFINITION.findall(path.read_text(encoding="utf-8"))
        if entry in terms
    ]
    assert others == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("for told in lines: pass", "told → the kind of thing"),
        ("def heal_all(): pass", "heal_all → repair"),
        ("class LinkAstray: pass", "LinkAstray → LinkEscapesHome"),
        ("def f(*, extras): pass", "extras → unlocked files"),
        ("from prep import hazards as _hazards", "_hazards → unsafe"),
        ("import prep.hazards", "prep.hazards → unsafe"),
        ("self.passing = 1", "passing → transient"),
        ("lambda places: 1", "places → sandbox"),
        ("try: pass\nexcept ValueError as told: pass", "told → the kind of thing"),
        ("match x:\n case [*homes]: pass", "homes → the thing's own name"),
        ("GREEN, red = 1, 2", "red → failed"),
    ],
)
def test_name_that_went_is_seen(source: str, found: str) -> None:
    assert [line.partition(": ")[2] for line in gone_in(source, "prep/a.py")] == [found]


def test_module_by_such_a_name_is_seen() -> None:
    assert list(gone_in("", "prep/home/hazards.py")) == ["prep/home/hazards.py:0: hazards → unsafe"]


def test_words_that_only_hold_such_a_word_are_free() -> None:
    for name in ("redirect", "someone", "meeting", "one_by_one", "told_apart", "DONE", "standard"):
        assert gone(name) is None, name
