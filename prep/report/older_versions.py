"""Records of older versions: a home keeps summary, history and ready.json over an upgrade.

What an older version wrote is read in today's words, and written so by the next run.
"""

from typing import Any

# Statuses up to summary.json 2 and ready.json 1; lines of the history carry no version.
STATUSES = {"healed": "repaired", "red": "failed", "undelivered": "transient"}
SUMMARY_BEFORE = 2
READY_BEFORE = 1


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
    """The same of a model in summary.json or ready.json, which did not name who wrote it."""
    today = renamed(record)
    return {**today, "model-prep": None} if isinstance(today, dict) else today


def models_of(data: object, key: str, version: int, before: int) -> dict[str, Any]:
    """The models of a parsed summary.json or ready.json; none where its version is unknown."""
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(models, dict):
        return {}
    if data.get(key) == before:
        return {name: upgraded(model) for name, model in models.items()}
    return models if data.get(key) == version else {}
