"""Everything that can go wrong, as one tree; each class says who must act.

PrepError
├── WrongRequest         the person who typed the command                        exit 4
│   ├── CatalogueError   … who wrote models.toml
│   └── LockError        … who keeps models.lock.toml
├── ModelError           whoever owns the model: its bytes, pins or answers      exit 1
│   ├── HubRefused       … or the right to read it: 401, 403, 404, a wrong revision
│   ├── NotAHub          a gateway, a proxy or a login page answers in the hub's place
│   ├── ChecksumMismatch       what came or lies there is not what the lock names
│   ├── UnsafeFile        … or is, and must not be run
│   ├── ConversionError  the conversion failed, or its content is wrong
│   ├── LinkEscapesHome       a link in the home leads out of it: nothing is written through it
│   ├── PathOccupied         a folder stands where a file of ours belongs: nothing of it is removed
│   ├── HomeNotWritable       the home may not be written, and something must be
│   ├── PreflightFailed      something that stays keeps the preparation from beginning
│   ├── ChildCrashed        a child process of ours died of something that stays
│   ├── Interrupted      a stage was broken off by SystemExit or the like
│   └── UnsuitableInterpreter somebody else's Python, named with --consumer-python
├── NotTried             nobody: this machine cannot make that load; no verdict  skipped
└── Passing              nobody: it can pass by itself, run again                exit 75
    ├── HubUnreachable   no connection, no answer
    ├── HubBusy          408, 429, 5xx, a cut body
    ├── PreflightTransient           something that can pass keeps the preparation from beginning
    ├── TimedOut       our own deadline ran out
    ├── DiskFull
    ├── Waiting          another process holds the model for too long
    └── ChildKilled      the kernel killed a child (SIGKILL), most often for memory
"""

import enum
from collections.abc import Sequence
from typing import ClassVar

LISTED = 200  # problems that one message names


class Exit(enum.IntEnum):
    """The exit codes that pytest does not have; all others are pytest's own."""

    TRANSIENT = 75  # sysexits.h, EX_TEMPFAIL: schedulers retry it
    TERMINATED = 143  # 128 + SIGTERM


class PrepError(Exception):
    """The root; never raised itself. Its text is a whole message: got, wanted, what to do.

    It begins with `term`, the words that an engineer on call would search for.
    """

    term: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        begins = not self.term or message.startswith(self.term)
        super().__init__(message if begins else f"{self.term}: {message}")


class WrongRequest(PrepError):
    """The command cannot be carried out as it was written."""


class InvalidFile(WrongRequest):
    """A file of record cannot be used; names every problem with its place in the file."""

    remedy = "Correct the places named; docs/adding-a-model.md#goldens lists every key."

    def __init__(self, file: str, problems: Sequence[str], remedy: str | None = None) -> None:
        self.file = file
        self.problems = tuple(problems)
        what = self.remedy if remedy is None else remedy  # "" where each problem says it
        lines = [listing(f"{file} cannot be used", self.problems), what]
        super().__init__("\n".join(filter(None, lines)))


class CatalogueError(InvalidFile):
    """models.toml (or the file that --catalogue names) is wrong."""

    remedy = "Correct the places named; docs/reference.md#catalogue-and-lock lists every key."


class LockError(InvalidFile):
    """models.lock.toml is wrong, or does not answer the catalogue."""

    remedy = "It is written by pytest --relock alone: lock again, and review the diff."


class ModelError(PrepError):
    """A model cannot be used until somebody acts."""


class HubRefused(ModelError):
    """The hub answered, and the answer is no."""

    term = "refused by the hub"


class NotAHub(ModelError):
    """What answered is no hub: a secure gateway, a proxy, a login page, or a mistaken address."""

    term = "not a hub"


class ChecksumMismatch(ModelError):
    """Bytes that are not the lock's."""

    term = "checksum mismatch"


class UnsafeFile(ModelError):
    """Bytes that are the lock's, and that no library may be let at."""

    term = "unsafe file"


class ConversionError(ModelError):
    """A conversion failed or gave something that must not be used."""

    term = "conversion failed"


class LinkEscapesHome(ModelError):
    """A folder of the home is reached by a link that leaves it."""

    term = "link leaves the home"


class PathOccupied(ModelError):
    """Somebody's folder stands where a file of ours belongs."""

    term = "path occupied"


class HomeNotWritable(ModelError):
    """The home may not be written by this user, or is mounted read-only."""

    term = "not writable"


class PreflightFailed(ModelError):
    """The preflight found something that stays."""


class ChildCrashed(ModelError):
    """A child process ended in a way that running again will not change."""

    term = "crashed"


class Interrupted(ModelError):
    """A stage was broken off by an exception that is no error, as `SystemExit`."""

    term = "interrupted"


class UnsuitableInterpreter(ModelError):
    """An interpreter that cannot be a consumer of the model: of a service at all, or our own."""


class NotTried(PrepError):
    """A load that cannot be made here, which says nothing about the model."""


class TransientError(PrepError):
    """It can pass by itself: run the same command again later."""


class HubUnreachable(TransientError):
    """The hub's host does not answer."""

    term = "hub unreachable"


class HubBusy(TransientError):
    """The hub answered that it cannot serve now, or stopped in the middle."""

    term = "hub unavailable"


class PreflightTransient(TransientError):
    """The preflight found something that can pass by itself."""


class TimedOut(TransientError):
    """A deadline of ours ran out."""

    term = "timed out"


class DiskFull(TransientError):
    """No space is left where something must be written."""

    term = "no space left"


class LockTimeout(TransientError):
    """Another process works on the same model and did not finish in time."""

    term = "timed out waiting for a lock"


class ChildKilled(TransientError):
    """The kernel killed a child process."""

    term = "killed"


def listing(head: str, problems: Sequence[str]) -> str:
    """``head (2 problems):`` and each problem on a line of its own, of very many the first."""
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    lines = [f"{head} ({count}):", *(f"  {problem}" for problem in problems[:LISTED])]
    if len(problems) > LISTED:
        lines.append(f"  … and {len(problems) - LISTED} more")
    return "\n".join(lines)


def by_name(name: str) -> type[PrepError]:
    """The class of that name: how an error that rose in a child is raised again here."""
    found = [kind for kind in _all(PrepError) if kind.__name__ == name]
    if not found:
        raise LookupError(f"no error class is named {name!r}")
    return found[0]


def _all(kind: type[PrepError]) -> list[type[PrepError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _all(child))]
