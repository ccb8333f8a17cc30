"""Writes the generated sections of README.md and docs/: `python -m tools.pages`.

A section stands between `<!-- generated: NAME -->` and `<!-- end -->`. It comes from the error
classes, the model tests, the tables of consumers, of network faults or of models. The JSON schemas,
which describe the keys of the reports, are written too.
What to do about a class or a test stands in `tools/remedies.toml`, unless the class has it.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

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
    """The classes by exit code: who must act, the term that a message begins with, the remedy."""
    known = remedies()
    parts = []
    for root, code in EXITS.items():
        lines = [f"### {code}: `{root.__name__}`", "", known["groups"][root.__name__], ""]
        for kind in classes(root):
            if kind in (ModelError, TransientError):
                continue  # never raised themselves
            name = kind.__name__
            remedy = kind.remedy if issubclass(kind, InvalidFile) else known["errors"][name]
            lines.append(f"- `{name}`: {f'*{kind.term}:* ' if kind.term else ''}{remedy}")
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
    """What a failure means and what to do, by file; below it the tests with a remedy of their own,
    those with one remedy together."""
    known = remedies()
    lines = []
    for level, names in model_tests().items():
        by_remedy: dict[str, list[str]] = {}
        for name in names:
            if remedy := known["tests"].get(name):
                by_remedy.setdefault(remedy, []).append(f"`{name}`")
        lines.append(f"- `test_{level}.py`: {known['levels'][level]}")
        lines += [f"  - {', '.join(alike)}: {remedy}" for remedy, alike in by_remedy.items()]
    return "\n".join(lines)


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
