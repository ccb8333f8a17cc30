"""Imports once, then forks a child for each job that is asked of it, until stdin ends.

Jobs run side by side: how many, the other side decides.

The server itself must never compute: after one matrix product here, the children of every later
fork hang.
"""

from __future__ import annotations

import gc
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
from prep.sandbox.probe.isolation import (
    NotTried,
    can_mount,
    die_with_parent,
    empty_home_mounts,
    isolate,
)

Message = dict[str, Any]
STDIN = 0
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
    gc.disable()  # imports make objects that stay: looking for garbage among them takes a sixth
    broken = import_libraries()
    gc.freeze()  # nor is it looked for there in the children, which would copy that memory
    gc.enable()
    ready = {
        "python": platform.python_version(),
        "versions": libraries.versions(),
        "broken": broken,
        "not-tried": {
            name: {consumer: why for consumer in task.CONSUMERS if (why := lacking(name, consumer))}
            for name, task in TASKS.items()
        },
        "side-by-side": can_mount(),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": time.monotonic() - began,
    }
    _answer(out, GREETING, {"result": ready})
    _serve_orders(out)


def _serve_orders(out: BinaryIO) -> None:
    """Start a job for each line of stdin at once, and answer in the order in which they end."""
    jobs: dict[int, Job] = {}  # by the descriptor that the child writes to
    buffer = b""
    while True:
        ends = min((job.ends for job in jobs.values()), default=None)
        left = None if ends is None else max(0.0, ends - time.monotonic())
        readable = select.select([STDIN, *jobs], [], [], left)[0]
        for handle in readable:
            if handle != STDIN and jobs[handle].is_over():
                job = jobs.pop(handle)
                _answer(out, job.number, job.message())
        now = time.monotonic()
        for handle, job in list(jobs.items()):
            if job.ends <= now:  # not before what it wrote until now was read
                _answer(out, job.number, jobs.pop(handle).late())
        if not jobs:
            empty_home_mounts()
        if STDIN in readable:
            block = os.read(STDIN, 1 << 16)
            if not block:
                os._exit(0)  # what still runs ends with this process; freeing libraries takes long
            *lines, buffer = (buffer + block).split(b"\n")
            for line in lines:
                order = json.loads(line)
                jobs |= {(job := Job(order)).handle: job}


def _answer(out: BinaryIO, number: int, message: Message) -> None:
    """Write one line, with the number of the order that it answers."""
    out.write(json.dumps({**message, "order": number}).encode() + b"\n")
    out.flush()


class Job:
    """A job in a forked child, which has until `ends` on the monotonic clock."""

    def __init__(self, order: Message) -> None:
        sys.stderr.flush()
        self.number: int = order["order"]
        self.timeout: float = order["timeout"]
        self.ends = time.monotonic() + self.timeout
        self.handle, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.handle)
            _child(order, write)
        os.close(write)
        self._body = bytearray()

    def is_over(self) -> bool:
        """Take what it wrote; whether it closed its pipe."""
        block = os.read(self.handle, 1 << 16)
        self._body += block
        return not block

    def message(self) -> Message:
        """Its result, or how it ended without one."""
        code = self._end()
        message: Message = json.loads(self._body) if code == 0 else {"died": code}
        return message

    def late(self) -> Message:
        """Kill it; says how long it had."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()
        return {"late": self.timeout}

    def _end(self) -> int:
        os.close(self.handle)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _child(order: Message, write: int) -> None:
    """The forked child: set up its sandbox, do the job, send the result, and end."""
    code = 1
    try:
        die_with_parent()
        scratch = tempfile.mkdtemp(prefix="job-")
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        if order["threads"]:
            libraries.use_threads(order["threads"])
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
