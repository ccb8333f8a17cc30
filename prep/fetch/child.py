"""The child that talks to the hub: ``python -m prep.fetch.child``, one order on stdin.

Nothing of the hub's own retrying or falling back to a cache is wanted here: the answer must be the
hub's, now, or an error that says why not.
"""

import contextlib
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_download,
    hf_hub_url,
    hf_raise_for_status,
)
from huggingface_hub.errors import RepositoryNotFoundError

from prep import hazards
from prep.change import is_told
from prep.children import Emit, Event, serve_one
from prep.errors import Hazardous, HubBusy, HubRefused, WrongBytes
from prep.fetch.failures import Asked, Shown, hub_errors
from prep.fetch.pace import CONNECT_SECONDS, Pace, Persistence
from prep.fetch.session import CannotServe, Hosts, host_of
from prep.fetch.transfer import Transfer, download, other_size, read_part, read_small
from prep.layout import Home, leads_astray, make_folder, point_link
from prep.lock import LockedFile
from prep.locking import NO_LOCKS
from prep.tasks import matches

WORKERS = 4  # files side by side; a hub counts requests, so not more
EVENT_SECONDS = 0.5


def main(order: Event, emit: Emit) -> Event:
    """Carry out one order of `prep.fetch`."""
    hosts = Hosts(emit)
    hosts.listen()
    persist = Persistence(Pace(order["timeout"], order["deadline"], emit), hosts, emit)
    repo, revision = order.get("repo", "anything"), order.get("commit") or order.get("revision", "")
    with hub_errors(_asked(repo, revision)):
        if order["do"] == "fetch":
            return {"fetched": _fetch(order, persist, emit)}
        if order["do"] == "ask":
            return _ask(order, persist)
        if order["do"] == "access":
            return {"refused": _refused(order, persist)}
        return persist(constants.ENDPOINT, lambda: _reach(persist.pace))


def _asked(repo: str, revision: str) -> Asked:
    """What an error's sentence names."""
    return Asked(
        endpoint=constants.ENDPOINT,
        repo=repo,
        revision=revision,
        has_token=get_token() is not None,
        shown=lambda: _shown(repo),
    )


def _reach(pace: Pace) -> Event:
    """One cheap request; any answer but those that can pass says that the host is there."""
    response = get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=pace.bounds())
    if response.status_code >= 500:
        hf_raise_for_status(response)
    return {}


def _refused(order: Event, persist: Persistence) -> Event:
    """Whose files the hub does not give us; one request for each model."""
    refused = {}
    for model, (repo, commit, path) in order["asked"].items():
        url = hf_hub_url(repo, path, revision=commit)
        try:
            with hub_errors(_asked(repo, commit)):
                persist(repo, partial(_may_read, url, persist.pace))
        except HubRefused as error:
            refused[model] = {"class": type(error).__name__, "message": str(error)}
        except HubBusy:
            continue
        persist.pace.step()
    return refused


def _may_read(url: str, pace: Pace) -> None:
    """One request; that the hub is busy says nothing, and is tried again where it matters."""
    with contextlib.suppress(CannotServe):
        get_hf_file_metadata(url, timeout=pace.silence())


def _shown(repo: str) -> Shown:
    """What the hub shows of a repository to somebody without a token; a diagnosis, no way on."""
    try:
        info = HfApi().model_info(repo, token=False, timeout=CONNECT_SECONDS)
    except RepositoryNotFoundError:
        return "hidden"
    except Exception:  # whatever it is, the refusal is what is told
        return "unknown"
    return "gated" if info.gated else "public"


def _fetch(order: Event, persist: Persistence, emit: Emit) -> int:
    files = [LockedFile(**file) for file in order["files"]]
    tally = Tally(sum(file.size for file in files), emit)
    with ThreadPoolExecutor(WORKERS) as pool:
        largest_first = sorted(files, key=lambda file: -file.size)
        jobs = [pool.submit(_fetch_one, order, file, persist, tally) for file in largest_first]
        try:
            for job in as_completed(jobs):  # the first that failed is the one to tell of
                job.result()
        except BaseException:  # Ctrl-C too: what has not begun need not; what runs keeps its bytes
            persist.given_up.set()
            pool.shutdown(cancel_futures=True)
            raise
    return tally.fetched


class Tally:
    """Counts bytes over all files and sends an event now and then."""

    def __init__(self, size: int, emit: Emit) -> None:
        self.size = size
        self.fetched = 0
        self.done = 0
        self.worked = 0  # only grows: what is done falls when a damaged part is started again
        self._emit = emit
        self._lock = threading.Lock()
        self._sent = 0.0

    def add(self, count: int, *, came: bool = True) -> None:
        """`count` more bytes are there; `came` over the network, or from an earlier run."""
        with self._lock:
            self.done += count
            self.worked += max(count, 0)
            self.fetched += count if came else 0
            if time.monotonic() - self._sent > EVENT_SECONDS or self.done >= self.size:
                self._sent = time.monotonic()
                self._emit(
                    {
                        "event": "bytes",
                        "total_done": self.worked,
                        "done": self.done,
                        "of": self.size,
                    }
                )


def _fetch_one(order: Event, file: LockedFile, persist: Persistence, tally: Tally) -> None:
    """Bring one file: its bytes to partial/, digested, to blobs/<etag>, linked by the hub's own."""
    repo, commit, cache = order["repo"], order["commit"], Path(order["cache"])
    url, what = hf_hub_url(repo, file.path, revision=commit), f"{repo}: {file.path}"
    etag = persist(what, lambda: _etag(url, repo, commit, file, persist.pace))
    persist.pace.step()
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / etag
    if blob.is_symlink() and leads_astray(Home(cache.parent), blob):
        blob.unlink()  # the link alone: right bytes behind it would be taken for ours
    download(
        Transfer(
            url=url,
            what=what,
            size=file.size,
            sha256=file.sha256,
            partial=Path(order["partial"]) / file.sha256,
            blob=blob,
            refuse=partial(_refuse, order, file.path),
        ),
        persist,
        tally.add,
    )
    persist.pace.step()
    # The hub's client takes a link that is there for right, whatever it leads to.
    (folder / "snapshots" / commit / file.path).unlink(missing_ok=True)
    persist(what, lambda: _link(repo, commit, file, cache, blob, persist.pace))
    persist.pace.step()


def _etag(url: str, repo: str, commit: str, file: LockedFile, pace: Pace) -> str:
    """The name of the file's blob, where the hub says that it serves the locked file."""
    meta = get_hf_file_metadata(url, timeout=pace.silence())
    if meta.commit_hash is None:
        raise HubRefused(
            f"{host_of(httpx.URL(url))} answers for {repo}, but not as a hub does: it names no "
            "commit. Check --hub (HF_ENDPOINT), the proxy, or whether this network wants a login "
            "first."
        )
    if meta.commit_hash != commit:
        raise HubRefused(
            f"{repo}: the hub answers for commit {meta.commit_hash}, the lock names {commit}. A "
            "mirror that does not keep commits cannot be used; see --hub."
        )
    if meta.etag is None or "/" in meta.etag:
        raise HubRefused(f"{repo}: the hub gives no usable ETag for {file.path}; see --hub.")
    if meta.size not in (None, file.size):
        raise WrongBytes(other_size(f"{repo}: {file.path}", str(meta.size), file.size))
    return meta.etag


def _refuse(order: Event, path: str, file: Path) -> None:
    """Raise where the file must not be run: before it has a name that a consumer reads."""
    if hazard := hazards.of_path(path, file, order["locked"]):
        raise Hazardous(
            f"{order['repo']}: {path} is the file that the lock names, and it is not taken: "
            f"{hazard.detail}. It was not placed, and --relock would not lock it. Choose another "
            "model or revision."
        )


def _link(repo: str, commit: str, file: LockedFile, cache: Path, blob: Path, pace: Pace) -> None:
    """Let the hub's client link the blob; by ourselves where it wants a lock and there is none."""
    try:
        wait = pace.silence()
        hf_hub_download(repo, file.path, revision=commit, cache_dir=cache, etag_timeout=wait)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        link = blob.parent.parent / "snapshots" / commit / file.path
        make_folder(link.parent)
        point_link(link, os.path.relpath(blob, link.parent))


def _ask(order: Event, persist: Persistence) -> Event:
    repo, globs = order["repo"], tuple(order["globs"])
    info = persist(
        repo,
        lambda: HfApi().model_info(
            repo,
            revision=order["revision"],
            files_metadata=True,
            timeout=persist.pace.silence(),
        ),
    )
    persist.pace.step()
    siblings = {one.rfilename: one for one in info.siblings or []}
    wanted = [path for path in siblings if matches(path, globs)]
    files: list[dict[str, Any]] = []
    for path in wanted:
        url, what = hf_hub_url(repo, path, revision=info.sha), f"{repo}: {path}"
        sibling, text = siblings[path], None
        if sibling.lfs is not None:
            size, sha256 = sibling.lfs.size, sibling.lfs.sha256
            read = partial(_part_there, url, what, persist)
        else:
            body = persist(what, partial(read_small, url, persist.pace))
            persist.pace.step()
            _check_oid(repo, path, body, sibling.size, sibling.blob_id)
            size, sha256 = len(body), hashlib.sha256(body).hexdigest()
            read = partial(_part_of, body)
            text = body.decode(errors="replace") if is_told(path) else None
        file = {"path": path, "size": size, "sha256": sha256, "text": text}
        hazard = hazards.of_file(path, size, read, wanted)
        files.append({**file, "hazard": hazard.detail if hazard else None})
    card = info.card_data
    tagged = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
    license = getattr(card, "license", None) or (tagged[0] if tagged else "unknown")
    others = [path for path in siblings if path not in wanted]
    head = info.sha
    if order["revision"] == info.sha:  # pinned to a commit: where would the name alone lead to now?
        head = persist(repo, lambda: HfApi().model_info(repo, timeout=persist.pace.silence())).sha
    return {
        "commit": info.sha,
        "head": head,
        "license": str(license),
        "files": files,
        "others": others,
    }


def _part_of(body: bytes, start: int, count: int) -> bytes:
    return body[start : start + count]


def _part_there(url: str, what: str, persist: Persistence, start: int, count: int) -> bytes:
    part = persist(what, partial(read_part, url, persist.pace, start, count))
    persist.pace.step()
    return part


def _check_oid(repo: str, path: str, body: bytes, size: int | None, oid: str | None) -> None:
    """A file outside LFS is named by git: sha1 over a header and the bytes."""
    header = f"blob {len(body)}\0".encode()
    got = hashlib.sha1(header + body, usedforsecurity=False).hexdigest()
    if size != len(body) or oid != got:
        raise WrongBytes(
            f"{repo}: {path} came as {len(body)} bytes with git oid {got}, the hub's own list says "
            f"{size} bytes with {oid}. Nothing was locked; run again, or ask the hub's keeper."
        )


if __name__ == "__main__":
    serve_one(main)
