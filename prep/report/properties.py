"""junit properties: docs/reports.md explains each name. Facts stand once, at the first test of
what they are about: a model, a conversion, a load."""

from collections.abc import Iterator

from prep.report.run_report import LoadReport, ModelReport

Pairs = Iterator[tuple[str, str]]


def of_model(model: ModelReport) -> Pairs:
    """Pin, status, bytes, versions."""
    facts = {
        "repo": model.repo,
        "task": model.task,
        "status": model.status,
        "commit": model.commit,
        "license": model.license,
        "lock-entry": model.entry,
        "bytes": model.bytes,
        "bytes.fetched": model.fetched_bytes,
        "bytes.adopted": model.adopted_bytes,
        "seconds.fetched": model.seconds,
        "repaired": len(model.repaired),
        "network-cut": model.network_cut,
        **{f"version.{package}": version for package, version in model.versions.items()},
    }
    yield from ((name, str(value)) for name, value in facts.items() if value is not None)


def of_conversion(model: ModelReport, precision: str) -> Pairs:
    """Bytes, seconds, agreement; nothing where there is no such conversion."""
    if made := model.precisions.get(precision):
        facts = {
            "bytes.converted": made.bytes,
            "seconds.converted": made.seconds,
            "agreement": made.agreement,
        }
        yield from ((name, str(value)) for name, value in facts.items() if value is not None)


def of_load(model: ModelReport, load: str) -> Pairs:
    """What was measured; nothing where it was not made."""
    if isinstance(took := model.loads.get(load), LoadReport):
        yield "seconds.loaded", str(took.seconds)
        if took.latency is not None:
            yield "latency", str(took.latency)
        yield "memory.peak", str(took.peak_bytes)
