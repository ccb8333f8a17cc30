"""The ways in which a test ends early, each with what it may do to the run, as one table."""

from dataclasses import dataclass
from typing import Any

A = "sentence-transformers:path"  # the load that is interrupted
C = "int8:optimum-intel:path:other:read-only"  # the last one, whose folder is not there
FIRST = "test_access_gives_the_same_answers"  # the test that asks for either of them first


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to end a test early: `how` the plugin does it, at load A, and the run's `args`.

    `code` is the run's exit code, `status` the verdict in the home. `failed` are the
    loads of which every test fails or is not reached, or where it says so the first test alone.
    `ends` says that the run ends there: no later test is judged at all.
    """

    how: str
    args: tuple[str, ...] = ()
    code: int = 1
    status: str = "failed"
    failed: tuple[str, ...] = (A, C)
    first_of_a_alone: bool = False
    gone: str | None = C
    ends: bool = False
    words: str = ""


TIMED_OUT = "from pytest-timeout"
RERUN = ("-p", "rerunfailures", "--reruns", "1")
WORKERS = ("-n", "2")
LASTS: dict[str, Any] = {"status": "ready", "failed": (), "gone": None}  # the verdict from before
WAYS = {
    "timeout in set-up, by signal": Way(how="timeout:signal", words=TIMED_OUT),
    "timeout in set-up, by signal, -n 2":
        Way(how="timeout:signal", args=WORKERS, words=TIMED_OUT),
    "timeout in set-up, by thread":
        Way(how="timeout:thread", ends=True, words="Timeout", **LASTS),
    "timeout in set-up, by thread, -n 2":
        Way(how="timeout:thread", args=WORKERS, first_of_a_alone=True,
            words="the process ended with exit code 1"),
    "timeout in the call, by signal":
        Way(how="timeout-in-call:signal", first_of_a_alone=True, words=TIMED_OUT),
    "timeout in the call, by thread": Way(how="timeout-in-call:thread", ends=True, **LASTS),
    "-x": Way(how="timeout:signal", args=("-x",), failed=(A,), first_of_a_alone=True, ends=True),
    "--maxfail=2": Way(how="timeout:signal", args=("--maxfail=2",), ends=True),
    "run again, a load that was interrupted":
        Way(how="timeout:signal", args=RERUN, code=0, **LASTS),
    "run again, a test that failed": Way(how="failure-in-call", args=RERUN, code=0, **LASTS),
    "run again under -n 2":
        Way(how="timeout:signal", args=(*RERUN, *WORKERS), failed=(C,), words="were run again"),
    "a worker is killed at a load":
        Way(how="kill", args=WORKERS, first_of_a_alone=True,
            words="most often out of memory"),
    "a worker is killed at a load, and nothing else is wrong":
        Way(how="kill", args=WORKERS, code=75, status="transient", failed=(A,), gone=None,
            first_of_a_alone=True),
    "SystemExit in a load": Way(how="SystemExit", words="SystemExit: 3"),
    "SystemExit in a test": Way(how="SystemExit-in-call", first_of_a_alone=True),
    "KeyboardInterrupt in a load":
        Way(how="KeyboardInterrupt", code=2, status="ready", failed=(), ends=True),
    "KeyboardInterrupt in a test":
        Way(how="KeyboardInterrupt-in-call", code=2, status="ready", failed=(), ends=True),
}  # fmt: skip
# Not among them, since pytest's own report of it is a success: another plugin's way to run again.
CALLED_AGAIN = Way(
    how="failure-in-call",
    args=("-p", "tests.support.interruptions.call_again"),
    failed=(),
    gone=None,
)
# What `make test` runs; the others are proofs.
QUICK = (
    "timeout in set-up, by signal",
    "run again, a load that was interrupted",
    "KeyboardInterrupt in a load",
)
