"""The Hugging Face hub's protocol on a local port, for the unmodified huggingface_hub client.

`pytest --hub sample` fetches the sample models from it, and the tests fetch from it over a broken
network: the same server, with faults. Standard library only, and only what reading takes: model
info, tree, paths-info, and HEAD and GET of files with Range. As on the hub, a large file is
answered with a redirect to where its bytes are (there a CDN, here another path).
"""

import argparse
import logging
import re
import signal
import ssl
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha1
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from sample_hub.connection import LOG, Connection, Listener, Refusal, Request
from sample_hub.faults import Fault
from sample_hub.served import (
    SAMPLES,
    File,
    ServedRepo,
    commit_of,
    describe,
    files_of,
    is_lfs,
    item_of,
    listing_of,
    sample_repos,
)

__all__ = ["Fault", "Hub", "Request", "ServedRepo", "commit_of", "is_lfs", "main", "sample_repos"]


class _Protocol(Connection):
    """What is asked of the hub, and the answer."""

    def __init__(self, hub: "Hub", *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def route(self, parts: list[str]) -> None:
        for part in self.hub.below:
            if parts[:1] != [part]:
                raise Refusal(404, message="Not found")
            parts = parts[1:]
        if parts[0] != "cdn":  # those addresses are signed, and ask for no token
            self._know(self._token())
        match parts:
            case ["api", "models", org, name]:
                self._info(self._repo(org, name, "main"))
            case ["api", "models", org, name, "revision", revision]:
                self._info(self._repo(org, name, revision))
            case ["api", "models", org, name, "tree", revision, *path]:
                self._tree(self._repo(org, name, revision), "/".join(path))
            case ["api", "models", org, name, "paths-info", revision]:
                listing = listing_of(files_of(self._repo(org, name, revision).folder))
                asked = [path for path in self.form.get("paths", ()) if path in listing]
                self.answer_json([item_of(path, listing[path]) for path in asked])
            case ["cdn", digest, org, name, *path]:
                self._cdn(f"{org}/{name}", digest, "/".join(path))
            case [org, name, "resolve", revision, *path]:
                self._resolve(self._repo(org, name, revision), "/".join(path))
            case _:
                raise Refusal(404, message="Not found")

    def _repo(self, org: str, name: str, revision: str) -> ServedRepo:
        commits = [repo for repo in self.hub.repos if repo.repo == f"{org}/{name}"]
        token = self._token()
        if not commits or (commits[0].private and token not in commits[0].readers):
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        for repo in reversed(commits):
            if revision in ("main", repo.commit, *repo.tags):
                return repo
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _know(self, token: str | None) -> None:
        """As the hub does: a wrong token is refused even where none is needed."""
        if token is not None and self.hub.tokens is not None and token not in self.hub.tokens:
            raise Refusal(401, message="Invalid credentials in Authorization header")

    def _let_in(self, repo: ServedRepo) -> None:
        if repo.gated and (token := self._token()) not in repo.readers:
            sentence = f"Access to model {repo.repo} is restricted"
            raise Refusal(403 if token else 401, "GatedRepo", sentence)

    def _info(self, repo: ServedRepo) -> None:
        siblings: list[dict[str, Any]] = []
        for path, file in files_of(repo.folder).items():
            siblings.append({"rfilename": path})
            if self.is_set("blobs"):
                known = describe(path, file)
                siblings[-1] |= {"size": known.size, "blobId": known.oid, **known.lfs("sha256")}
        info = {
            "id": repo.repo,
            "modelId": repo.repo,
            "author": repo.repo.partition("/")[0],
            "sha": repo.commit,
            "tags": [f"license:{repo.license}"] if repo.license else [],
            "cardData": {"license": repo.license} if repo.license else {},
            "siblings": siblings,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
        }
        self.answer_json(info)

    def _tree(self, repo: ServedRepo, top: str) -> None:
        listing = listing_of(files_of(repo.folder))
        if top and (top not in listing or top in listing[top]):
            raise Refusal(404, "EntryNotFound", f"{quote(top)} does not exist")
        places = [place for place in listing if not top or place.startswith(f"{top}/")]
        if not self.is_set("recursive"):
            places = [place for place in places if place.rpartition("/")[0] == top]
        start = int(self.query.get("cursor", 0))
        stop = start + max(1, int(self.query.get("limit", 1000)))
        headers = {}
        if stop < len(places):
            following = urlencode(self.query | {"cursor": str(stop)})
            headers["Link"] = f'<{self.origin()}{self.raw_path}?{following}>; rel="next"'
        page = [item_of(place, listing[place]) for place in places[start:stop]]
        self.answer_json(page, headers=headers)

    def _resolve(self, repo: ServedRepo, path: str) -> None:
        self._let_in(repo)
        file = files_of(repo.folder).get(path)
        if file is None:
            # With the commit: the client remembers that this revision has no such file.
            raise Refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repo.commit})
        known = describe(path, file)
        headers = {"X-Repo-Commit": repo.commit}
        if known.sha256 is None:
            self._send(known, known.oid, headers)
            return
        # Absolute, as the hub's: the client's HEAD would follow a relative one and lose the rest.
        at = self.fault.elsewhere or "/".join((self.origin(), *self.hub.below))
        headers["Location"] = f"{at}/cdn/{known.sha256}/{repo.repo}/{quote(path)}"
        headers["X-Linked-Etag"] = f'"{known.sha256}"'
        headers["X-Linked-Size"] = str(known.size)
        self.answer(302, headers | {"Accept-Ranges": "bytes"}, BytesIO(), range(0))

    def _cdn(self, repo: str, digest: str, path: str) -> None:
        for served in [served for served in self.hub.repos if served.repo == repo]:
            file = files_of(served.folder).get(path)
            if file is not None and (known := describe(path, file)).sha256 == digest:
                # Not the hub's ETag, as with a real CDN: a client that mixes them up is to be seen.
                self._send(known, digest[:32], {})
                return
        raise Refusal(404, message="Not found")

    def _send(self, known: File, etag: str, headers: dict[str, str]) -> None:
        new = self.fault.content
        if new is not None:
            known, etag = replace(known, size=len(new)), sha1(new).hexdigest()
        headers |= {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        part = self.part(headers["ETag"], known.size)
        if part is not None and not part:
            raise Refusal(416, headers={"Content-Range": f"bytes */{known.size}"})
        if part:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{known.size}"
        headers["Content-Type"] = "application/octet-stream"
        with known.file.open("rb") if new is None else BytesIO(new) as body:
            span = part or range(known.size)
            self.answer(206 if part else 200, headers, body, span, size=known.size)


class Hub:
    """A hub that serves these repositories as long as its context lasts.

    `url` is known once it is entered; `requests` are those that are finished, the oldest first.
    """

    def __init__(
        self,
        repos: Iterable[ServedRepo],
        *,
        faults: Callable[[str, str], Fault | None] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: int | None = None,
        tokens: Collection[str] | None = None,
        path: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what to serve; of several commits of one repository, the last one is "main".

        `faults` is asked for every request, with its method and its decoded path without query;
        `rate` holds for the body of each file, in bytes per second. Port 0 is any free one. Of
        `tokens` any is known where it is None. `path` is where it lies below its host, as some
        mirrors do; as a proxy for http it answers for every host.
        """
        self.repos = list(repos)
        self.requests: list[Request] = []
        self.url = ""
        self.tokens = tokens
        self.below = tuple(filter(None, path.split("/")))
        self._host, self._port, self._scheme = host, port, "https" if tls else "http"
        self._resting: threading.Thread | None = None
        self._over = threading.Event()
        self._listen = partial(
            Listener,
            handler=partial(_Protocol, self),
            faults=faults,
            rate=rate,
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
        self._listener = self._listen((self._host, self._port))
        self._port = self._listener.server_port
        at = f"{self._scheme}://{self._host}:{self._port}"
        self.url = "/".join((at, *self.below))
        serve = partial(self._listener.serve_forever, poll_interval=0.05)
        self._thread = threading.Thread(target=serve, name="sample-hub", daemon=True)
        self._thread.start()

    def _close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _rest(self, seconds: float) -> None:
        """Be gone for so long, as a hub that is started again; told by one of its connections."""

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
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not (repos := options.repo or sample_repos()):
        parser.error(f"nothing to serve: no sample models in {SAMPLES}, and no --repo")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with Hub(repos, port=options.port) as hub:
            LOG.info("%s serves %s", hub.url, ", ".join(repo.repo for repo in repos))
            stopped.wait()
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
