"""Records of older versions: a home keeps summary, history and ready.json over an upgrade.

What an older version wrote is read in today's words, and written so by the next run.
"""

from typing import Any

from prep.report.run_report import first_line

# Statuses up to summary.json 2 and ready.json 1; lines of the history carry no version.
STATUSES = {"healed": "repaired", "red": "failed", "undelivered": "transient"}
SUMMARY_BEFORE = (2, 3)
READY_BEFORE = (1,)
# What summary.json 3 did not have.
ADDED: dict[str, Any] = {
    "machine": None,
    "checks": {},
    "warnings": [],
    "last-ready": None,
    "differs": [],
}


def renamed(record: object) -> object:
    """A model's record in today's words; what is no record, or has none of the old, as it is."""
    if not isinstance(record, dict):
        return record
    today: dict[str, Any] = {**record}
    if isinstance(status := record.get("status"), str):
        today["status"] = STATUSES.get(status, status)
    if "healed" in today:
        today["repaired"] = today.pop("healed")
    return today


def upgraded(record: object) -> object:
    """The same of a model in summary.json or ready.json, as today's version has it."""
    today = renamed(record)
    if not isinstance(today, dict):
        return today
    today = {"model-prep": None, **today}
    if isinstance(problems := today.pop("problems", None), list):
        kind = "transient" if today.get("status") == "transient" else "permanent"
        today["causes"] = [
            {"kind": kind, "error": "", "line": first_line(text), "text": text}
            | {"checks": [], "tests": []}
            for text in map(str, problems)
        ]
        today |= ADDED
    return today


def models_of(data: object, key: str, version: int, before: tuple[int, ...]) -> dict[str, Any]:
    """The models of a parsed summary.json or ready.json; none where its version is unknown."""
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(models, dict):
        return {}
    if data.get(key) in before:
        return {name: upgraded(model) for name, model in models.items()}
    return models if data.get(key) == version else {}
