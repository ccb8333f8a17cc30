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
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha1, sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from sample_hub.faults import CHUNK, LOG, Connection, Fault, Listener, Refusal, Request

__all__ = ["Fault", "Hub", "Request", "ServedRepo", "commit_of", "is_lfs", "main", "sample_repos"]

SAMPLES = Path(__file__).parent / "repos"
# What the .gitattributes file says that the hub puts into a new model repository.
LFS_NAMES = re.compile(
    r".+\.(7z|arrow|bin|bz2|ckpt|ftz|gz|h5|joblib|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb"
    r"|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|xz|zip|zst)"
    r"|.+\.(bin|lfs|tar)\..+|.*tfevents.*"
)
LFS_ABOVE = 10 * 1024 * 1024  # bytes; the hub takes no larger file into git itself


def is_lfs(path: str) -> bool:
    """Whether the hub's default .gitattributes keeps a file of this name in LFS."""
    name = path.rpartition("/")[2]
    return path.startswith("saved_model/") or LFS_NAMES.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a repository as the hub describes it."""

    file: Path
    size: int
    oid: str  # git's sha1 of the blob; for an LFS file, of the pointer that git holds in its place
    sha256: str | None = None  # LFS files only
    pointer_size: int = 0

    def lfs(self, digest_key: str) -> dict[str, Any]:
        """The "lfs" of a listing; model info and tree have different names for its digest."""
        if self.sha256 is None:
            return {}
        sizes = {"size": self.size, "pointerSize": self.pointer_size}
        return {"lfs": {digest_key: self.sha256, **sizes}}


_KNOWN: dict[tuple[str, Path, int, int, int], _File] = {}


def _describe(path: str, file: Path) -> _File:
    """Digest a file: once, as long as its size and its times of change stay the same."""
    stat = file.stat()
    key = (path, file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if known := _KNOWN.get(key):
        return known
    lfs = is_lfs(path) or stat.st_size > LFS_ABOVE
    digest = sha256() if lfs else sha1(b"blob %d\0" % stat.st_size)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    made = _File(file=file, size=stat.st_size, oid=digest.hexdigest())
    if lfs:
        lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{made.oid}")
        pointer = "\n".join((*lines, f"size {made.size}\n")).encode()
        oid = sha1(b"blob %d\0%b" % (len(pointer), pointer)).hexdigest()
        made = replace(made, oid=oid, sha256=made.oid, pointer_size=len(pointer))
    # Don't remember a file that was written just now: written again within the same tick of the
    # file system's clock, it could have the same size and times and be taken for the first.
    if time.time_ns() - stat.st_ctime_ns > 100_000_000:
        _KNOWN[key] = made
    return made


def _files(folder: Path) -> dict[str, Path]:
    """All that is served of a folder, by path. What is not in here cannot be asked for."""
    found = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        path.as_posix(): file
        for path, file in found.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    }


def _fold(files: dict[str, Path]) -> str:
    lines = sorted(f"{_describe(path, file).oid} {quote(path)}\n" for path, file in files.items())
    return sha1("".join(lines).encode()).hexdigest()


def commit_of(folder: Path) -> str:
    """The commit that a folder's content stands for: 40 hex digits that move with any change.

    The same everywhere for the same paths and bytes; not the commit that git would make.
    """
    return _fold(_files(folder))


def _listing(files: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """Files and folders by path, each with the files that it stands for."""
    found: dict[str, dict[str, Path]] = {}
    for path, file in files.items():
        for place in (path, *(parent.as_posix() for parent in Path(path).parents)):
            found.setdefault(place, {})[path] = file
    return {place: found[place] for place in sorted(found) if place != "."}


def _item(place: str, beneath: dict[str, Path]) -> dict[str, Any]:
    """One line of a tree listing."""
    if place not in beneath:
        return {"type": "directory", "oid": _fold(beneath), "size": 0, "path": place}
    known = _describe(place, beneath[place])
    facts = {"type": "file", "oid": known.oid, "size": known.size, "path": place}
    return facts | known.lfs("oid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRepo:
    """A folder that is served as a commit of a model repository."""

    repo: str  # "ORG/NAME"
    folder: Path  # its files, links followed; nothing hidden, no __pycache__
    commit: str  # 40 hex digits: what branch "main" and the commit itself resolve to
    license: str | None = None  # shown as cardData.license and as tag "license:…"

    @classmethod
    def of(cls, repo: str, folder: Path, license: str | None = None) -> Self:
        """Serve a folder under the commit that its content gives."""
        return cls(repo=repo, folder=folder, commit=commit_of(folder), license=license)


def sample_repos() -> tuple[ServedRepo, ...]:
    """The sample models that ship with the project."""
    folders = sorted(folder for folder in SAMPLES.glob("[!._]*/[!._]*") if folder.is_dir())
    return tuple(ServedRepo.of(f"{f.parent.name}/{f.name}", f, "apache-2.0") for f in folders)


class _Protocol(Connection):
    """What is asked of the hub, and the answer."""

    def __init__(self, hub: "Hub", *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def route(self, parts: list[str]) -> None:
        match parts:
            case ["api", "models", org, name]:
                self._info(self._repo(org, name, "main"))
            case ["api", "models", org, name, "revision", revision]:
                self._info(self._repo(org, name, revision))
            case ["api", "models", org, name, "tree", revision, *path]:
                self._tree(self._repo(org, name, revision), "/".join(path))
            case ["api", "models", org, name, "paths-info", revision]:
                listing = _listing(_files(self._repo(org, name, revision).folder))
                asked = [path for path in self.form.get("paths", ()) if path in listing]
                self.answer_json([_item(path, listing[path]) for path in asked])
            case ["cdn", digest, org, name, *path]:
                self._cdn(f"{org}/{name}", digest, "/".join(path))
            case [org, name, "resolve", revision, *path]:
                self._resolve(self._repo(org, name, revision), "/".join(path))
            case _:
                raise Refusal(404, message="Not found")

    def _repo(self, org: str, name: str, revision: str) -> ServedRepo:
        commits = [repo for repo in self.hub.repos if repo.repo == f"{org}/{name}"]
        if not commits:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        for repo in reversed(commits):
            if revision in ("main", repo.commit):
                return repo
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")

    def _info(self, repo: ServedRepo) -> None:
        siblings: list[dict[str, Any]] = []
        for path, file in _files(repo.folder).items():
            siblings.append({"rfilename": path})
            if self.is_set("blobs"):
                known = _describe(path, file)
                siblings[-1] |= {"size": known.size, "blobId": known.oid, **known.lfs("sha256")}
        info = {
            "id": repo.repo,
            "modelId": repo.repo,
            "author": repo.repo.partition("/")[0],
            "sha": repo.commit,
            "tags": [f"license:{repo.license}"] if repo.license else [],
            "cardData": {"license": repo.license} if repo.license else {},
            "siblings": siblings,
            **dict.fromkeys(("private", "gated", "disabled"), False),
        }
        self.answer_json(info)

    def _tree(self, repo: ServedRepo, top: str) -> None:
        listing = _listing(_files(repo.folder))
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
        page = [_item(place, listing[place]) for place in places[start:stop]]
        self.answer_json(page, headers=headers)

    def _resolve(self, repo: ServedRepo, path: str) -> None:
        file = _files(repo.folder).get(path)
        if file is None:
            # With the commit: the client remembers that this revision has no such file.
            raise Refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repo.commit})
        known = _describe(path, file)
        headers = {"X-Repo-Commit": repo.commit}
        if known.sha256 is None:
            self._send(known, known.oid, headers)
            return
        # Absolute, as the hub's: the client's HEAD would follow a relative one and lose the rest.
        headers["Location"] = f"{self.origin()}/cdn/{known.sha256}/{repo.repo}/{quote(path)}"
        headers["X-Linked-Etag"] = f'"{known.sha256}"'
        headers["X-Linked-Size"] = str(known.size)
        self.answer(302, headers | {"Accept-Ranges": "bytes"}, BytesIO(), range(0))

    def _cdn(self, repo: str, digest: str, path: str) -> None:
        for served in [served for served in self.hub.repos if served.repo == repo]:
            file = _files(served.folder).get(path)
            if file is not None and (known := _describe(path, file)).sha256 == digest:
                # Not the hub's ETag, as with a real CDN: a client that mixes them up is to be seen.
                self._send(known, digest[:32], {})
                return
        raise Refusal(404, message="Not found")

    def _send(self, known: _File, etag: str, headers: dict[str, str]) -> None:
        headers |= {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        part = self.part(headers["ETag"], known.size)
        if part is not None and not part:
            raise Refusal(416, headers={"Content-Range": f"bytes */{known.size}"})
        if part:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{known.size}"
        headers["Content-Type"] = "application/octet-stream"
        with known.file.open("rb") as body:
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
    ) -> None:
        """Take what to serve; of several commits of one repository, the last one is "main".

        `faults` is asked for every request, with its method and its decoded path without query;
        `rate` holds for the body of each file, in bytes per second. Port 0 is any free one.
        """
        self.repos = list(repos)
        self.requests: list[Request] = []
        self.url = ""
        handler, requests = partial(_Protocol, self), self.requests
        self._listen = partial(
            Listener, (host, port), handler, faults=faults, rate=rate, requests=requests
        )

    def __enter__(self) -> Self:
        """Listen, and answer in threads that end with the process."""
        self._listener = self._listen()
        self.url = "http://{}:{}".format(*self._listener.server_address)
        serve = partial(self._listener.serve_forever, poll_interval=0.05)
        self._thread = threading.Thread(target=serve, name="sample-hub", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and hang up on every client."""
        self._listener.close()
        self._thread.join()

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
