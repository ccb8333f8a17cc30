"""The rows of expected.toml, and the catalogues that they make."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prep.tasks.registry import TASKS
from sample_hub.server import ServedRepo
from tools.zoo.rows import rows as stand_ins

EXPECTED = Path(__file__).with_name("expected.toml")
ORG = "model-prep-zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What becomes of one entry: `refused` is the whole message at --relock, `failed` are words of
    the verdict; with neither it is ready."""

    name: str
    model: str  # the stand-in
    task: str
    entry: dict[str, Any]
    consumers: frozenset[str]
    refused: str | None
    failed: tuple[str, ...]

    @property
    def expected(self) -> str:
        return "refused" if self.refused is not None else "failed" if self.failed else "ready"

    @property
    def kind(self) -> tuple[str, str]:
        """Its task and architecture; no architecture stands for static embeddings."""
        return self.task, stand_ins()[self.model].get("architecture", "")

    @property
    def repo(self) -> str:
        return f"{ORG}/{self.model}"


def read() -> dict[str, Row]:
    found = {}
    for name, given in tomllib.loads(EXPECTED.read_text(encoding="utf-8"))["rows"].items():
        model = given.get("model", name)
        task = stand_ins()[model]["task"]
        every = [consumer.name for consumer in TASKS[task].consumers if consumer.is_other_here]
        found[name] = Row(
            name=name,
            model=model,
            task=task,
            entry={"revision": "main", "precisions": ["int8"], **given.get("entry", {})},
            consumers=frozenset(given.get("consumers", every)),
            refused=given.get("refused"),
            failed=tuple(given.get("failed", ())),
        )
    return found


ROWS = read()


def kinds() -> list[Row]:
    """One row that is ready for each kind."""
    ready = (row for row in ROWS.values() if row.expected == "ready")
    return list({row.kind: row for row in reversed([*ready])}.values())[::-1]


def table() -> str:
    """For docs/models.md: what was tried, by task, the keys to write beside the usual ones, result.

    Of a model that is ready with one entry, no other entry is shown.
    """
    able = {row.model for row in ROWS.values() if row.expected == "ready"}
    alike: dict[tuple[str, str], list[str]] = {}
    for row in ROWS.values():
        if row.expected == "ready" or row.model not in able:
            model = stand_ins()[row.model]["of"]
            alike.setdefault((row.task, _outcome(row)), []).append(model)
    ordered = sorted(alike.items(), key=lambda group: not group[0][1].startswith("ready"))
    lines = []
    for task in TASKS:
        lines += [f"**{task}**", ""]
        lines += [
            f"- {outcome}: {'; '.join(models)}"
            for (tried, outcome), models in ordered
            if tried == task
        ]
        lines.append("")
    return "\n".join(lines).strip()


def _outcome(row: Row) -> str:
    """The result, and the keys of the entry that are not the usual ones."""
    usual = {"revision": "main", "precisions": ["int8"]}
    extra = {key: value for key, value in row.entry.items() if value != usual.get(key)}
    if "int8" in extra.get("precisions", ()):
        del extra["precisions"]
    entry = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in extra.items())
    result = "refused at `--relock`" if row.expected == "refused" else row.expected
    return f"{result} with {entry}" if entry else result


def write_catalogue(path: Path, rows: Iterable[Row]) -> Path:
    text = "catalogue-version = 1\n"
    for row in rows:
        entry = {"name": row.name, "repo": row.repo, "task": row.task, **row.entry, "why": "a test"}
        # A JSON text, list of texts or number is one of TOML too.
        text += "\n[[models]]\n"
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
    path.write_text(text, encoding="utf-8")
    return path


def served(place: Path, models: Iterable[str]) -> list[ServedRepo]:
    """The repositories of these stand-ins, of each main last, as the hub takes it."""
    found = []
    for model in sorted(set(models)):
        if not (place / model).is_dir():
            continue  # it could not be built: its rows fail
        license = stand_ins()[model].get("license", "apache-2.0")
        for folder in sorted((place / model).iterdir(), reverse=True):
            names = {folder.name.replace("refs-pr-", "refs/pr/")} - {"main"}
            repo = ServedRepo.of(f"{ORG}/{model}", folder, license)
            found.append(replace(repo, tags=frozenset(names)))
    return found
