"""One run as typed records: the only source of every report. docs/summary.schema.json has its keys.

`ModelReport` is what the summary keeps of a model; what the stages noted becomes one in
`prep.report.summary.model_report`. Sizes are bytes, times seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from prep.files.typed import (
    Among,
    Commit,
    Count,
    Form,
    Number,
    Range,
    Seconds,
    Sha256,
    Texts,
    Time,
)
from prep.machine.build import Build
from prep.machine.machine import Machine
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS

VERSION = 4
MOST_LETTERS = 120  # of a cause's line: what dashboards show of a failure

Status = Literal["ready", "repaired", "failed", "transient", "unchecked"]
GREEN = ("ready", "repaired")
ORIGINAL = "original"
Precision = Annotated[str, Among(PRECISIONS)]
Weights = Annotated[str, Among((ORIGINAL, *PRECISIONS))]
Versions = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One period of work."""

    stage: Annotated[
        Literal["importing", "fetched", "converted", "loaded", "interpreter"],
        "`importing` waits for the libraries",
    ]
    which: Annotated[str, "precision, consumer or interpreter"]
    at: Annotated[Seconds, "seconds since `began`"]
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """When the stages of a model were at work."""

    began: Annotated[Time, "when the first stage of this model began, UTC"]
    stretches: Annotated[tuple[Stretch, ...], "periods of work in order; none of a model overlap"]

    def seconds(self) -> dict[str, float]:
        """By stage, in seconds."""
        sums: dict[str, float] = {}
        for stretch in self.stretches:
            sums[stretch.stage] = round(sums.get(stretch.stage, 0.0) + stretch.seconds, 2)
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """One converted precision."""

    path: Annotated[str, "stable path for the consumer's configuration"]
    made: Annotated[bool, "whether it was converted in this run"]
    seconds: Annotated[Seconds, "checking, and converting where needed"]
    bytes: Annotated[Count | None, "size of the converted files"]
    peak_bytes: Annotated[Count | None, "peak memory of the converting process"]
    agreement: Annotated[
        Number | None,
        "with the original in float32, in the task's measure: a lowest cosine, a greatest logit "
        "difference as a share of their spread, or a share of equal first tokens",
    ]
    tools_differ: Annotated[Texts, "tools of another version than the receipt names; no failure"]
    agreement_bound: Annotated[Number, "what the task's questions allow"]
    fell: Annotated[bool, "whether the agreement fell by more than in the last runs"] = False
    no_tokenizer: Annotated[
        str | None, "why it has no openvino_tokenizer.xml; null where it has one, or nobody tried"
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """A load that was made."""

    seconds: Annotated[Seconds, "loading and answering"]
    peak_bytes: Annotated[Count, "peak memory of the loading process"]
    latency: Annotated[
        Seconds | None, "median of one question that is asked alone; null of an access check"
    ] = None
    length_tried: Annotated[
        Count | None, "tokens of the longest text asked; null of an access check"
    ] = None
    length_limit: Annotated[Count | None, "tokens that this consumer takes at most"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadNotTried:
    """A load that was not made."""

    not_tried: Annotated[str, "why this machine cannot make the load, in place of the other keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed:
    """A load that gave no answers."""

    failed: Annotated[str, "the line of its cause, in place of the other keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpreterReport:
    """A `--consumer-python`."""

    python: str
    versions: Annotated[Versions, "of Python and the libraries there"]
    not_tried: Annotated[Mapping[str, str], "consumers that it cannot be, with the reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of tests."""

    passed: Count
    failed: Annotated[Count, "with a cause of their own"]
    not_reached: Annotated[Count, "kept from running by an earlier failure; skipped in junit"]
    not_tried: Annotated[Count, "of loads that cannot be made here; skipped in junit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport(Counts):
    """The tests of one check of a model, as `verdict.xml` shows them."""

    seconds: Seconds
    cause: Annotated[
        str | None, "line of its first cause; of an earlier check's after `not reached: `"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause of failures."""

    kind: Annotated[Literal["permanent", "transient"], "transient: may pass by itself"]
    error: Annotated[str, "class of the error; `Failed` for a check that did not pass"]
    line: Annotated[str, "model, what and cause, in at most 120 characters"]
    text: Annotated[str, "whole message"]
    checks: Annotated[Texts, "the checks that failed by it, as in `verdict.xml`"]
    tests: Annotated[Texts, "the tests that failed by it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReady:
    """Where a model was last ready."""

    at: Time
    entry: Sha256 | None
    commit: Commit | None
    precisions: Annotated[Texts, "precisions in the catalogue"]
    consumers: Annotated[Texts | None, "consumers in the catalogue; null for all"]
    versions: Versions
    machine: Machine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What a run says of one model."""

    status: Status
    at: Annotated[Time, "when this verdict was reached, UTC"]
    model_prep: Annotated[
        Build | None, "of the run that reached this verdict; null where it did not say"
    ]
    entry: Annotated[Sha256 | None, "sha256 of the lock entry"]
    asked: Annotated[
        Sha256 | None, "sha256 of what the catalogue asks: languages, ov-config, questions, goldens"
    ] = None
    home: Annotated[str, "the home that this verdict is about"]
    wanted_precisions: Annotated[tuple[Precision, ...], "precisions in the catalogue"]
    wanted_consumers: Annotated[Texts | None, "consumers in the catalogue; null for all"]
    repo: Annotated[str, Form(re.compile(r"[^/]+/[^/]+"))]
    task: Annotated[str, Among(tuple(TASKS))]
    why: str
    commit: Commit | None
    license: str | None
    files: Annotated[Count, "how many are locked"]
    bytes: Annotated[Count, "their size"]
    fetched_bytes: Annotated[Count, "downloaded in this run"]
    adopted_bytes: Annotated[Count, "found in the home by checksum"]
    seconds: Annotated[Seconds | None, "checking and fetching, or null"]
    timeline: Annotated[Timeline | None, "when each stage was at work, or null"]
    precisions: Annotated[
        Mapping[Precision, ConversionReport], "one entry for each converted precision"
    ]
    loads: Annotated[
        Mapping[str, LoadReport | LoadNotTried | LoadFailed], "one entry for each load, by its id"
    ]
    answers: Annotated[
        Mapping[Weights, tuple[str | tuple[Number | None, ...], ...]],
        "to the task's questions, by precision or `original`: cosines, raw logits or texts",
    ]
    network_cut: Annotated[
        Literal["network namespace", "seccomp filter", "Python guard only"] | None,
        "what kept the loads from the network",
    ]
    interpreters: Annotated[
        Mapping[str, InterpreterReport], "one entry for each `--consumer-python`, by its label"
    ]
    cpu_inference_default: Annotated[str | None, "this CPU's default type; the suite sets f32"]
    goldens: Annotated[bool | None, "whether goldens were checked; null without loads"]
    versions: Annotated[Versions, "of the libraries that converted and loaded"]
    machine: Annotated[Machine | None, "where it ran"]
    repaired: Annotated[Texts, "what was corrupt or missing and was repaired in this run"]
    moved_ref: Annotated[
        tuple[str, str] | None, "`refs/main` before and now, where this run moved it"
    ]
    unused_files: Annotated[Texts, "unlocked files that no loader reads"]
    tests: Annotated[Counts, "number of tests by result"]
    checks: Annotated[Mapping[str, CheckReport], "the same for each check of `verdict.xml`"]
    causes: Annotated[tuple[Cause, ...], "of its failures, each once"]
    warnings: Annotated[Texts, "what is no failure, and should be looked at"]
    last_ready: Annotated[LastReady | None, "where it was last ready, if it is not now"]
    differs: Annotated[Texts, "what differs from there: lock, catalogue, versions, machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What `summary.json` holds: this run, and every model's latest verdict."""

    summary_version: Annotated[Literal[4], "rises when keys change"] = 4
    model_prep: Annotated[Build, "version and commit of the run that wrote the file"]
    began: Annotated[Time, "start of the run, UTC"]
    at: Annotated[Time, "end of the run, UTC"]
    exit: Annotated[int, Range(0, 255)]
    home: str
    catalogue: str
    hub: str
    offline: bool
    models: Annotated[Mapping[str, ModelReport], "one entry for each model, by name"]


def first_line(text: str) -> str:
    """What dashboards show of a message, in `MOST_LETTERS`: its first sentence or line; of a list
    its head and its first problem."""
    head, _, rest = text.strip().partition("\n")
    line, problem = " ".join(head.split()), " ".join(rest.partition("\n")[0].split())
    if (listed := re.search(r" \(\d+ problems?\):$", line)) and problem:
        line = f"{_cut(line[: listed.start()], MOST_LETTERS // 2)}: {problem}"
    sentence = line[:MOST_LETTERS].rpartition(". ")[0]
    return f"{sentence}." if sentence and len(line) > MOST_LETTERS else _cut(line, MOST_LETTERS)


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def weights_and_consumer(load: str) -> tuple[str, str]:
    """Of a load's id: the precision, or `original`, and the consumer with its interpreter."""
    precision, _, rest = load.partition(":")
    weights, rest = (precision, rest) if precision in PRECISIONS else (ORIGINAL, load)
    consumer, _, more = rest.partition(":")
    python = next((part[7:] for part in more.split(":") if part.startswith("python=")), "")
    return weights, f"{consumer} in {python}" if python else consumer
