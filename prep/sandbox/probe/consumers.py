"""The tasks that the probe knows, and a load by one of their consumers."""

from __future__ import annotations

from prep.sandbox.probe import embedding, reranker, seq2seq
from prep.sandbox.probe.loading import Facts, Way

TASKS = {"embedding": embedding, "reranker": reranker, "seq2seq": seq2seq}
"""Each module has `CONSUMERS`, what loads for each name of the task's table, and `answer`."""


def load(order: Facts) -> Facts:
    """Load as ``order["consumer"]`` does, in ``order["way"]``, and answer ``order["ask"]``."""
    task = TASKS[order["task"]]
    model = task.CONSUMERS[order["consumer"]](Way(**order["way"], shown=order["shown"]))
    return {**model.facts, **task.answer(model, order["ask"])}
