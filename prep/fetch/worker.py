"""The child that talks to the hub: ``python -m prep.fetch.worker``, one order on stdin.

The hub's own client would retry, or fall back to a cache. Neither is wanted here: the answer must
be the hub's, now, or an error that says why not.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import hf_hub_url

from prep.catalogue.lock import LockedFile
from prep.errors import HubBusy, ModelError, PrepError, UnsafeFile
from prep.fetch.client import Client
from prep.fetch.describe import describe
from prep.fetch.download import download
from prep.fetch.hub_errors import hub_errors
from prep.fetch.part import Transfer
from prep.fetch.ranges import STREAMS, Requests
from prep.fetch.session import ServerUnavailable, Session
from prep.files import unsafe
from prep.home.layout import Home, make_folder, point_link
from prep.process.child import Emit, Event, outcome_of, serve_one

WORKERS = 4  # files side by side; a hub counts requests, so not more
EVENT_SECONDS = 0.5
T = TypeVar("T")
HEAD_UNKNOWN = (405, 501)  # from servers without HEAD: then downloading will show it


def main(order: Event, emit: Emit) -> Event:
    """Carry out one order of `prep.fetch.hub`."""
    client = Client(order, emit)
    if order["do"] == "fetch":
        with hub_errors(client.request(order["repo"], order["commit"])):
            return {"fetched": _fetch(order, client)}
    if order["do"] == "ask":
        return _ask(order["asked"], client)
    return {"refused": _refused(order["asked"], client)}


def _ask(asked: Mapping[str, Any], client: Client) -> Event:
    """Describe models, each in an event of its own: together they may be too much for one line."""

    def describe_one(name: str) -> Event:
        repo, revision, globs = asked[name]
        own = client.of(f"asking about {repo}", name)
        with hub_errors(own.request(repo, revision)):
            return describe(repo, revision, globs, own)

    for name, model in _in_order(describe_one, asked, client):
        client.emit({"event": "described", "name": name, "model": model})
    return {}


def _refused(asked: Mapping[str, Any], client: Client) -> Event:
    """Why the hub does not give us a model's files; one request for each model."""

    def refusal(name: str) -> Event | None:
        repo, commit, path = asked[name]
        url, own = hf_hub_url(repo, path, revision=commit), client.of(f"asking about {repo}")
        try:
            with hub_errors(own.request(repo, commit)):
                own.retry(repo, partial(_may_read, url, own.session))
        except ModelError as error:
            return {"class": type(error).__name__, "message": str(error)}
        except HubBusy:
            return None
        except PrepError:  # without any answer the others get none either
            raise
        except Exception as error:  # unexpected: reported for this model alone
            return outcome_of(error)
        own.timer.step()
        return None

    refused = _in_order(refusal, asked, client)
    return {name: outcome for name, outcome in refused if outcome is not None}


def _in_order(
    work: Callable[[str], T], names: Iterable[str], client: Client
) -> Iterator[tuple[str, T]]:
    """What `work` gives for each name, several side by side; the first error in order is raised.

    The first is asked for alone: a hub that does not answer is told once.
    """
    first, *others = names
    yield first, work(first)
    with ThreadPoolExecutor(STREAMS) as pool:
        jobs = deque((name, pool.submit(work, name)) for name in others)
        try:
            while jobs:
                name, job = jobs.popleft()
                yield name, job.result()
        except BaseException:  # Ctrl-C too: pending repositories are not begun
            client.retry.cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise


def _may_read(url: str, session: Session) -> None:
    """One request; that the hub is busy says nothing, and is retried when fetching."""
    with (
        contextlib.suppress(ServerUnavailable),
        session.open("HEAD", url, accept=HEAD_UNKNOWN, follow_download=False),
    ):
        pass


def _fetch(order: Event, client: Client) -> int:
    files = [LockedFile(**file) for file in order["files"]]
    tally = Tally(sum(file.size for file in files), client.emit)
    streams = threading.BoundedSemaphore(STREAMS)
    requests = Requests(session=client.session, retry=client.retry, streams=streams)
    with ThreadPoolExecutor(WORKERS) as pool:
        largest_first = sorted(files, key=lambda file: -file.size)
        jobs = [pool.submit(_fetch_file, order, file, requests, tally) for file in largest_first]
        try:
            for job in as_completed(jobs):  # the first that failed is reported
                job.result()
        except BaseException:  # Ctrl-C too: pending files are not begun, running ones keep bytes
            client.retry.cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    return tally.fetched


class Tally:
    """Counts bytes over all files and sends an event now and then."""

    def __init__(self, size: int, emit: Emit) -> None:
        self.size = size
        self.fetched = 0
        self.done = 0
        self.worked = 0  # only grows: `done` falls when a corrupt part is started again
        self._emit = emit
        self._lock = threading.Lock()
        self._sent = 0.0

    def add(self, count: int, *, received: bool = True) -> None:
        """`count` more bytes are there; `received` over the network, or from an earlier run."""
        with self._lock:
            self.done += count
            self.worked += max(count, 0)
            self.fetched += count if received else 0
            if time.monotonic() - self._sent > EVENT_SECONDS or self.done >= self.size:
                self._sent = time.monotonic()
                event = {"event": "bytes", "total_done": self.worked, "done": self.done}
                self._emit({**event, "of": self.size})


def _fetch_file(order: Event, file: LockedFile, requests: Requests, tally: Tally) -> None:
    """Bytes to partial/, checked, to blobs/, and the snapshot's link to them."""
    repo, commit, home = order["repo"], order["commit"], Home(Path(order["home"]))
    transfer = Transfer(
        url=hf_hub_url(repo, file.path, revision=commit),
        repo=repo,
        commit=commit,
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        partial=Path(order["partial"]) / file.sha256,
        blobs=home.repo(repo) / "blobs",
        refuse=partial(_refuse_unsafe, order, file.path),
        ranged_above=order["ranged-above"],
    )
    blob = download(transfer, requests, tally.add)
    link = home.snapshot(repo, commit) / file.path
    make_folder(link.parent)
    point_link(link, os.path.relpath(blob, link.parent))
    requests.retry.timer.step()


def _refuse_unsafe(order: Event, path: str, file: Path) -> None:
    """Raise where the file is unsafe: before it has a name that a consumer reads."""
    if finding := unsafe.of_path(path, file, order["locked"]):
        raise UnsafeFile(
            f"{order['repo']}: {path} matches the lock and was not placed: {finding.detail}. "
            "--relock would not lock it. Choose another model or revision."
        )


if __name__ == "__main__":
    serve_one(main)
