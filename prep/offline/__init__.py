"""Loads by consumers in processes that have no network: this side starts and asks the server."""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.children import Child, Event, environment, unwrap
from prep.errors import NoProgress, PrepError, by_name

START_SECONDS = 180
JOB_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job in a forked child gave: `value`, and what its guard saw.

    `seconds` and `peak` (bytes of memory, with the imported libraries) are the child's own.
    """

    value: dict[str, Any]
    seconds: float
    peak: int
    network: tuple[dict[str, str], ...]
    writes: tuple[str, ...]


class ImportServer:
    """One process without network that has torch, transformers and openvino imported.

    `start` returns at once, so that importing goes on beside a download; `ready` waits for it.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._child: Child | None = None
        self._facts: Event | None = None

    def start(self) -> None:
        """Start importing; does nothing where that was done before."""
        if self._child is not None:
            return
        private = Path(tempfile.mkdtemp(prefix="offline-", dir=self._scratch))
        empty = private / "hf-home"
        env = environment(
            private,
            network=False,
            HF_HOME=str(empty),
            HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1",
            TMPDIR=str(private / "tmp"),
        )
        empty.mkdir()
        (private / "tmp").mkdir()
        command = [sys.executable, "-m", "prep.offline.server"]
        self._child = Child(command, env, private / "server.log")

    def ready(self, say: Callable[[str], None] = lambda text: None) -> Event:
        """What the server imported and how its network is cut; waits until it is there."""
        if self._facts is None:
            self.start()
            say("importing torch, transformers and openvino in a process without network")
            self._facts = unwrap(self._wait("starting the import server", START_SECONDS))
        return self._facts

    def run(
        self,
        call: str,
        args: dict[str, Any],
        *,
        doing: str,
        home: Path | None = None,
        may_write: Sequence[Path] = (),
        timeout: float = JOB_SECONDS,
        on_wait: Callable[[], None] = lambda: None,
    ) -> JobResult:
        """Run ``module:function`` on `args` in a forked child; raises what rose there.

        `home` becomes the child's HF_HOME; without it that stays an empty folder.
        """
        self.ready()
        assert self._child is not None
        order = {
            "call": call,
            "args": args,
            "doing": doing,
            "home": str(home) if home else None,
            "may_write": [str(path) for path in may_write],
            "timeout": timeout,
        }
        try:
            self._child.send(order)
        except EOFError:
            raise self._child.obituary(doing) from None
        line = self._wait(doing, timeout + 10, on_wait)
        if "error" in line:
            raise _failed(doing, line)
        return JobResult(
            value=line["result"],
            seconds=line["seconds"],
            peak=line["peak"],
            network=tuple(line["network"]),
            writes=tuple(line["writes"]),
        )

    def stop(self) -> None:
        """End the server and whatever it runs."""
        if self._child is not None:
            if self._facts is not None:
                self._child.end()
            self._child.stop()
            self._child = self._facts = None

    def _wait(
        self, doing: str, timeout: float, on_wait: Callable[[], None] = lambda: None
    ) -> Event:
        assert self._child is not None
        ends = time.monotonic() + timeout
        try:
            while (line := self._child.receive(timeout=0.5)) is None:
                on_wait()
                if time.monotonic() > ends:
                    self.stop()  # else its late answer would be taken for the next job's
                    raise NoProgress(
                        f"{doing}: no answer within {timeout:g} s, so it was stopped. On a busy "
                        "machine, run again with fewer models at once."
                    )
        except EOFError:
            raise self._child.obituary(doing) from None
        return line


def _failed(doing: str, line: Event) -> PrepError:
    """What rose in a forked child, with what it did, and what it reached for meanwhile."""
    error = line["error"]
    reached = "".join(
        f"\n  it reached for {one['host']}, asked for by {one['caller']}"
        for one in line.get("network", ())
    )
    return by_name(error["class"])(f"{doing} failed: {error['message']}{reached}")
