"""A hub that answers what no hub would, and what becomes of those who ask it.

Between the embedded hub and its client stands a server that changes answers: one `Answer` is a row.
The client is that of a run, `prep.fetch` with its child process.
"""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prep import fetch
from prep.catalogue import read_catalogue
from prep.errors import PrepError
from prep.fetch import Network
from prep.layout import Home
from prep.lock import read_lock
from sample_hub.server import Hub, sample_repos
from tests.runs import ROOT

CATALOGUE = read_catalogue(ROOT / "sample_hub" / "models.toml")
SPEC = CATALOGUE.models[0]
LOCKED = read_lock(CATALOGUE.lock_path).get(SPEC.name)
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def without(self, *names: str) -> "Answer":
        """The same without some headers."""
        kept = {name: value for name, value in self.headers.items() if name not in names}
        return replace(self, headers=kept)

    def having(self, **headers: str) -> "Answer":
        """The same with other headers, written as ``X_Linked_Size``."""
        fresh = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **fresh})

    def saying(self, body: bytes) -> "Answer":
        """The same with another body."""
        return replace(self, body=body)


Change = Callable[[Answer], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Answers to requests of `where` are changed: ``info``, ``file`` (HEAD, GET) or ``bytes``."""

    name: str
    where: str
    change: Change = field(repr=False)


def _info(name: str, edit: Callable[[dict[str, Any]], object]) -> Row:
    def change(answer: Answer) -> Answer:
        data = json.loads(answer.body)
        edit(data)
        return answer.saying(json.dumps(data).encode())

    return Row(name=name, where="info", change=change)


def _first(data: dict[str, Any], **more: object) -> None:
    weights = next(one for one in data["siblings"] if one["rfilename"] == WEIGHTS)
    weights.update(more)


ROWS: tuple[Row, ...] = (
    Row(name="no JSON", where="info", change=lambda one: one.saying(b"{oops")),
    Row(name="empty", where="info", change=lambda one: one.saying(b"")),
    Row(name="a list", where="info", change=lambda one: one.saying(b"[]")),
    Row(name="deep", where="info", change=lambda one: one.saying(b"[" * 100_000)),
    Row(name="no UTF-8", where="info", change=lambda one: one.saying(b"\xff" * 100)),
    Row(
        name="digits", where="info", change=lambda one: one.saying(b'{"sha":' + b"9" * 5000 + b"}")
    ),
    _info("no commit", lambda data: data.pop("sha")),
    _info("a commit that is a path", lambda data: data.update(sha="../../../etc")),
    _info("a commit that is a number", lambda data: data.update(sha=7)),
    _info("no files", lambda data: data.update(siblings=None)),
    _info("files that are texts", lambda data: data.update(siblings=["model.safetensors"])),
    _info("a file of -1 bytes", lambda data: _first(data, size=-1)),
    _info("a file of 10**30 bytes", lambda data: _first(data, size=10**30)),
    _info("a file whose size is a text", lambda data: _first(data, size="7")),
    _info("a file without a size", lambda data: _first(data, size=None, lfs=None)),
    _info("a file above", lambda data: _first(data, rfilename="../model.safetensors")),
    _info("an absolute file", lambda data: _first(data, rfilename="/etc/x.safetensors")),
    _info("half a character", lambda data: _first(data, rfilename="\ud800.safetensors")),
    _info("a NUL", lambda data: _first(data, rfilename="a\0.safetensors")),
    _info("a license that paints", lambda data: data.update(cardData={"license": "\x1b[2Jmit"})),
    _info("a card that is a list", lambda data: data.update(cardData=["mit"], tags=None)),
    Row(name="no size", where="file", change=lambda one: one.without("X-Linked-Size")),
    Row(name="no etag", where="file", change=lambda one: one.without("X-Linked-Etag", "ETag")),
    Row(name="no commit", where="file", change=lambda one: one.without("X-Repo-Commit")),
    Row(
        name="none of them",
        where="file",
        change=lambda one: one.without("X-Linked-Size", "X-Linked-Etag", "ETag", "X-Repo-Commit"),
    ),
    Row(name="another commit", where="file", change=lambda one: one.having(X_Repo_Commit="f" * 40)),
    Row(
        name="an etag that is a path",
        where="file",
        change=lambda one: one.having(
            X_Linked_Etag='"../../../../../evil"', ETag='"../../../../../evil"'
        ),
    ),
    Row(
        name="an etag of 5000 letters",
        where="file",
        change=lambda one: one.having(X_Linked_Etag=f'"{"a" * 5000}"', ETag=f'"{"a" * 5000}"'),
    ),
    Row(
        name="a size of 10**30",
        where="file",
        change=lambda one: one.having(X_Linked_Size=str(10**30)),
    ),
    Row(
        name="a size that is a text",
        where="file",
        change=lambda one: one.having(X_Linked_Size="many"),
    ),
    Row(
        name="a place on this disk",
        where="file",
        change=lambda one: (
            one.having(Location="file:///etc/passwd") if 300 <= one.status < 400 else one
        ),
    ),
    Row(name="no place", where="file", change=lambda one: one.without("Location")),
    Row(
        name="a place without a host",
        where="file",
        change=lambda one: one.having(Location="http://") if 300 <= one.status < 400 else one,
    ),
    Row(
        name="a place that is none",
        where="file",
        change=lambda one: one.having(Location="http://[::1") if 300 <= one.status < 400 else one,
    ),
    Row(name="another size", where="bytes", change=lambda one: one.saying(one.body + b"more")),
    Row(name="nothing", where="bytes", change=lambda one: one.saying(b"")),
    Row(
        name="a part that nobody asked for",
        where="bytes",
        change=lambda one: replace(one.having(Content_Range="bytes 0-9/10"), status=206),
    ),
    Row(
        name="a range that is none",
        where="bytes",
        change=lambda one: replace(one.having(Content_Range="bytes x-y/z"), status=206),
    ),
    Row(
        name="packed, and it is not",
        where="bytes",
        change=lambda one: one.having(Content_Encoding="gzip"),
    ),
)


class Between(ThreadingHTTPServer):
    """Asks the hub what it is asked, and changes the answer as its row says."""

    def __init__(self, hub: str) -> None:
        self.hub = urlsplit(hub)
        self.row: Row | None = None
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Between

    def handle(self) -> None:
        """A client that was refused leaves in the middle: nothing to tell of."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        hub = self.server.hub
        upstream = http.client.HTTPConnection(hub.hostname or "", hub.port, timeout=20)
        asked = {name: value for name, value in self.headers.items() if name != "Host"}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream.request(self.command, self.path, body, asked)
        got = upstream.getresponse()
        answer = Answer(status=got.status, headers=dict(got.headers), body=got.read())
        upstream.close()
        base = f"http://{hub.netloc}"
        if place := answer.headers.get("Location"):
            answer = answer.having(Location=place.replace(base, self.server.url))
        path, row = urlsplit(self.path).path, self.server.row
        where = "file" if "/resolve/" in path else "bytes" if path.startswith("/cdn/") else "info"
        if where == "file" and self.command == "GET" and answer.status == 200:
            where = "bytes"
        if row is not None and row.where == where:
            answer = row.change(answer)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name not in ("Content-Length", "Date", "Server", "Connection"):
                self.send_header(name, value)
        length = got.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = _answer  # as the base class calls them


@contextmanager
def between() -> Iterator[Between]:
    """The server, in front of an embedded hub."""
    with Hub(sample_repos()) as hub, Between(hub.url) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def outcome(server: Between, row: Row | None, folder: Path) -> tuple[str, str]:
    """Ask and fetch as a run does; the class of the error and its text, or ``read``."""
    assert LOCKED is not None
    server.row = row
    network = Network(endpoint=server.url, timeout=2.0)
    home = Home(folder / "home")
    try:
        if row is None or row.where == "info":
            scratch = folder / "ask"
            fetch.ask(network, SPEC.repo, "main", SPEC.globs, scratch=scratch)
        if row is None or row.where != "info":
            files = [file for file in LOCKED.files if file.path in (WEIGHTS, "config.json")]
            fetch.fetch_files(
                network,
                home,
                LOCKED.repo,
                LOCKED.commit,
                files,
                locked=[file.path for file in LOCKED.files],
                scratch=folder / "fetch",
                on_event=lambda event: None,
            )
    except PrepError as error:
        return type(error).__name__, str(error)
    return "read", ""
