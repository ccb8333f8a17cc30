"""The consumers' table: who will read a prepared model, as what, and in which cases.

A case is how a service meets the model: how it names it, where its library looks for it, as which
user it runs, on what mount. OpenVINO consumers are given the path of a converted folder only: by
name they list the repository online, or export again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["name", "short-name", "commit", "path"]
SHORT_OWNER = "sentence-transformers"  # the owner that SentenceTransformer("NAME") stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One value of each axis. `cache` says where a name is looked up; a path needs neither."""

    way: Way
    cache: Literal["HF_HOME", "cache_dir"] | None
    user: Literal["owner", "other"] = "owner"
    mount: Literal["read-write", "read-only"] = "read-write"

    @property
    def id(self) -> str:
        """The way, and what differs from a service that runs as the owner with HF_HOME set."""
        usual = ("HF_HOME", "owner", "read-write", None)
        return ":".join((self.way, *_others((self.cache, self.user, self.mount), usual)))


def _others(values: Sequence[str | None], usual: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(value for value in values if value is not None and value not in usual)


# Pairwise: every two values of two axes meet in a row at least (a test holds it). The first three
# need no right at all, so that every way and cache is tried in any container.
BY_NAME_OR_PATH = (
    Case(way="name", cache="HF_HOME"),
    Case(way="commit", cache="cache_dir"),
    Case(way="path", cache=None),
    Case(way="name", cache="cache_dir", mount="read-only"),
    Case(way="name", cache="cache_dir", user="other"),
    Case(way="commit", cache="HF_HOME", user="other", mount="read-only"),
    Case(way="path", cache=None, user="other", mount="read-only"),
)
BY_PATH = (
    Case(way="path", cache=None),
    Case(way="path", cache=None, user="other", mount="read-only"),
    Case(way="path", cache=None, mount="read-only"),
    Case(way="path", cache=None, user="other"),
)
BY_SHORT_NAME = Case(way="short-name", cache="HF_HOME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One library's way into a model: `classes` are what a service calls.

    It `reads` the original weights or a converted precision; `asks` and `expects` say in a word
    what its answers are.
    """

    name: str
    task: str
    classes: str
    reads: Literal["source", "converted"]
    cases: tuple[Case, ...]
    asks: str
    expects: str


_SENTENCES = "sentences, goldens, odd texts"
_PAIRS = "queries with passages, goldens, odd texts"
_PROMPTS = "prompts, goldens, odd texts; one at a time, greedy, to a stated length"
_OWN_MEAN = "vectors by the service's own mean over tokens, not normalised"
_PIPELINE = "vectors as modules.json says"
_LOGITS = "one raw logit a pair"
_SCORES = "one raw logit a pair, and the score that its activation makes of it"
_WRITTEN = "text, token ids and their log-probabilities"

CONSUMERS = (
    Consumer(
        name="transformers",
        task="embedding",
        classes="AutoModel, AutoTokenizer",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_SENTENCES,
        expects=_OWN_MEAN,
    ),
    Consumer(
        name="sentence-transformers",
        task="embedding",
        classes="SentenceTransformer",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_SENTENCES,
        expects=_PIPELINE,
    ),
    Consumer(
        name="optimum-intel",
        task="embedding",
        classes="OVModelForFeatureExtraction, AutoTokenizer",
        reads="converted",
        cases=BY_PATH,
        asks=_SENTENCES,
        expects=_OWN_MEAN,
    ),
    Consumer(
        name="sentence-transformers-openvino",
        task="embedding",
        classes='SentenceTransformer(backend="openvino")',
        reads="converted",
        cases=BY_PATH,
        asks=_SENTENCES,
        expects=_PIPELINE,
    ),
    Consumer(
        name="transformers",
        task="reranker",
        classes="AutoModelForSequenceClassification, AutoTokenizer",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_PAIRS,
        expects=_LOGITS,
    ),
    Consumer(
        name="sentence-transformers",
        task="reranker",
        classes="CrossEncoder",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_PAIRS,
        expects=_SCORES,
    ),
    Consumer(
        name="optimum-intel",
        task="reranker",
        classes="OVModelForSequenceClassification, AutoTokenizer",
        reads="converted",
        cases=BY_PATH,
        asks=_PAIRS,
        expects=_LOGITS,
    ),
    Consumer(
        name="sentence-transformers-openvino",
        task="reranker",
        classes='CrossEncoder(backend="openvino")',
        reads="converted",
        cases=BY_PATH,
        asks=_PAIRS,
        expects=_SCORES,
    ),
    Consumer(
        name="transformers",
        task="seq2seq",
        classes="AutoModelForSeq2SeqLM, AutoTokenizer",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_PROMPTS,
        expects=_WRITTEN,
    ),
    Consumer(
        name="transformers-slow",
        task="seq2seq",
        classes="AutoModelForSeq2SeqLM, the slow tokenizer (T5Tokenizer)",
        reads="source",
        cases=BY_NAME_OR_PATH,
        asks=_PROMPTS,
        expects=_WRITTEN,
    ),
    Consumer(
        name="optimum-intel",
        task="seq2seq",
        classes="OVModelForSeq2SeqLM, AutoTokenizer",
        reads="converted",
        cases=BY_PATH,
        asks=_PROMPTS,
        expects=_WRITTEN,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python with the libraries of a service; `label` names it in test ids and reports."""

    python: Path
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load to try: a consumer in a case, the precision it reads (None: the original).

    `interpreter` is somebody else's Python, None for ours.
    """

    consumer: Consumer
    case: Case
    precision: str | None
    interpreter: Interpreter | None = None

    @property
    def id(self) -> str:
        """As test ids name it: ``int8:optimum-intel:path``, ``transformers:path:python=search``."""
        python = f"python={self.interpreter.label}" if self.interpreter else None
        parts = (self.precision, self.consumer.name, self.case.id, python)
        return ":".join(part for part in parts if part is not None)


def consumers_of(task: str, names: tuple[str, ...] | None) -> tuple[Consumer, ...]:
    """The task's consumers, or those of them that the catalogue names."""
    return tuple(
        consumer
        for consumer in CONSUMERS
        if consumer.task == task and (names is None or consumer.name in names)
    )


def loads_of(
    task: str,
    repo: str,
    names: tuple[str, ...] | None,
    precisions: tuple[str, ...],
    interpreters: tuple[Interpreter, ...] = (),
) -> tuple[Load, ...]:
    """Every load that a model must stand: the original's first, and ours before other Pythons'."""
    return tuple(
        Load(consumer=consumer, case=case, precision=precision, interpreter=interpreter)
        for interpreter in (None, *interpreters)
        for consumer in consumers_of(task, names)
        for precision in ((None,) if consumer.reads == "source" else precisions)
        for case in _cases(consumer, repo)
    )


def _cases(consumer: Consumer, repo: str) -> tuple[Case, ...]:
    short = consumer.classes == "SentenceTransformer" and repo.startswith(f"{SHORT_OWNER}/")
    return (*consumer.cases, BY_SHORT_NAME) if short else consumer.cases
