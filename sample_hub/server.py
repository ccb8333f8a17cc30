"""The Hugging Face hub's protocol on a local port, for the unmodified huggingface_hub client.

`pytest --hub sample` fetches the sample models from it, and the tests fetch from it over a broken
network: the same server, with faults. Standard library only, and only what reading takes: model
info, tree, paths-info, and HEAD and GET of files with Range. Its answers are those of the public
hub in 2026 (`protocol.py`), except that Xet is announced and not served: set HF_HUB_DISABLE_XET=1.
"""

import argparse
import logging
import re
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from sample_hub import cdn
from sample_hub.faults import Fault, Line
from sample_hub.flows import FLOWS
from sample_hub.listener import LOG, Kind, Listener, Request
from sample_hub.protocol import Protocol
from sample_hub.served import SAMPLES, ServedRepo, commit_of, is_lfs, sample_repos

__all__ = ["Fault", "Hub", "Request", "ServedRepo", "commit_of", "is_lfs", "main", "sample_repos"]

POLL_SECONDS = 0.02  # how often each listener looks whether it shall end


class Hub:
    """A hub that serves these repositories as long as its context lasts.

    `url` is known once it is entered, and so is `storage`, the origin of its CDN; `requests` are
    those that are finished, the oldest first.
    """

    def __init__(
        self,
        repos: Iterable[ServedRepo],
        *,
        faults: Callable[[str, str], Fault | None] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: int | None = None,
        line: int | None = None,
        tokens: Collection[str] | None = None,
        path: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what to serve; of several commits of one repository, the last one is "main".

        `faults` is asked for every request, with its method and its decoded path without query;
        `rate` holds for the body of each file, in bytes per second, `line` for all bodies together.
        Port 0 is any free one. Of `tokens` any is known where it is None. `path` is where it lies
        below its host, as some mirrors do; as a proxy for http it answers for every host. A
        certificate in `tls` has to name `localhost` too, which is the CDN's name.
        """
        self.repos = list(repos)
        self.requests: list[Request] = []
        self.url = self.storage = ""
        self.tokens = tokens
        self.below = tuple(filter(None, path.split("/")))
        self._host, self._port, self._scheme = host, port, "https" if tls else "http"
        self._storage_port = 0
        self._resting: threading.Thread | None = None
        self._over = threading.Event()
        self._listen = partial(
            Listener,
            handler=partial(Protocol, self),
            faults=faults,
            rate=rate,
            line=Line(line) if line else None,
            requests=self.requests,
            tls=tls,
            rest=self._rest,
        )

    def __enter__(self) -> Self:
        """Listen, and answer in threads that end with the process."""
        self._over.clear()
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and hang up on every client."""
        self._over.set()
        if self._resting is not None:
            self._resting.join()
        self._close()

    def _open(self) -> None:
        listener = self._listen((self._host, self._port))
        self._port = listener.server_port
        try:
            storage = cdn.listen(partial(self._listen, storage=True), self._storage_port)
        except OSError:
            listener.server_close()
            raise
        self._storage_port = storage[0].server_port
        at = f"{self._scheme}://{self._host}:{self._port}"
        self.url = "/".join((at, *self.below))
        self.storage = f"{self._scheme}://{cdn.NAME}:{self._storage_port}"
        self._running = [
            (
                server,
                threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True),
            )
            for server in (listener, *storage)
        ]
        for _, thread in self._running:
            thread.start()

    def _close(self) -> None:
        for listener, thread in self._running:
            listener.close()
            thread.join()

    def _rest(self, seconds: float) -> None:
        """Be gone for so long, as a hub that restarts; called by one of its connections."""

        def rest() -> None:
            self._close()
            self._over.wait(seconds)
            self._open()

        if self._resting is None or not self._resting.is_alive():
            self._resting = threading.Thread(target=rest, name="sample-hub-rest", daemon=True)
            self._resting.start()

    def bodies(self, name: str) -> list[Request]:
        """The finished GETs of a file's bytes, whole, in part or cut; name is its path's end."""
        return [
            request
            for request in self.requests
            if request.method == "GET" and request.status in (200, 206)
            if request.path.endswith(f"/{name}")
        ]

    def counts(self) -> Counter[Kind]:
        """How many finished requests there were of each kind."""
        return Counter(request.kind for request in self.requests)


def _repo_option(text: str) -> ServedRepo:
    match = re.fullmatch(r"([^/=]+/[^/=]+)=(.+?)(?:@([0-9a-f]{40}))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not ORG/NAME=FOLDER[@COMMIT]")
    if not (folder := Path(match[2])).is_dir():
        raise argparse.ArgumentTypeError(f"{match[2]!r} is not a folder")
    return ServedRepo(repo=match[1], folder=folder, commit=match[3] or commit_of(folder))


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sample_hub.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument(
        "--repo",
        action="append",
        type=_repo_option,
        metavar="ORG/NAME=FOLDER[@COMMIT]",
        help="serve this folder, not the sample models; repeatable",
    )
    parser.add_argument(
        "--flow",
        choices=FLOWS,
        metavar="NAME",
        help=f"answer as one of these, not as the public hub: {', '.join(FLOWS)}",
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not (repos := options.repo or sample_repos()):
        parser.error(f"nothing to serve: no sample models in {SAMPLES}, and no --repo")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        faults = FLOWS[options.flow]() if options.flow else None
        with Hub(repos, port=options.port, faults=faults) as hub:
            LOG.info("%s serves %s", hub.url, ", ".join(repo.repo for repo in repos))
            stopped.wait()
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
