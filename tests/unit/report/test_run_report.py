"""What is taken for a model of the summary, and what its schema says, is the same everywhere."""

import copy
import functools
import json
import operator
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from prep.files.fields import MOST, MOST_SECONDS
from prep.files.typed import Misfit, plain, read, read_or_none
from prep.report.run_report import ModelReport, weights_and_consumer
from tests.support.paths import ROOT
from tests.support.reports import LOADS, model_report

SCHEMA = json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8"))
VALID = Draft202012Validator({"$ref": "#/$defs/ModelReport", "$defs": SCHEMA["$defs"]})
RICH: dict[str, Any] = {
    **plain(model_report("repaired", repaired=["corrupt config.json"])),
    "loads": {
        "transformers:name": LOADS["transformers:name"],
        "transformers:path:other": {"not-tried": "needs root"},
        "transformers:path": {"failed": "crashed: tiny"},
    },
    "wanted-consumers": ["transformers"],
    "entry": "a" * 64,
    "cpu-inference-default": "int8",
    "answers": {"original": [[0.5, None, 1], "a text"], "int8": [[-0.25]]},
    "interpreters": {
        "search": {"python": "/srv/p", "versions": {"python": "3.9"}, "not-tried": {"a": "b"}}
    },
    "causes": [
        {
            "kind": "permanent",
            "error": "Failed",
            "line": "tiny: wrong",
            "text": "tiny: wrong",
            "checks": ["pins"],
            "tests": ["test_pins"],
        }
    ],
    "warnings": ["agreement of int8 fell"],
    "last-ready": {
        "at": "2026-01-01T00:00:00+00:00",
        "entry": "a" * 64,
        "commit": "a" * 40,
        "precisions": ["int8"],
        "consumers": ["transformers"],
        "versions": {"torch": "2"},
        "machine": {"processor": "x", "cores": 2, "kernel": "6", "python": "3.11"},
    },
    "differs": ["version: torch 2 → 3"],
}
# One of each type, and what stands at the edge of a shape. Not what a schema cannot tell: a date
# that the calendar lacks, and 1.0, which is the integer 1 to it; nor a time and a new line, which
# Python's `$` lets pass and that of JSON Schema does not.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 0.5, -0.5, MOST, MOST + 1, -MOST - 1),
    *(int(MOST_SECONDS), int(MOST_SECONDS) + 1, 1e300),
    *("", "x", "ready", "int8", "fp32", "original", "embedding", "fetched", "a/b", "a/b/c", "/"),
    *("a" * 40, "a" * 64, "A" * 64, f"{'a' * 64}\n", f"{'a' * 40}\n", "org/name\n"),
    *("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.123+00:00", "2026-01-01T00:00:00Z"),
    *("2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00.123456+00:00", "2026-01-01"),
    *("seccomp filter", [], ["x"], ["x", "y"], ["x", "y", "z"], [7], [None], [[]], [["x"]]),
    *([[None]], [[0.5]], [True]),
    *({}, {"x": "y"}, {"x": 7}, {"int8": {}}, {"int8": []}, {"fp64": []}, {"not-tried": "x"}),
    *({"seconds": 1, "latency": 1, "peak-bytes": 1}, {"began": None, "stretches": []}),
)


def places_in(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place below, and the whole."""
    yield path
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield from places_in(data[key], (*path, key))


def changed(path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The rich entry with one change at a place, each with its name."""

    def fresh(place: tuple[Any, ...]) -> tuple[Any, Any]:
        """A copy of the entry, and what stands at a place in it."""
        whole = copy.deepcopy(RICH)
        return whole, functools.reduce(operator.getitem, place, whole)

    if path:
        for value in VALUES:
            entry, above = fresh(path[:-1])
            above[path[-1]] = value
            yield repr(value), entry
        entry, above = fresh(path[:-1])
        del above[path[-1]]
        yield "deleted", entry
    else:
        yield from ((repr(value), value) for value in VALUES)
    for key in ("other", "int8", "fp64", "seconds", ""):
        entry, there = fresh(path)
        if isinstance(there, dict) and key not in there:
            there[key] = next(iter(there.values()), None)
            yield f"with {key!r}", entry
    entry, there = fresh(path)
    if isinstance(there, list):
        there.append(there[0] if there else 7)
        yield "longer", entry


PLACES = list(places_in(RICH))


def test_the_rich_entry_is_valid_and_has_every_part() -> None:
    assert plain(read(ModelReport, RICH)) == RICH
    assert VALID.is_valid(RICH)
    assert len(PLACES) > 80
    empty = [key for key, value in RICH.items() if value in ([], {}, None)]
    assert empty == []


@pytest.mark.parametrize("key", ["", *RICH], ids=str)
def test_the_reader_and_the_schema_agree(key: str) -> None:
    here = [path for path in PLACES if (path[0] if path else "") == key]
    differing, verdicts = [], set()
    for path in here:
        for name, entry in changed(path):
            taken, valid = read_or_none(ModelReport, entry) is not None, VALID.is_valid(entry)
            verdicts.add(taken)
            if taken != valid:
                who = "taken, and not valid" if taken else "valid, and not taken"
                differing.append(f"{'.'.join(map(str, path))} {name}: {who}")
    assert differing == []
    assert verdicts == ({True, False} if key else {False})


def test_what_does_not_fit_is_named() -> None:
    wrong = copy.deepcopy(RICH)
    wrong["precisions"]["int8"]["bytes"] = -1
    with pytest.raises(Misfit, match=r"^\.precisions\.int8\.bytes cannot be '-1'$"):
        read(ModelReport, wrong)


@pytest.mark.parametrize(
    ("load", "found"),
    [
        ("transformers:name:cache_dir", ("original", "transformers")),
        ("int8:optimum-intel:path", ("int8", "optimum-intel")),
        ("int8:optimum-intel:path:other:python=a", ("int8", "optimum-intel in a")),
        ("transformers:path:python=a", ("original", "transformers in a")),
    ],
)
def test_a_loads_id_tells_weights_and_consumer(load: str, found: tuple[str, str]) -> None:
    assert weights_and_consumer(load) == found
