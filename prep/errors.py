"""Everything that can go wrong, as one tree; each class says who must act.

PrepError
├── WrongRequest                   who typed the command                            exit 4
│   └── InvalidFile                … or wrote the file
│       ├── CatalogueError         … models.toml
│       └── LockError              … who maintains models.lock.toml
├── ModelError                     permanent: the owner of the model: files, lock or goldens  exit 1
│   ├── HubRefused                 … or of the right to read it: 401, 403, 404, a wrong revision
│   │   └── ConnectionMisconfigured  certificates or proxy of this machine
│   ├── NotAHub                    a gateway, a proxy or a login page answers
│   ├── ChecksumMismatch           a file differs from the lock
│   ├── UnsafeFile                 a file matches the lock and asks to run code, or its header lies
│   ├── ConversionError            the conversion failed, or its content is wrong
│   ├── LinkEscapesHome            a link in the home leads out of it: nothing is written through it
│   ├── PathOccupied               a folder is where a file of ours belongs: it is not removed
│   ├── HomeNotWritable            the home may not be written, and something must be
│   ├── PreflightFailed            the preflight found a permanent problem
│   ├── ChildCrashed               a child process ended without a result
│   ├── Interrupted                a stage was ended by SystemExit or the like
│   └── UnsuitableInterpreter      another Python, named with --consumer-python
├── NotTried                       nobody: this machine cannot make that load       skipped
└── TransientError                 nobody: may pass by itself, run again            exit 75
    ├── HubUnreachable             no connection, no answer
    ├── HubBusy                    408, 429, 5xx, a truncated body
    ├── PreflightTransient         the preflight found a transient problem
    ├── TimedOut                   a timeout or deadline of ours
    ├── DiskFull                   no space left
    ├── LockTimeout                another process holds the model for too long
    └── ChildKilled                SIGKILL, most often out of memory
"""

import enum
from collections.abc import Iterator, Sequence
from typing import ClassVar

LISTED = 200  # problems in one message


class Exit(enum.IntEnum):
    """The exit codes that pytest does not have; all others are pytest's own."""

    TRANSIENT = 75  # EX_TEMPFAIL of sysexits.h: may pass by itself, so schedulers run it again
    TERMINATED = 143  # 128 + SIGTERM


class PrepError(Exception):
    """The root; never raised itself. Its text is a whole message: found, expected, what to do.

    It begins with `term`, the words that an engineer on call would search for.
    """

    term: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        if self.term:  # once, and first, in the message of an error that quotes another one too
            term = f"{self.term}: "
            message = term + message.replace(term, "")
        super().__init__(message)


class WrongRequest(PrepError):
    """The command cannot be carried out as it was given."""


class InvalidFile(WrongRequest):
    """A file of ours cannot be used; names every problem with its place in the file."""

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
    """models.lock.toml is wrong, or does not match the catalogue."""

    remedy = "It is written by pytest --relock alone: lock again, and review the diff."


class ModelError(PrepError):
    """A model cannot be used until somebody acts."""


class HubRefused(ModelError):
    """The hub answered, and the answer is no."""

    term = "refused by the hub"


class ConnectionMisconfigured(HubRefused):
    """Certificates or proxy of this machine do not allow a connection to the hub."""

    term = "connection misconfigured"


class NotAHub(ModelError):
    """What answered is no hub: a gateway, a proxy, a login page, or a wrong address."""

    term = "not a hub"


class ChecksumMismatch(ModelError):
    """A file differs from the lock."""

    term = "checksum mismatch"


class UnsafeFile(ModelError):
    """A file matches the lock, and no library may read it."""

    term = "unsafe file"


class ConversionError(ModelError):
    """A conversion failed, or its result must not be used."""

    term = "conversion failed"


class LinkEscapesHome(ModelError):
    """A folder of the home is a link that leads out of it."""

    term = "link leaves the home"


class PathOccupied(ModelError):
    """Something else is where a file of ours belongs."""

    term = "path occupied"


class HomeNotWritable(ModelError):
    """The home may not be written by this user, or is mounted read-only."""

    term = "not writable"


class PreflightFailed(ModelError):
    """The preflight found a permanent problem."""


class ChildCrashed(ModelError):
    """A child process ended without a result, or gave an invalid one."""

    term = "crashed"


class Interrupted(ModelError):
    """A stage was ended by an exception that is no error, as `SystemExit`."""

    term = "interrupted"


class UnsuitableInterpreter(ModelError):
    """An interpreter that cannot be a consumer: no consumer is installed, or it is our own."""


class NotTried(PrepError):
    """A load that cannot be made here, which says nothing about the model."""


class TransientError(PrepError):
    """It can pass by itself: run the same command again later."""


class HubUnreachable(TransientError):
    """The hub's host does not answer."""

    term = "hub unreachable"


class HubBusy(TransientError):
    """The hub answered that it cannot serve now, or ended an answer early."""

    term = "hub unavailable"


class PreflightTransient(TransientError):
    """The preflight found a transient problem."""


class TimedOut(TransientError):
    """A timeout or deadline of ours passed."""

    term = "timed out"


class DiskFull(TransientError):
    """No space left where something must be written."""

    term = "no space left"


class LockTimeout(TransientError):
    """Another process held a model's lock for too long."""

    term = "timed out waiting for a lock"


class ChildKilled(TransientError):
    """A child process was killed with SIGKILL."""

    term = "killed"


def listing(head: str, problems: Sequence[str]) -> str:
    """``head (2 problems):`` and each problem on a line of its own, `LISTED` at most."""
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    lines = [f"{head} ({count}):", *(f"  {problem}" for problem in problems[:LISTED])]
    if len(problems) > LISTED:
        lines.append(f"  … and {len(problems) - LISTED} more")
    return "\n".join(lines)


def by_name(name: str) -> type[PrepError]:
    """The class of that name, to raise a child's error in the parent."""
    for kind in _subclasses(PrepError):
        if kind.__name__ == name:
            return kind
    raise LookupError(f"no error class is named {name!r}")


def _subclasses(kind: type[PrepError]) -> Iterator[type[PrepError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)
