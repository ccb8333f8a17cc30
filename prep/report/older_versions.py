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
