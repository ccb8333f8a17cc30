"""The import server: cut off from the network, imports once, forks a child for each job.

Importing the stack takes seconds, a forked child loads a model in tenths of one. The server itself
must never compute: after one matrix product here, the children of every later fork hang.
"""

import importlib
import json
import logging
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prep.children import death, die_with_parent, outcome
from prep.errors import NoProgress, PrepError
from prep.offline import netcut
from prep.offline.guard import Guard

Message = dict[str, Any]
IMPORTED = (
    "torch",
    "transformers",
    "sentence_transformers",
    "sentence_transformers.models",
    "optimum.intel",
    "openvino",
)


def main() -> None:
    """Serve until stdin ends. First line out: what was imported, and how the network is cut."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    die_with_parent()
    os.umask(0o022)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    began = time.monotonic()
    tier = netcut.cut()
    for name in IMPORTED:
        importlib.import_module(name)
    # transformers and optimum import lazily: take what every load will need, before any fork.
    importlib.import_module("prep.offline.probe").warm()
    versions = importlib.import_module("prep.offline.probe").versions()
    ready = {"cut": tier, "versions": versions, "seconds": time.monotonic() - began}
    out.write(json.dumps({"result": ready}).encode() + b"\n")
    for line in sys.stdin:
        out.write(json.dumps(serve(json.loads(line))).encode() + b"\n")


def serve(order: Message) -> Message:
    """Do one job in a forked child, within `order["timeout"]` seconds."""
    sys.stderr.flush()
    empty = Path(os.environ["HF_HOME"])
    read, write = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(order, empty, write)
    os.close(write)
    body, late = _collect(read, began + order["timeout"])
    if late:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if empty.is_symlink():  # the child made it where it could not mount; it must be empty again
        empty.unlink()
        empty.mkdir()
    if late:
        error: PrepError = NoProgress(
            f"{order['doing']}: not done within {order['timeout']:g} s, so it was stopped. On a "
            "busy machine, run again with fewer models at once."
        )
    elif not body:
        error = death(order["doing"], code)
    else:
        message: Message = json.loads(body)
        return message
    return {"error": {"class": type(error).__name__, "message": str(error)}}


def _child(order: Message, empty: Path, write: int) -> None:
    """The forked child: prepare its surroundings, do the job, send what came of it, and end."""
    code = 1
    try:
        die_with_parent()
        scratch = tempfile.mkdtemp(prefix="job-")
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        if order["home"] is not None:
            _show(Path(order["home"]), empty)
        guard = Guard([Path(scratch), *map(Path, order["may_write"])])
        guard.install()
        module, _, function = order["call"].partition(":")
        began = time.monotonic()
        message = outcome(lambda: getattr(importlib.import_module(module), function)(order["args"]))
        message["seconds"] = time.monotonic() - began
        message["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        message["network"], message["writes"] = guard.network, sorted(set(guard.writes))
        shutil.rmtree(scratch, ignore_errors=True)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(json.dumps(message).encode())
        code = 0
    finally:
        os._exit(code)


def _show(home: Path, at: Path) -> None:
    """Make the private, empty HF_HOME of this process the home: a mount, else a link."""
    try:
        netcut.bind(home, at)
    except OSError:
        at.rmdir()
        at.symlink_to(home)


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


if __name__ == "__main__":
    main()
