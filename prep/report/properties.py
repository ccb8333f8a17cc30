"""junit properties of one test: docs/reports.md explains each name."""

from collections.abc import Iterator, Mapping
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.tasks.consumers import Load


def properties(
    spec: ModelSpec,
    locked: LockedModel | None,
    precision: str | None,
    load: Load | None,
    facts: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """Pins, bytes, seconds, precision and versions, as far as they are known by now."""
    yield "model", spec.name
    yield "repo", spec.repo
    yield "task", spec.task
    if locked is not None:
        yield "commit", locked.commit
        yield "license", locked.license
        yield "bytes", str(locked.bytes)
        yield "lock-entry", locked.digest
    if "fetched" in facts:
        yield "bytes.fetched", str(facts["fetched"])
        yield "seconds.fetched", str(facts["seconds"])
    if precision is not None:
        yield "precision", precision
        made = facts.get("precisions", {}).get(precision, {})
        for key, name in (
            ("bytes", "bytes.converted"),
            ("seconds", "seconds.converted"),
            ("agreement", "agreement"),
        ):
            if made.get(key) is not None:
                yield name, str(made[key])
    if load is not None:
        yield "consumer", load.consumer.name
        yield "way", load.case.way
        if load.case.cache is not None:
            yield "cache", load.case.cache
        yield "user", load.case.user
        yield "mount", load.case.mount
        if load.interpreter is not None:
            yield "consumer-python", load.interpreter.label
        took = facts.get("loads", {}).get(load.id)
        if took and "seconds" in took:
            yield "seconds.loaded", str(took["seconds"])
            if "latency" in took:
                yield "latency", str(took["latency"])
            yield "memory.peak", str(took["peak-bytes"])
    if facts.get("adopted"):
        yield "bytes.adopted", str(facts["adopted"])
    if facts.get("repaired"):
        yield "repaired", str(len(facts["repaired"]))
    if facts.get("cut"):
        yield "network-cut", facts["cut"]
    for package, version in facts.get("versions", {}).items():
        yield f"version.{package}", version
