"""Everything that can go wrong, as one tree; each class says who must act.

`WrongRequest`: who typed the command, or wrote the file (exit 4). `ModelError`: permanent, the
owner of the model: files, lock or goldens (exit 1). `TransientError`: nobody, it may pass by itself
(exit 75). `NotTried`: nobody, this machine cannot make that load (skipped).
"""

import enum
from collections.abc import Sequence
from typing import ClassVar

LISTED = 200  # problems in one message


_CLASSES: dict[str, type["PrepError"]] = {}


class Exit(enum.IntEnum):
    """The exit codes that pytest does not have; all others are pytest's own."""

    MOVED = 10  # --relock --dry-run: the hub has moved on, and a bot may open a pull request
    TRANSIENT = 75  # EX_TEMPFAIL of sysexits.h: may pass by itself, so schedulers run it again
    TERMINATED = 143  # 128 + SIGTERM


class PrepError(Exception):
    """The root; never raised itself. Its text is a whole message: found, expected, what to do.

    It begins with `term`, the words that an engineer on call would search for.
    """

    term: ClassVar[str] = ""

    def __init_subclass__(cls, term: str = "") -> None:
        _CLASSES[cls.__name__] = cls
        cls.term = term or cls.term

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


class HubRefused(ModelError, term="refused by the hub"):
    """The hub answered, and the answer is no: 401, 403, 404, a wrong revision."""


class ConnectionMisconfigured(HubRefused, term="connection misconfigured"):
    """Certificates or proxy of this machine do not allow a connection to the hub."""


class NotAHub(ModelError, term="not a hub"):
    """What answered is no hub: a gateway, a proxy, a login page, or a wrong address."""


class ChecksumMismatch(ModelError, term="checksum mismatch"):
    """A file differs from the lock."""


class UnsafeFile(ModelError, term="unsafe file"):
    """A file matches the lock, and asks to run code, or its header does not fit it."""


class ConversionError(ModelError, term="conversion failed"):
    """A conversion failed, or its result must not be used."""


class NoUsableAnswers(ModelError, term="no usable answers"):
    """The published weights answer all questions alike, so that nothing can be judged by them."""


class Unsupported(ModelError, term="not supported"):
    """A model that cannot be prepared as its entry says: told before anything large is fetched."""


class ConverterMissing(ModelError, term="converter not installed"):
    """The converter that the model's architecture needs is not installed."""


class SignatureInvalid(ModelError, term="signature invalid"):
    """The home is not the one that was signed, or it was signed by another key."""


class LinkEscapesHome(ModelError, term="link leaves the home"):
    """A folder of the home is a link that leads out of it: nothing is written through it."""


class PathOccupied(ModelError, term="path occupied"):
    """Something else is where a file of ours belongs: it is not removed."""


class HomeNotWritable(ModelError, term="not writable"):
    """The home may not be written by this user, or is mounted read-only."""


class PreflightFailed(ModelError):
    """The preflight found a permanent problem."""


class ChildCrashed(ModelError, term="crashed"):
    """A child process ended without a result, or gave an invalid one."""


class Interrupted(ModelError, term="interrupted"):
    """A stage was ended by an exception that is no error, as `SystemExit`."""


class UnsuitableInterpreter(ModelError):
    """An interpreter that cannot be a consumer: no consumer is installed, or it is our own."""


class NotTried(PrepError):
    """A load that cannot be made here, which says nothing about the model."""


class TransientError(PrepError):
    """It can pass by itself: run the same command again later."""


class HubUnreachable(TransientError, term="hub unreachable"):
    """The hub's host does not answer."""


class HubBusy(TransientError, term="hub unavailable"):
    """The hub answered that it cannot serve now (408, 429, 5xx), or ended an answer early."""


class PreflightTransient(TransientError):
    """The preflight found a transient problem."""


class TimedOut(TransientError, term="timed out"):
    """A timeout or deadline of ours passed."""


class DiskFull(TransientError, term="no space left"):
    """No space left where something must be written."""


class LockTimeout(TransientError, term="timed out waiting for a lock"):
    """Another process held a model's lock for too long."""


class ChildKilled(TransientError, term="killed"):
    """A child process was killed with SIGKILL, most often out of memory."""


def listing(head: str, problems: Sequence[str]) -> str:
    """``head (2 problems):`` and each problem on a line of its own, `LISTED` at most."""
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    lines = [f"{head} ({count}):", *(f"  {problem}" for problem in problems[:LISTED])]
    if len(problems) > LISTED:
        lines.append(f"  … and {len(problems) - LISTED} more")
    return "\n".join(lines)


def by_name(name: str) -> type[PrepError]:
    """The class of that name, to raise a child's error in the parent."""
    if name not in _CLASSES:
        raise LookupError(f"no error class is named {name!r}")
    return _CLASSES[name]
