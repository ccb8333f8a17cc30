"""Metrics of the summary in Prometheus' text format, for node_exporter's textfile collector."""

from collections.abc import Iterator
from datetime import datetime
from statistics import median

from prep.report.history import answer_seconds, by_consumer
from prep.report.run_report import GREEN, ORIGINAL, ModelReport, RunReport

HELP = {
    "model_prep_ready": "1 where the verdict of a model is ready or repaired, else 0.",
    "model_prep_verdict_timestamp_seconds": "When the verdict of a model was reached.",
    "model_prep_run_timestamp_seconds": "When the last run ended.",
    "model_prep_agreement": "Agreement of a converted model with the original.",
    "model_prep_agreement_fell": "1 where it fell by more than in the last runs, else 0.",
    "model_prep_answer_seconds": "One question asked alone, the median over loads.",
    "model_prep_load_seconds": "Loading and answering, the median over loads.",
    "model_prep_memory_bytes": "Peak memory of a load.",
    "model_prep_bytes": "Size of the files.",
    "model_prep_stage_seconds": "Time that a stage worked in the last run.",
}
Sample = tuple[str, dict[str, str], float]


def render(run: RunReport) -> str:
    """The file's text: each metric with its help, type and samples."""
    samples: list[Sample] = [("model_prep_run_timestamp_seconds", {}, _epoch(run.at))]
    for name, model in run.models.items():
        samples += _samples(name, model)
    lines = []
    for metric, text in HELP.items():
        found = [sample for sample in samples if sample[0] == metric]
        if found:
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
        lines += [f"{metric}{_labels(labels)} {value:.12g}" for _, labels, value in found]
    return "\n".join(lines) + "\n"


def _samples(name: str, model: ModelReport) -> Iterator[Sample]:
    own = {"model": name, "task": model.task}
    yield "model_prep_ready", own, float(model.status in GREEN)
    yield "model_prep_verdict_timestamp_seconds", own, _epoch(model.at)
    yield "model_prep_bytes", {**own, "precision": ORIGINAL}, model.bytes
    for precision, made in model.precisions.items():
        labels = {**own, "precision": precision}
        if made.bytes is not None:
            yield "model_prep_bytes", labels, made.bytes
        if made.agreement is not None:
            yield "model_prep_agreement", labels, made.agreement
            yield "model_prep_agreement_fell", labels, float(made.fell)
    for (weights, consumer), loads in by_consumer(model).items():
        labels = {**own, "precision": weights, "consumer": consumer}
        if (latency := answer_seconds(loads)) is not None:
            yield "model_prep_answer_seconds", labels, latency
        yield "model_prep_load_seconds", labels, median(load.seconds for load in loads)
        yield "model_prep_memory_bytes", labels, max(load.peak_bytes for load in loads)
    for stage, seconds in (model.timeline.seconds() if model.timeline else {}).items():
        yield "model_prep_stage_seconds", {**own, "stage": stage}, seconds


def _epoch(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _labels(labels: dict[str, str]) -> str:
    escaped = (
        (key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for key, value in labels.items()
    )
    text = ",".join(f'{key}="{value}"' for key, value in escaped)
    return f"{{{text}}}" if text else ""
