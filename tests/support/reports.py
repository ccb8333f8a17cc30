"""Reports of one small model, with all that a run may tell."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from prep.files.typed import read
from prep.machine.build import Build
from prep.report import summary
from prep.report.history import Line
from prep.report.run_report import ModelReport, RunReport, Status
from prep.report.verdict import ModelRun
from tests.support.small_homes import locked_model
from tests.support.small_settings import settings_for

AT = "2026-01-01T00:01:00+00:00"
SHORT = {"length-tried": 512, "length-limit": 512}
LONG = {"length-tried": 512, "length-limit": 8192}
LOADS = {
    "transformers:name": {"seconds": 0.75, "latency": 0.0075, "peak-bytes": 410_000_000, **SHORT},
    "transformers:commit:cache_dir": {"seconds": 0.25, "peak-bytes": 1},
    "transformers:path:other:read-only": {"not-tried": "needs root"},
    "int8:optimum-intel:path": {"seconds": 2.0, "latency": 1.5, "peak-bytes": 460_000_000, **LONG},
    "int8:optimum-intel:path:python=search": {"seconds": 1.0, "latency": 1.5, "peak-bytes": 1},
}
FACTS: dict[str, Any] = {
    "fetched": 7_000_000,
    "adopted": 2_000_000,
    "seconds": 1.5,
    "timeline": {
        "began": "2026-01-01T00:00:10.000+00:00",
        "stretches": [
            {"stage": "fetched", "which": "", "at": 0.0, "seconds": 10.0},
            {"stage": "loaded", "which": "int8:optimum-intel", "at": 20.0, "seconds": 20.0},
        ],
    },
    "precisions": {
        "int8": {
            "path": "/srv/int8",
            "made": True,
            "seconds": 2.0,
            "bytes": 4_000_000,
            "peak-bytes": 9,
            "agreement": 0.995,
            "tools-differ": ["openvino 1 (here 2)"],
        }
    },
    "loads": LOADS,
    "answers": {"original": [[0.5] * 24 for _ in range(12)]},
    "cut": "seccomp filter",
    "goldens": False,
    "versions": {"torch": "2.0"},
    "interpreters": {
        "search": {"python": "/srv/p", "versions": {"python": "3.9"}, "not-tried": {}}
    },
    "moved_ref": ("old", "new"),
    "unused": ["README.md"],
}


def model_report(
    status: Status = "ready", run: ModelRun | None = None, **facts: Any
) -> ModelReport:
    """What a run reports of the model; by default of one test, which passed."""
    made = run or ModelRun(tests={"test_pins": "passed"}, checks={"test_pins": "pins"})
    made.facts = {**FACTS, **facts}
    settings = settings_for(Path("/srv/home"), locked_model())
    return replace(summary.model_report(made, status, settings, "tiny"), at=AT)


def run_report(code: int = 0, **models: ModelReport) -> RunReport:
    """A run of these models."""
    return RunReport(
        model_prep=Build(version="1.2.3", commit=None),
        began="2026-01-01T00:00:00+00:00",
        at=AT,
        exit=code,
        home="/srv/home",
        catalogue="models.toml",
        hub="https://huggingface.co",
        offline=False,
        models=models,
    )


def history_line(status: Status = "ready", **more: Any) -> Line:
    """A line of the history of the model."""
    known: dict[str, Any] = {"at": AT, "model": "tiny", "status": status, "exit": 0, "entry": None}
    known |= {"seconds": {"loaded": 2.0}, "agreement": {"int8": 0.99}, "versions": None}
    return read(Line, known | more)
