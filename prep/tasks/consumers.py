"""What a consumer is, the cases in which it loads a model, and one load of it.

A case is how a service loads the model: how it names it, where its library looks for it, as which
user it runs, on what mount. OpenVINO consumers are given the path of a converted folder only: by
name they list the repository online, or export again. Which consumers there are, each task's own
module says.

In its first case a consumer is interrogated: it is asked every question, and every test of answers
judges what it says. Any other case is an access check: what could be wrong there is that other
files are read, or none, so that two answers tell.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

Way = Literal["name", "short-name", "commit", "path"]


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
        usual = ("HF_HOME", "owner", "read-write")
        differing = (value for value in (self.cache, self.user, self.mount) if value not in usual)
        return ":".join((self.way, *filter(None, differing)))


# Every value of every axis, in as few cases as that needs: each access check shows faults that no
# other case shows. The first two of a source need no right at all, so that they are tried in any
# container.
BY_NAME_OR_PATH = (
    Case(way="name", cache="HF_HOME"),
    Case(way="path", cache=None),
    Case(way="commit", cache="cache_dir", user="other", mount="read-only"),
)
BY_PATH = (
    Case(way="path", cache=None),
    Case(way="path", cache=None, user="other", mount="read-only"),
)
BY_SHORT_NAME = Case(way="short-name", cache="HF_HOME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One library's way into a model: `classes` are what a service calls.

    It `reads` the original weights or a converted precision; `needs` are files of a conversion that
    not every one has. A repository of the owner `short_owner` may be named without its owner. From
    that version of a library on, `until`, it does the same as another consumer.
    """

    name: str
    classes: str
    reads: Literal["source", "converted"]
    short_owner: str | None = None
    until: tuple[str, int] | None = None
    needs: tuple[str, ...] = ()

    @property
    def is_other_here(self) -> bool:
        """Whether it does something of its own with the libraries of this interpreter."""
        if self.until is None:
            return True
        library, major = self.until
        return _major_version(library) < major

    @property
    def cases(self) -> tuple[Case, ...]:
        """Those of any repository."""
        return BY_NAME_OR_PATH if self.reads == "source" else BY_PATH

    def cases_of(self, repo: str) -> tuple[Case, ...]:
        """Those of this repository."""
        short = self.short_owner is not None and repo.startswith(f"{self.short_owner}/")
        return (*self.cases, BY_SHORT_NAME) if short else self.cases


GENAI = "openvino-genai"


def genai(pipeline: str) -> Consumer:
    """OpenVINO's own runtime: the engine of its model server, without transformers or PyTorch."""
    return Consumer(
        name=GENAI, classes=pipeline, reads="converted", needs=("openvino_tokenizer.xml",)
    )


@cache
def _major_version(library: str) -> int:
    """That of this interpreter; read once, and not for every model of a catalogue."""
    return int(version(library).partition(".")[0])


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
    def is_interrogation(self) -> bool:
        """Whether every question is asked; else it is an access check, which asks two."""
        return self.case == self.consumer.cases[0]

    @property
    def interrogation(self) -> "Load":
        """The load whose answers this one must give as well."""
        return replace(self, case=self.consumer.cases[0])

    @property
    def id(self) -> str:
        """As test ids name it: ``int8:optimum-intel:path``, ``transformers:path:python=search``."""
        python = f"python={self.interpreter.label}" if self.interpreter else None
        parts = (self.precision, self.consumer.name, self.case.id, python)
        return ":".join(part for part in parts if part is not None)
