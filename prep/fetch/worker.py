"""The child that talks to the hub: ``python -m prep.fetch.worker``, one order on stdin.

Nothing of the hub's own retrying or falling back to a cache is wanted here: the answer must be the
hub's, now, or an error that says why not.
"""

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import ModelInfo, constants, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from prep.catalogue.lock import LockedFile
from prep.catalogue.pin_change import is_compared
from prep.errors import (
    ChecksumMismatch,
    HubBusy,
    HubRefused,
    ModelError,
    PrepError,
    UnsafeFile,
    listing,
)
from prep.fetch.download import Transfer, download, read_part, read_small
from prep.fetch.hub_errors import HubRequest, Shown, hub_errors
from prep.fetch.retry import ProgressTimer, Retry
from prep.fetch.session import (
    Hosts,
    ServerUnavailable,
    Session,
    UnexpectedAnswer,
    host_of,
    renamed,
    target_of,
)
from prep.files import unsafe
from prep.files.fields import COMMIT, SHA256, is_count, is_text, like, maybe, shown
from prep.files.fields import listed as listed_of
from prep.files.patterns import matches
from prep.files.reader import is_path, printable
from prep.home.layout import make_folder, point_link
from prep.process.child import Emit, Event, outcome_of, serve_one

WORKERS = 4  # files side by side; a hub counts requests, so not more
EVENT_SECONDS = 0.5
MOST_PAGES = 200  # of a tree's listing, with up to 1000 files each
HEAD_UNKNOWN = (405, 501)  # servers that know no HEAD: then the first file tells
HEADER_BYTES = 16 * 1024  # of weights, asked for at once: most headers fit, and need no second


class Child:
    """What all orders need: the way to the hub, and the patience for it."""

    def __init__(self, order: Event, emit: Emit) -> None:
        hosts = Hosts(emit)
        self.emit = emit
        self.pace = ProgressTimer(order["timeout"], order["deadline"], emit)
        self.persist = Retry(self.pace, hosts, emit)
        self.session = Session(constants.ENDPOINT, get_token(), self.pace, hosts, self.persist.tell)

    def asked(self, repo: str, revision: str) -> HubRequest:
        """What an error's sentence names."""
        return HubRequest(
            endpoint=re.sub(r"(?<=://)[^/@]*@", "", constants.ENDPOINT),  # no password in sentences
            repo=repo,
            revision=revision,
            has_token=get_token() is not None,
            shown=lambda: _shown(self.session, repo),
        )


def main(order: Event, emit: Emit) -> Event:
    """Carry out one order of `prep.fetch.hub`."""
    child = Child(order, emit)
    repo, revision = order.get("repo", "anything"), order.get("commit") or order.get("revision", "")
    with hub_errors(child.asked(repo, revision)):
        if order["do"] == "fetch":
            return {"fetched": _fetch(order, child)}
        if order["do"] == "ask":
            return _ask(order, child)
        if order["do"] == "access":
            return {"refused": _refused(order, child)}
        return child.persist(constants.ENDPOINT, lambda: _reach(child.session))


def _reach(session: Session) -> Event:
    """One cheap request; any answer of a hub but those that can pass says that it is there."""
    with contextlib.suppress(HfHubHTTPError):
        session.json(f"{constants.ENDPOINT}/api/models?limit=1")
    return {}


def _refused(order: Event, child: Child) -> Event:
    """Whose files the hub does not give us; one request for each model."""
    refused = {}
    for model, (repo, commit, path) in order["asked"].items():
        url = hf_hub_url(repo, path, revision=commit)
        try:
            with hub_errors(child.asked(repo, commit)):
                child.persist(repo, partial(_may_read, url, child.session))
        except ModelError as error:
            refused[model] = {"class": type(error).__name__, "message": str(error)}
        except HubBusy:
            continue
        except PrepError:  # no answer at all is none for the others either
            raise
        except Exception as error:  # an answer that nobody thought of is that model's alone
            refused[model] = outcome_of(error)
        child.pace.step()
    return refused


def _may_read(url: str, session: Session) -> None:
    """One request; that the hub is busy says nothing, and is tried again where it matters."""
    with (
        contextlib.suppress(ServerUnavailable),
        session.open("HEAD", url, accept=HEAD_UNKNOWN, to_the_end=False),
    ):
        pass


def _shown(session: Session, repo: str) -> Shown:
    """What the hub shows of a repository to somebody without a token; a diagnosis, no way on."""
    try:
        info = _model(session.json(_api(repo), token=False)[0])
    except RepositoryNotFoundError:
        return "hidden"
    except Exception:  # whatever it is, the refusal is what is told
        return "unknown"
    return "gated" if info.gated else "public"


def _fetch(order: Event, child: Child) -> int:
    files = [LockedFile(**file) for file in order["files"]]
    tally = Tally(sum(file.size for file in files), child.emit)
    with ThreadPoolExecutor(WORKERS) as pool:
        largest_first = sorted(files, key=lambda file: -file.size)
        jobs = [pool.submit(_fetch_one, order, file, child, tally) for file in largest_first]
        try:
            for job in as_completed(jobs):  # the first that failed is the one to tell of
                job.result()
        except BaseException:  # Ctrl-C too: what has not begun need not; what runs keeps its bytes
            child.persist.given_up.set()
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


def _fetch_one(order: Event, file: LockedFile, child: Child, tally: Tally) -> None:
    """Bring one file: its bytes to partial/, digested, to blobs/, and the snapshot's link to it."""
    repo, commit, cache = order["repo"], order["commit"], Path(order["cache"])
    folder = cache / f"models--{repo.replace('/', '--')}"
    transfer = Transfer(
        url=hf_hub_url(repo, file.path, revision=commit),
        repo=repo,
        commit=commit,
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        partial=Path(order["partial"]) / file.sha256,
        blobs=folder / "blobs",
        refuse=partial(_refuse, order, file.path),
    )
    blob = download(transfer, child.session, child.persist, tally.add)
    link = folder / "snapshots" / commit / file.path
    make_folder(link.parent)
    point_link(link, os.path.relpath(blob, link.parent))
    child.pace.step()


def _refuse(order: Event, path: str, file: Path) -> None:
    """Raise where the file must not be run: before it has a name that a consumer reads."""
    if finding := unsafe.of_path(path, file, order["locked"]):
        raise UnsafeFile(
            f"{order['repo']}: {path} is the file that the lock names, and it is not taken: "
            f"{finding.detail}. It was not placed, and --relock would not lock it. Choose another "
            "model or revision."
        )


def _ask(order: Event, child: Child) -> Event:
    repo, globs, session, persist = order["repo"], order["globs"], child.session, child.persist
    info = persist(repo, lambda: _info(session, repo, order["revision"]))
    if info.id != repo:  # the hub takes other spellings, and says here which one is its own
        session.say_once(renamed(repo, info.id))
    child.pace.step()
    assert info.sha is not None
    listed = persist(repo, lambda: _listed(session, child.pace, repo, info))
    wanted = [path for path in listed if matches(path, tuple(globs))]
    license = _license(info)
    if problems := list(unlike_a_hub(license, {path: listed[path] for path in wanted})):
        endpoint = child.asked(repo, "").endpoint
        raise HubRefused(
            f"{listing(f'{endpoint} answered what no hub answers of {repo}', problems)}\n"
            "Nothing was locked: ask the keeper of that hub or mirror, or give another HF_ENDPOINT."
        )
    files: list[dict[str, Any]] = []
    for path in wanted:
        url, what = hf_hub_url(repo, path, revision=info.sha), f"{repo}: {path}"
        size, oid, sha256 = listed[path]
        text = None
        read: Callable[[int, int], bytes]
        if sha256 is not None:
            read = Remote(url, what, size, child).read
        else:
            body = persist(what, partial(read_small, url, session))
            child.pace.step()
            _check_oid(repo, path, body, size, oid)
            sha256 = hashlib.sha256(body).hexdigest()
            read = partial(_part_of, body)
            text = body.decode(errors="replace") if is_compared(path) else None
        file = {"path": path, "size": size, "sha256": sha256, "text": text}
        finding = unsafe.of_file(path, size, read, wanted)
        files.append({**file, "unsafe": finding.detail if finding else None})
    head = info.sha
    if order["revision"] == info.sha:  # pinned to a commit: where would the name alone lead to now?
        head = persist(repo, lambda: _info(session, repo, None)).sha or head
    return {
        "commit": info.sha,
        "head": head,
        "license": license,
        "files": files,
        "others": [path for path in listed if path not in wanted],
    }


def _license(info: ModelInfo) -> str:
    tagged = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
    return str(getattr(info.card_data, "license", None) or (tagged[0] if tagged else "unknown"))


def unlike_a_hub(license: str, listed: "Listed") -> Iterator[str]:
    """What a lock cannot hold of the hub's answer; what is in the files is judged elsewhere."""
    if not is_path(license) or printable(license) != license:
        yield f"the license is {shown(license)}"
    for path, (size, oid, sha256) in listed.items():
        if not is_path(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
            yield f"a file is named {shown(path)}"
        if not is_count(size):
            yield f"{shown(path)} has {shown(size)} bytes"
        if sha256 is not None and not like(SHA256)(sha256):
            yield f"{shown(path)} has the sha256 {shown(sha256)}"
        if sha256 is None and not like(COMMIT)(oid):
            yield f"{shown(path)} has the git oid {shown(oid)}"


def _api(repo: str, *more: str) -> str:
    return "/".join((f"{constants.ENDPOINT}/api/models/{repo}", *(quote(one, "") for one in more)))


def _info(session: Session, repo: str, revision: str | None) -> ModelInfo:
    """What the hub's API says of a model."""
    more = ("revision", revision) if revision else ()
    url = f"{_api(repo, *more)}?blobs=true"
    data, _ = session.json(url)
    try:
        info = _model(data)
    except (TypeError, KeyError, AttributeError, ValueError):
        info = None
    if info is None or not _is_described(info):
        raise session.no_hub(url, "JSON that describes no model")
    return info


def _is_described(info: ModelInfo) -> bool:
    """Whether the parts that are used are of the types that a hub gives them."""
    names = [sibling.rfilename for sibling in info.siblings or []]
    return (
        like(COMMIT)(info.sha)
        and is_text(info.id)
        and maybe(listed_of(is_text))(info.tags)
        and listed_of(is_text)(names)
    )


def _model(data: dict[str, Any]) -> ModelInfo:
    return ModelInfo(**data)  # type: ignore[no-untyped-call]


Listed = dict[str, tuple[int, str | None, str | None]]  # path: size, git's oid, sha256 of LFS


def _listed(session: Session, pace: ProgressTimer, repo: str, info: ModelInfo) -> Listed:
    """The files of a commit with their checksums; by the tree where the model's info has none."""
    listed: Listed = {}
    for sibling in info.siblings or []:
        sha256 = _in_small(sibling.lfs.sha256) if sibling.lfs else None
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if size is None or not (sha256 or sibling.blob_id):
            return _tree(session, pace, repo, str(info.sha))
        listed[sibling.rfilename] = (size, sibling.blob_id, sha256)
    return listed


def _in_small(sha256: Any) -> Any:
    """A checksum as the lock writes it; some servers write capitals. What is none stays."""
    return sha256.lower() if isinstance(sha256, str) else sha256


def _tree(session: Session, pace: ProgressTimer, repo: str, commit: str) -> Listed:
    """The same from the listing of folders, which some mirrors pass on as it is."""
    listed: Listed = {}
    url: str | None = f"{_api(repo, 'tree', commit)}?recursive=true"
    asked: set[str] = set()
    try:
        while url is not None:
            if url in asked:
                raise HubRefused(
                    f"{host_of(httpx.URL(constants.ENDPOINT))} lists the files of {repo} in a "
                    "circle, and so not all of them. Nothing was locked: ask the keeper of that "
                    "hub or mirror, or give another HF_ENDPOINT."
                )
            if len(asked) == MOST_PAGES:
                raise HubRefused(
                    f"{host_of(httpx.URL(constants.ENDPOINT))} lists the files of {repo} on more "
                    f"than {MOST_PAGES} pages, which no model has. Nothing was locked: ask the "
                    "keeper of that hub or mirror, or give another HF_ENDPOINT."
                )
            asked.add(url)
            page, headers = session.json(url)
            for one in page:
                if one["type"] == "file":
                    lfs = one.get("lfs") or {}
                    sha256 = _in_small(lfs.get("oid")) if lfs else None
                    listed[one["path"]] = (lfs.get("size", one["size"]), one["oid"], sha256)
            pace.step()
            following = httpx.Response(200, headers=headers).links.get("next")
            url = str(target_of(httpx.URL(url), following["url"])) if following else None
    except (HfHubHTTPError, UnexpectedAnswer, KeyError, TypeError, ValueError, AttributeError):
        raise HubRefused(
            f"{host_of(httpx.URL(constants.ENDPOINT))} lists no checksums for {repo}, neither with "
            "the model nor in its tree. Lock at a hub that does (pytest --relock "
            "--hub=https://huggingface.co), and fetch from here."
        ) from None
    return listed


class Remote:
    """Reads parts of a large file that stays where it is; its beginning is asked for once."""

    def __init__(self, url: str, what: str, size: int, child: Child) -> None:
        self._url, self._what, self._size, self._child = url, what, size, child
        self._begin = b""

    def read(self, start: int, count: int) -> bytes:
        """So many bytes from there."""
        if not self._begin:
            self._begin = self._get(0, min(HEADER_BYTES, self._size))
        body = self._begin[start : start + count]
        missing = min(count, self._size - start) - len(body)
        return body if missing <= 0 else body + self._get(start + len(body), missing)

    def _get(self, start: int, count: int) -> bytes:
        part = self._child.persist(
            self._what,
            lambda: read_part(self._url, self._child.session, start, count, self._size),
        )
        self._child.pace.step()
        return part


def _part_of(body: bytes, start: int, count: int) -> bytes:
    return body[start : start + count]


def _check_oid(repo: str, path: str, body: bytes, size: int | None, oid: str | None) -> None:
    """A file outside LFS is named by git: sha1 over a header and the bytes."""
    header = f"blob {len(body)}\0".encode()
    got = hashlib.sha1(header + body, usedforsecurity=False).hexdigest()
    if size != len(body) or oid != got:
        raise ChecksumMismatch(
            f"{repo}: {path} came as {len(body)} bytes with git oid {got}, the hub's own list says "
            f"{size} bytes with {oid}. Nothing was locked; run again, or ask the hub's keeper."
        )


if __name__ == "__main__":
    serve_one(main)
