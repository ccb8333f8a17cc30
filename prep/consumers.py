"""The consumers' table: who will read a prepared model, and in which ways.

A way is how a service names the model: by its repository's name, by name and commit, or by a path.
OpenVINO consumers are given the path of a converted folder only: by name they list the repository
online, or export again.
"""

from dataclasses import dataclass
from typing import Literal

WayKind = Literal["name", "commit", "path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One library's way into a model. `reads` the original weights, or a converted precision."""

    name: str
    task: str
    reads: Literal["source", "converted"]
    ways: tuple[WayKind, ...]


CONSUMERS = (
    Consumer(
        name="transformers", task="embedding", reads="source", ways=("name", "commit", "path")
    ),
    Consumer(
        name="sentence-transformers",
        task="embedding",
        reads="source",
        ways=("name", "commit", "path"),
    ),
    Consumer(name="optimum-intel", task="embedding", reads="converted", ways=("path",)),
    Consumer(
        name="sentence-transformers-openvino", task="embedding", reads="converted", ways=("path",)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load to try: a consumer, a way, and the precision it reads (None: the original)."""

    consumer: Consumer
    way: WayKind
    precision: str | None

    @property
    def id(self) -> str:
        """As test ids name it: ``int8:optimum-intel:path``, ``transformers:name``."""
        parts = (self.precision, self.consumer.name, self.way)
        return ":".join(part for part in parts if part is not None)


def consumers_of(task: str, names: tuple[str, ...] | None) -> tuple[Consumer, ...]:
    """The task's consumers, or those of them that the catalogue names."""
    return tuple(
        consumer
        for consumer in CONSUMERS
        if consumer.task == task and (names is None or consumer.name in names)
    )


def loads_of(
    task: str, names: tuple[str, ...] | None, precisions: tuple[str, ...]
) -> tuple[Load, ...]:
    """Every load that a model must stand, the original's first."""
    return tuple(
        Load(consumer=consumer, way=way, precision=precision)
        for consumer in consumers_of(task, names)
        for precision in ((None,) if consumer.reads == "source" else precisions)
        for way in consumer.ways
    )
