"""Writes the generated sections of README.md and docs/: `python -m tools.pages`.

A section stands between `<!-- generated: NAME -->` and `<!-- end -->`. It comes from the error
classes, the model tests, the JSON schemas, the tables of consumers, of network faults or of models.
What to do about a class or a test stands in `tools/remedies.toml`, unless the class has it.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prep.commands.relock import Relocked
from prep.errors import (
    InvalidFile,
    ModelError,
    NotTried,
    PrepError,
    TransientError,
    WrongRequest,
)
from prep.files.typed import schema
from prep.report.history import Line
from prep.report.run_report import VERSION, RunReport
from prep.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
EXITS: Mapping[type[PrepError], str] = {
    WrongRequest: "Exit 4",
    ModelError: "Exit 1",
    TransientError: "Exit 75",
    NotTried: "Skipped",
}
LEVELS = ("pins", "cache_layout", "conversion", "offline_loading")  # these first, then the tasks

Schema = Mapping[str, Any]
# The schemas that are written from records; docs/plan.schema.json is written by hand.
SCHEMAS: Mapping[str, tuple[type, str]] = {
    "summary": (RunReport, f"summary.json of model-prep, version {VERSION}"),
    "relock": (Relocked, "what --relock --dry-run=json prints"),
    "history": (Line, "a line of history.jsonl of model-prep"),
}


def remedies() -> dict[str, dict[str, str]]:
    """What to do, by class in `errors`, by test in `tests`, by file of tests in `levels`."""
    with (ROOT / "tools" / "remedies.toml").open("rb") as file:
        return tomllib.load(file)


def classes(root: type[PrepError]) -> Iterator[type[PrepError]]:
    """The class and its descendants in `prep/errors.py`, in the order of their definition."""
    if root.__module__ == PrepError.__module__:
        yield root
        for child in root.__subclasses__():
            yield from classes(child)


def errors() -> str:
    """The classes by exit code: who must act, the term that the message begins with, the remedy."""
    known = remedies()
    parts = []
    for root, code in EXITS.items():
        lines = [f"### {code}: `{root.__name__}`", "", known["groups"][root.__name__], ""]
        for kind in classes(root):
            if kind in (ModelError, TransientError):
                continue  # never raised themselves
            name, meaning = kind.__name__, kind.__doc__ or ""
            remedy = kind.remedy if issubclass(kind, InvalidFile) else known["errors"][name]
            term = f"*{kind.term}:*" if kind.term else meaning.partition("\n")[0]
            lines.append(f"- `{name}`: {term} {remedy}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def model_tests() -> dict[str, list[str]]:
    """The tests of `model_tests/`, by file."""
    found: dict[str, list[str]] = {}
    paths = (ROOT / "model_tests").glob("test_*.py")
    tasks = {path.stem.removeprefix("test_") for path in paths} - set(LEVELS)
    for level in (*LEVELS, *sorted(tasks)):
        tree = ast.parse((ROOT / "model_tests" / f"test_{level}.py").read_text(encoding="utf-8"))
        found[level] = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
    return found


def tests() -> str:
    """What a failure means and what to do, by file; tests with one remedy stand together."""
    known = remedies()
    lines = []
    for level, names in model_tests().items():
        by_remedy: dict[str, list[str]] = {}
        for name in names:
            by_remedy.setdefault(known["tests"].get(name, ""), []).append(f"`{name}`")
        lines += [f"**test_{level}.py**: {known['levels'][level]}", ""]
        for remedy, alike in by_remedy.items():
            lines.append(f"- {', '.join(alike)}{': ' if remedy else ''}{remedy}")
        lines.append("")
    return "\n".join(lines).strip()


def fields(name: str) -> str:
    """The keys of a JSON schema, nested as they are in it."""
    if name in SCHEMAS:
        found = schema(*SCHEMAS[name])
    else:
        found = json.loads((ROOT / "docs" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return "\n".join(_fields(found, found, 0))


def _fields(whole: Schema, part: Schema, depth: int) -> Iterator[str]:
    """A line for each key that has a description, values or keys of its own; others in one line."""
    plain: list[str] = []
    for key, given in part.get("properties", {}).items():
        values = given.get("enum", [given["const"]] if "const" in given else [])
        quoted = [value if isinstance(value, str) else json.dumps(value) for value in values]
        shown = ", ".join(f"`{value}`" for value in quoted)
        text = " ".join(filter(None, [given.get("description"), f"({shown})" if shown else ""]))
        nested = list(_nested(whole, given, depth + 1))
        if not text and not nested:
            plain.append(f"`{key}`")
            continue
        if plain:
            yield f"{'  ' * depth}- {', '.join(plain)}"
            plain = []
        yield f"{'  ' * depth}- `{key}`{': ' if text else ''}{text}"
        yield from nested
    if plain:
        yield f"{'  ' * depth}- {', '.join(plain)}"


def _nested(whole: Schema, part: Schema, depth: int) -> Iterator[str]:
    """The keys of the objects in a value: itself, an array's items, a mapping's values."""
    if ref := part.get("$ref"):
        yield from _nested(whole, whole["$defs"][ref.rpartition("/")[2]], depth)
    yield from _fields(whole, part, depth)
    inner = [part.get("items"), part.get("additionalProperties"), *part.get("oneOf", [])]
    for value in inner:
        if isinstance(value, dict):
            yield from _nested(whole, value, depth)


def consumers() -> str:
    """Who loads a model, by which classes, of each task and kind of file."""
    groups: dict[str, list[str]] = {}
    for task in TASKS.values():
        for consumer in task.consumers:
            calls = re.sub(r"\w*[A-Z]\w*(\(.*?\))?", r"`\g<0>`", consumer.classes)
            group = groups.setdefault(f"{task.name}, {consumer.reads}", [])
            group.append(f"`{consumer.name}` ({calls})")
    return "\n".join(f"- {group}: {', '.join(lines)}" for group, lines in groups.items())


def faults() -> str:
    """The faults of the network, which `make faults` plays; imported late: it needs the tests."""
    from tests.support.fault_rows import table

    return table()


def models() -> str:
    """The kinds of models that `make zoo` tries; imported late: it needs the tests."""
    from tests.proofs.zoo.rows import table

    return table()


SECTIONS: Mapping[str, Callable[[], str]] = {
    "errors": errors,
    "tests": tests,
    "summary": lambda: fields("summary"),
    "plan": lambda: fields("plan"),
    "history": lambda: fields("history"),
    "relock": lambda: fields("relock"),
    "consumers": consumers,
    "faults": faults,
    "models": models,
}


def pages() -> dict[Path, str]:
    """Every schema, and every page with a generated section, as it should be."""
    written = {
        ROOT / "docs" / f"{name}.schema.json": json.dumps(schema(*made), indent=1) + "\n"
        for name, made in SCHEMAS.items()
    }
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if SECTION.search(text):
            written[path] = SECTION.sub(
                lambda match: f"{match[1]}{SECTIONS[match[2]]()}\n{match[3]}", text
            )
    return written


def main() -> None:
    """Write every page anew, and name those that changed."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
