"""Imports once, then forks a child for each job that is asked of it, until stdin ends.

The server itself must never compute: after one matrix product here, the children of every later
fork hang.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from typing import Any, BinaryIO

from prep.sandbox.probe import libraries
from prep.sandbox.probe.consumers import TASKS, import_libraries, lacking
from prep.sandbox.probe.guard import Guard
from prep.sandbox.probe.isolation import NotTried, die_with_parent, empty_home_mounts, isolate

Message = dict[str, Any]
GREETING = 0  # the number of the line that comes before any order; the same as on the other side


def serve(answers: int | None = None) -> None:
    """Serve until stdin ends. First line out: what there is to load with.

    `answers` is the descriptor to answer on, None for stdout; whatever libraries print goes to
    stderr, and an environment that prints at its start needs another descriptor.
    """
    die_with_parent()
    os.umask(0o022)
    if answers is None:
        answers = os.dup(1)
        os.dup2(2, 1)
    out = os.fdopen(answers, "wb")
    began = time.monotonic()
    broken = import_libraries()
    ready = {
        "python": platform.python_version(),
        "versions": libraries.versions(),
        "broken": broken,
        "not-tried": {
            name: {consumer: why for consumer in task.CONSUMERS if (why := lacking(name, consumer))}
            for name, task in TASKS.items()
        },
        "seconds": time.monotonic() - began,
    }
    _answer(out, GREETING, {"result": ready})
    for line in sys.stdin:
        order = json.loads(line)
        _answer(out, order["order"], do(order))


def _answer(out: BinaryIO, number: int, message: Message) -> None:
    """Write one line, with the number of the order that it answers."""
    out.write(json.dumps({**message, "order": number}).encode() + b"\n")
    out.flush()


def do(order: Message) -> Message:
    """Do one job in a forked child, within `order["timeout"]` seconds."""
    sys.stderr.flush()
    read, write = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(order, write)
    os.close(write)
    body, late = _collect(read, began + order["timeout"])
    if late:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    empty_home_mounts()
    if late:
        return {"late": order["timeout"]}
    message: Message = json.loads(body) if code == 0 else {"died": code}
    return message


def _collect(handle: int, ends: float) -> tuple[bytes, bool]:
    """All that comes until the pipe closes; whether the time ran out before."""
    body = b""
    with os.fdopen(handle, "rb", buffering=0) as pipe:
        while True:
            left = ends - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return body, True
            block = pipe.read(1 << 16)
            if not block:
                return body, False
            body += block


def _child(order: Message, write: int) -> None:
    """The forked child: set up its sandbox, do the job, send the result, and end."""
    code = 1
    try:
        die_with_parent()
        scratch = tempfile.mkdtemp(prefix="job-")
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        guard = Guard([scratch, *order["may_write"]])
        message = _outcome(order, scratch, guard)
        message["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        message["network"], message["writes"] = guard.network, sorted(set(guard.writes))
        shutil.rmtree(scratch, ignore_errors=True)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(json.dumps(message).encode())
        code = 0
    finally:
        os._exit(code)


def _outcome(order: Message, scratch: str, guard: Guard) -> Message:
    """The job's result, or the error that rose in it, for the parent to report."""
    try:
        shown = isolate(order["sandbox"], scratch)
        guard.install()
        module, _, function = order["call"].partition(":")
        began = time.monotonic()
        job = getattr(importlib.import_module(module), function)
        result = job({**order["args"], "shown": shown})
        return {"result": result, "seconds": time.monotonic() - began}
    except NotTried as reason:
        return {"not-tried": str(reason)}
    except Exception as error:
        traceback.print_exc()
        found: Message = {"class": type(error).__name__, "message": str(error)}
        if isinstance(error, OSError):
            path = error.filename if isinstance(error.filename, str) else None
            found.update(errno=error.errno, strerror=error.strerror, path=path)
        return {"error": found}
