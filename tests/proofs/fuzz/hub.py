"""A hub that answers what no hub would, and what becomes of those who ask it.

Between the embedded hub and its client is a server that changes answers: one `Row` is one kind
of change. The hub's redirects to its CDN lead through that server too, under another host name, as
the CDN has one. The client is that of a run, `prep.fetch.hub` with its child process.
"""

import contextlib
import http.client
import itertools
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from prep.catalogue.entries import read_catalogue
from prep.catalogue.lock import read_lock
from prep.errors import LISTED, PrepError
from prep.fetch import hub
from prep.fetch.hub import Network
from prep.home.layout import Home
from sample_hub.cdn import NAME as CDN_NAME
from sample_hub.server import Hub, sample_repos
from tests.support.paths import ROOT

CATALOGUE = read_catalogue(ROOT / "sample_hub" / "models.toml")
SPEC = CATALOGUE.models[0]
LOCKED = read_lock(CATALOGUE.lock_path).get(SPEC.name)
WEIGHTS = "model.safetensors"

Where = Literal["info", "tree", "file", "small", "bytes"]
Do = Literal["ask", "fetch", "access"]
# Who asks for what: the lock's maker, the fetching, and the preflight.
ASKED_BY: Mapping[Where, tuple[Do, ...]] = {
    "info": ("ask",),
    "tree": ("ask",),
    "file": ("ask", "fetch", "access"),
    "small": ("ask", "fetch"),
    "bytes": ("ask", "fetch"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def without(self, *names: str) -> "Answer":
        """The same without some headers."""
        dropped = {name.lower() for name in names}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        return replace(self, headers=kept)

    def having(self, **headers: str) -> "Answer":
        """The same with other headers, written as ``X_Linked_Size``."""
        fresh = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.without(*fresh).headers, **fresh})

    def saying(self, body: bytes) -> "Answer":
        """The same with another body."""
        return replace(self, body=body)


PAGE = itertools.count()
Change = Callable[[Answer], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Answers to requests of `where` are changed.

    ``info`` is what the hub says of a model, ``tree`` the listing that is asked for where that
    lacks checksums, ``file`` a redirect to bytes, ``small`` the hub's own cache to which that of a
    small file leads, ``bytes`` the CDN, to which that of a large one leads.
    """

    name: str
    where: Where
    change: Change = field(repr=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.name}"


def _json(where: Where, name: str, edit: Callable[[Any], object]) -> Row:
    def change(answer: Answer) -> Answer:
        data = json.loads(answer.body)
        edit(data)
        return answer.saying(json.dumps(data).encode())

    return Row(name=name, where=where, change=change)


def _info(name: str, **more: object) -> Row:
    return _json("info", name, lambda data: data.update(more))


def _listed(name: str, **more: object) -> Row:
    def edit(data: dict[str, Any]) -> None:
        weights = next(file for file in data["siblings"] if file["rfilename"] == WEIGHTS)
        lfs = more.get("lfs")
        given = {"lfs": weights["lfs"] | lfs} if isinstance(lfs, dict) else {}
        weights.update(more | given)

    return _json("info", name, edit)


def _placed(name: str, **more: object) -> Row:
    def edit(page: list[dict[str, Any]]) -> None:
        next(file for file in page if file["path"] == WEIGHTS).update(more)

    return _json("tree", name, edit)


def _in_capitals(files: list[dict[str, Any]], key: str) -> None:
    for file in files:
        if file.get("lfs"):
            file["lfs"][key] = file["lfs"][key].upper()


def _lacking(name: str, key: str) -> Row:
    def edit(page: list[dict[str, Any]]) -> None:
        for file in page:
            file.pop(key, None)

    return _json("tree", name, edit)


def _redirected(name: str, place: str) -> Row:
    """The redirect leads there instead."""
    return Row(
        name=name,
        where="file",
        change=lambda a: a.having(Location=place) if 300 <= a.status < 400 else a,
    )


def _headless(name: str, *headers: str) -> Row:
    return Row(name=name, where="file", change=lambda a: a.without(*headers))


def _header(name: str, where: Where = "file", **headers: str) -> Row:
    return Row(name=name, where=where, change=lambda a: a.having(**headers))


def _refused(name: str, status: int, body: bytes = b"", **headers: str) -> Row:
    return Row(
        name=name,
        where="file",
        change=lambda a: replace(
            a.without("Location").having(Content_Type="application/json", **headers),
            status=status,
            body=body,
        ),
    )


def _part(name: str, change: Change) -> Row:
    return Row(name=name, where="bytes", change=lambda a: replace(change(a), status=206))


def _said(where: Where, name: str, body: bytes) -> Row:
    return Row(name=name, where=where, change=lambda a: a.saying(body))


def _much() -> bytes:
    """Less than a megabyte on the wire, 600 of them in memory."""
    packer = zlib.compressobj(9, wbits=-15)  # without a checksum, so that one piece fits again
    piece = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * 600 + packer.flush()


def _packed(where: Where) -> Row:
    return Row(
        name="packed a thousandfold",
        where=where,
        change=lambda a: a.having(Content_Encoding="deflate").saying(_much()),
    )


# Latin-1, as headers are: a control character that some terminals obey, and a digit that is none.
CONTROL, DIGIT = "\x9b2J", "\xb2"
MANY_DIGITS = "9" * 5000

ROWS: tuple[Row, ...] = (
    _said("info", "no JSON", b"{oops"),
    _said("info", "empty", b""),
    _said("info", "a list", b"[]"),
    _said("info", "deep", b"[" * 100_000),
    _said("info", "no UTF-8", b"\xff" * 100),
    _said("info", "digits", b'{"sha":' + b"9" * 5000 + b"}"),
    _packed("info"),
    _json("info", "no commit", lambda data: data.pop("sha")),
    _info("a commit that is a path", sha="../../../etc"),
    _info("a commit that is a number", sha=7),
    _info("a commit that paints", sha="\x1b[2J" * 2000),
    _info("another name that paints", id="\x1b[2J/" + "a" * 5000),
    _info("a name that is a list", id=[7]),
    _info("no files", siblings=None),
    _info("files that are texts", siblings=["model.safetensors"]),
    _info("files that are a text", siblings="model.safetensors"),
    _info("tags that are numbers", cardData=None, tags=[7, None]),
    _info("tags that are a number", cardData=None, tags=7),
    _info("a date that is none", lastModified="yesterday"),
    _info("a license that paints", cardData={"license": "\x1b[2Jmit"}),
    _info("a license that is a list", cardData={"license": ["mit"]}),
    _info("a card that is a list", cardData=["mit"], tags=None),
    _listed("a large file of -1 bytes", lfs={"size": -1}),
    _listed("a large file of 10**30 bytes", lfs={"size": 10**30}),
    _listed("a large file of no bytes", lfs={"size": 0}),
    _listed("a large file whose size is a text", lfs={"size": "7"}),
    _listed("a large file whose size is half", lfs={"size": 7.5}),
    _listed("a large file whose checksum is a path", lfs={"sha256": "../../etc"}),
    _listed("a large file whose checksum is a number", lfs={"sha256": 7}),
    _listed("a large file of no form", lfs="large"),
    _listed("a file that is named above", rfilename="../model.safetensors"),
    _listed("an absolute file", rfilename="/etc/x.safetensors"),
    _listed("half a character", rfilename="\ud800.safetensors"),
    _listed("a NUL", rfilename="a\0.safetensors"),
    _listed("a file that is a number", rfilename=7),
    _listed("a file that is a list", rfilename=["a"]),
    _listed("a checksum of git's that is a number", blobId=7, lfs=False, size=7),
    _said("tree", "no JSON", b"{oops"),
    _said("tree", "no list", b'{"type":"file"}'),
    _said("tree", "a number", b"7"),
    _said("tree", "null", b"null"),
    _said("tree", "texts", b'["model.safetensors"]'),
    _packed("tree"),
    *(_lacking(f"without {key}", key) for key in ("type", "path", "oid", "size")),
    _placed("a large file of -1 bytes", lfs={"size": -1, "oid": "a" * 64}),
    _placed("a large file of 10**30 bytes", lfs={"size": 10**30, "oid": "a" * 64}),
    _placed("a size of no end", size=float("inf"), lfs=None),
    _placed("a large file whose checksum is a path", lfs={"size": 7, "oid": "../../etc"}),
    _placed("a large file that is a list", lfs=[7]),
    _placed("a file that is a list", path=["a"]),
    _placed("a file that is named above", path="../model.safetensors"),
    _header("a next page that is this one", "tree", Link='<?recursive=true>; rel="next"'),
    _json("info", "checksums in capitals", lambda data: _in_capitals(data["siblings"], "sha256")),
    _json("tree", "checksums in capitals", lambda page: _in_capitals(page, "oid")),
    Row(name="pages without end", where="tree",
        change=lambda a: a.having(Link=f'<?recursive=true&page={next(PAGE)}>; rel="next"')),
    _header("a next page at nobody's", "tree", Link='<http://127.0.0.1:9/x>; rel="next"'),
    _header("a next page on this disk", "tree", Link='<file:///etc/passwd>; rel="next"'),
    _header("a next page that is none", "tree", Link='<http://[::1>; rel="next"'),
    _header("a link that is none", "tree", Link="<<<;;;rel=next"),
    _headless("no size", "X-Linked-Size"),
    _headless("no etag", "X-Linked-Etag", "ETag"),
    _headless("no commit", "X-Repo-Commit"),
    _headless("none of them", "X-Linked-Size", "X-Linked-Etag", "ETag", "X-Repo-Commit"),
    _header("another commit", X_Repo_Commit="f" * 40),
    _header("a commit that paints", X_Repo_Commit=CONTROL * 1000),
    _header("an etag that is a path", X_Linked_Etag='"../../../../../evil"'),
    _header("an etag of 5000 letters", X_Linked_Etag=f'"{"a" * 5000}"'),
    _header("a size of 10**30", X_Linked_Size=str(10**30)),
    _header("a size of 5000 digits", X_Linked_Size=MANY_DIGITS),
    _header("a size that is a text", X_Linked_Size="many"),
    _header("a size that is no digit", X_Linked_Size=DIGIT),
    _redirected("a place on this disk", "file:///etc/passwd"),
    _redirected("a place without a host", "http://"),
    _redirected("a place that is none", "http://[::1"),
    _redirected("a place at a port that is none", "http://127.0.0.1:99999999/x"),
    _redirected("a place at a name that is too long", f"http://{'a' * 300}.example/x"),
    _redirected("a place of a scheme that nobody knows", "gopher://127.0.0.1/x"),
    _redirected("a place of 100000 letters", f"http://127.0.0.1/{'a' * 100_000}"),
    _redirected("a place that paints", "/api/models/%1b[2J/%9b2J/resolve/x"),
    _headless("no place", "Location"),
    _refused("busy until no end", 429, Retry_After="9" * 400),
    _refused("busy until a day that is none", 503,
        Retry_After="Mon, 99 Foo 99999 99:99:99 +9999999"),
    _refused("busy for 10**30 seconds", 429, Retry_After=str(10**30)),
    _refused("busy by a limit that is none", 429, RateLimit='"api";r=0;t=' + MANY_DIGITS),
    _refused("no, and deep", 403, b'{"error":' + b"[" * 100_000),
    _refused("no, and painted", 403, json.dumps({"error": "\x1b[2J" * 999}).encode()),
    _refused("no, of a form that is none", 404, b'{"errors":[7]}', X_Error_Code=CONTROL),
    Row(name="a web page by a painted server", where="file",
        change=lambda a: Answer(status=200, headers={"Content-Type": "text/html",
            "Server": CONTROL}, body=b"<html>")),
    _said("small", "another size", b"more"),
    _said("small", "nothing", b""),
    _packed("small"),
    _header("a size of 10**30", "small", X_Linked_Size=str(10**30)),
    _header("packed, and it is not", "small", Content_Encoding="gzip"),
    Row(name="another size", where="bytes", change=lambda a: a.saying(a.body + b"more")),
    _said("bytes", "nothing", b""),
    _packed("bytes"),
    _part("a part that nobody asked for", lambda a: a.having(Content_Range="bytes 0-9/10")),
    _part("a range that is none", lambda a: a.having(Content_Range="bytes x-y/z")),
    _part("a range of 5000 digits",
        lambda a: a.having(Content_Range=f"bytes {MANY_DIGITS}-9/{MANY_DIGITS}")),
    _part("a part without a range", lambda a: a.without("Content-Range")),
    _header("packed, and it is not", "bytes", Content_Encoding="gzip"),
    Row(name="no, and painted", where="bytes",
        change=lambda a: replace(a.saying(b"<Error><Message>\x1b[2J</Message></Error>" * 99),
            status=403)),
)  # fmt: skip


class Between(ThreadingHTTPServer):
    """Asks the hub what it is asked, and changes the answer as its row says.

    `met` counts the answers that were changed.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub, self.storage = urlsplit(hub.url), urlsplit(hub.storage)
        self.row: Row | None = None
        self.met = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def cdn(self) -> str:
        """Its address as the CDN."""
        return f"http://{CDN_NAME}:{self.server_address[1]}"

    def changed(self, where: Where, answer: Answer) -> Answer:
        """The answer as the row has it."""
        row = self.row
        if row is not None and row.where == "tree" and where == "info":
            answer = _without_checksums(answer)
        if row is None or row.where != where:
            return answer
        changed = row.change(answer)
        self.met += changed != answer
        return changed


def _without_checksums(answer: Answer) -> Answer:
    """What the hub says of a model, so little that its tree is asked for."""
    data = json.loads(answer.body)
    data["siblings"] = [{"rfilename": file["rfilename"]} for file in data["siblings"]]
    return answer.saying(json.dumps(data).encode())


def _where(path: str) -> Where | None:
    if path.startswith("/cdn/"):
        return "bytes"
    if path.startswith("/api/resolve-cache/"):
        return "small"
    if path.startswith("/api/models/"):
        return "tree" if "/tree/" in path else "info"
    return "file" if "/resolve/" in path else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Between

    def handle(self) -> None:
        """A client that was refused disconnects in the middle: no error."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        between, where = self.server, _where(urlsplit(self.path).path)
        at = between.storage if where == "bytes" else between.hub
        upstream = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
        asked = {name: value for name, value in self.headers.items() if name != "Host"}
        upstream.request(self.command, self.path, headers=asked)
        got = upstream.getresponse()
        answer = Answer(status=got.status, headers=dict(got.headers), body=got.read())
        upstream.close()
        if place := answer.headers.get("Location"):
            for theirs, ours in ((between.hub, between.url), (between.storage, between.cdn)):
                place = place.replace(f"{theirs.scheme}://{theirs.netloc}", ours)
            answer = answer.having(Location=place)
        if where is not None and answer.status < 400:
            answer = between.changed(where, answer)
        self.send_response_only(answer.status)
        for name, value in answer.without("Content-Length").headers.items():
            self.send_header(name, value)
        length = got.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = _answer  # as the base class calls them


@contextmanager
def between() -> Iterator[Between]:
    """The server, in front of an embedded hub."""
    with Hub(sample_repos()) as hub, Between(hub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def outcome(server: Between, row: Row | None, do: Do, folder: Path) -> tuple[str, str]:
    """Ask or fetch as a run does; the class of the error and its text, or ``read``.

    No row is met by accident, and none is missed: an answer was changed, or this is no test of it.
    """
    said: list[str] = []
    server.row, server.met = row, 0
    try:
        result = _done(server, do, folder, said.append)
    finally:
        met, server.row = server.met, None
    assert row is None or met, f"{row} was never met by {do}"
    for text in (result[1], *said):
        strange = [sign for sign in text if not sign.isprintable() and sign != "\n"]
        assert not strange, f"{strange[0]!r} in {text!r}"
        assert len(text) < 3000, f"{len(text)} characters: {text[:200]}"
        assert text.count("\n") < LISTED + 10, f"{text.count(chr(10))} lines"
    return result


def _done(server: Between, do: Do, folder: Path, say: Callable[[str], object]) -> tuple[str, str]:
    assert LOCKED is not None
    network = Network(endpoint=server.url, timeout=2.0)
    scratch = folder / do
    try:
        if do == "ask":
            globs = (*SPEC.globs, "*.safetensors", "*/*.safetensors")  # names that are none, too
            found = hub.ask(network, SPEC.repo, "main", globs, scratch=scratch, say=say)
            right = {(file.path, file.size, file.sha256) for file in LOCKED.files}
            taken = [file for file in found.files if file.unsafe is None]
            assert {(file.path, file.size, file.sha256) for file in taken} <= right, taken
            assert found.commit == LOCKED.commit
        elif do == "fetch":
            files = [file for file in LOCKED.files if file.path in (WEIGHTS, "config.json")]
            hub.fetch_files(
                network,
                Home(folder / "home"),
                LOCKED.repo,
                LOCKED.commit,
                files,
                locked=[file.path for file in LOCKED.files],
                scratch=scratch,
                on_event=lambda event: None,
                say=say,
            )
        else:
            asked = {SPEC.name: (LOCKED.repo, LOCKED.commit, WEIGHTS)}
            for error in hub.access(network, asked, scratch=scratch, say=say).values():
                raise error
    except PrepError as error:
        return type(error).__name__, str(error)
    return "read", ""
