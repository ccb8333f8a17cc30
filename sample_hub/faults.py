"""One connection of the embedded hub, and what can go wrong on it.

`server.py` knows what is asked and what the answer is; here the answer goes over the wire, whole or
as a `Fault` says, and is noted as a `Request`. A fault concerns one request: the tests choose it.
"""

import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import TCPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, parse_qsl, unquote

LOG = logging.getLogger("sample_hub")
CHUNK = 256 * 1024
PER_SECOND = 20  # writes per second of a body with a rate: even, without one write for each byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to one answer; fields combine, and a Fault without arguments does nothing.

    To add one: a field here whose default does nothing, and the line below that heeds it.
    """

    status: int | None = None  # this status and a short error, in place of what was asked for
    headers: Mapping[str, str] = field(default_factory=dict)  # added to the answer's, or replacing
    code: str | None = None  # X-Error-Code, with `status`
    message: str | None = None  # X-Error-Message, with `status`
    cut: int | None = None  # close the connection after so many bytes of this body
    spoil: int = 0  # so many bytes at a file's end are wrong; size, ETag and name stay right
    stall: float = 0.0  # seconds of silence before the body; without one (HEAD), before the headers
    ignore_range: bool = False  # 200 and the whole file, whatever part was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One finished request."""

    method: str
    path: str  # decoded, without its query
    range: str | None  # the Range header
    status: int
    sent: int  # bytes of body, also when it was cut short by a fault or by the client
    authorization: bool  # whether a token came with it; the token itself is never kept


class Listener(ThreadingHTTPServer):
    """The listening socket, what its connections share, and an end that also ends those."""

    request_queue_size = 128  # the default of 5 refuses several clients of 8 threads each

    def __init__(
        self,
        address: tuple[str, int],
        handler: Callable[..., BaseHTTPRequestHandler],
        *,
        faults: Callable[[str, str], Fault | None] | None,
        rate: int | None,
        requests: list[Request],
    ) -> None:
        """Bind; the handler is called with (connection, address, this listener)."""
        self.faults, self.rate, self.requests = faults, rate, requests
        self.closing = threading.Event()
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, and don't look up the host's name: without network that can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "sample-hub", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection while it is open."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._open.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        """Stop listening and hang up: a kept-alive connection would be answered for ever."""
        self.closing.set()
        self.shutdown()
        for connection in self._open.copy():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it went by itself
                LOG.debug("already closed")
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to report; all else is a mistake in here."""
        hung_up = isinstance(sys.exc_info()[1], ConnectionError)
        LOG.log(logging.DEBUG if hung_up else logging.ERROR, "connection lost", exc_info=True)


class Refusal(Exception):
    """An error is the answer: its status, and what the client reads to raise the right error."""

    def __init__(
        self,
        status: int,
        code: str | None = None,
        message: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Code and message go into the headers X-Error-Code and X-Error-Message."""
        super().__init__(status, code, message)
        self.status, self.text = status, message or code or str(status)
        said = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self.headers = {key: value for key, value in said.items() if value is not None}


class Connection(BaseHTTPRequestHandler):
    """One connection, with as many requests as the client makes on it."""

    server: Listener
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle would hold the second until the first is acknowledged.
    disable_nagle_algorithm = True

    def route(self, parts: list[str]) -> None:
        """Answer a request for a path, given in its decoded parts, or raise a Refusal."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Read one request, answer it, note it."""
        self.raw_path, _, query = self.path.partition("?")
        self.query = dict(parse_qsl(query))
        # Read it whatever the answer will be, or it would be taken for the next request.
        self.form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.status, self.sent, self.noted = 0, 0, False
        choose = self.server.faults
        self.fault = (choose and choose(self.command, unquote(self.raw_path))) or Fault()
        try:
            if self.fault.status is not None:
                raise Refusal(self.fault.status, self.fault.code, self.fault.message)
            # Split before decoding: a revision or a folder may hold an encoded slash.
            self.route([unquote(part) for part in self.raw_path.split("/")[1:]])
        except Refusal as refusal:
            self.answer_json({"error": refusal.text}, refusal.status, refusal.headers)
        finally:
            self._note(self.sent)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line to stderr for each request."""
        LOG.debug(format, *args)

    def origin(self) -> str:
        """This server under the name by which the client knows it."""
        return f"http://{self.headers['Host']}"

    def part(self, etag: str, size: int) -> range | None:
        """The bytes of a file that are asked for: an empty range if it has none of these, None
        if no part is asked for (or several, or in a way that HTTP lets a server ignore)."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if self.command != "GET" or self.fault.ignore_range or match is None:
            return None
        first, last = match.groups()
        if self.headers.get("If-Range", etag) != etag or not (first or last):
            return None
        if not first:
            return range(max(0, size - int(last)), size)
        if last and int(last) < int(first):
            return None
        return range(int(first), min(size, int(last) + 1) if last else size)

    def is_set(self, name: str) -> bool:
        """A switch in the query, as httpx writes it and as older clients' requests does."""
        return self.query.get(name) in ("true", "True")

    def answer_json(
        self, data: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with data."""
        body = json.dumps(data).encode()
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self.answer(status, kind | (headers or {}), BytesIO(body), range(len(body)))

    def answer(
        self,
        status: int,
        headers: dict[str, str],
        body: BinaryIO,
        span: range,
        *,
        size: int | None = None,
    ) -> None:
        """Send headers and, unless it is a HEAD, the bytes `span` of body.

        `size` is that of a whole file, which a rate slows down and a fault may spoil.
        """
        self.status = status
        silent = self.command == "HEAD" or not span
        if silent:
            self.server.closing.wait(self.fault.stall)
            self._note(0)
        self.send_response(status)
        length = {"Content-Length": str(len(span))}
        for key, value in {**headers, **length, **self.fault.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if not silent:
            self.server.closing.wait(self.fault.stall)
            self._pour(body, span, size)

    def _pour(self, body: BinaryIO, span: range, size: int | None) -> None:
        stop = span.stop if self.fault.cut is None else min(span.stop, span.start + self.fault.cut)
        rate = self.server.rate if size is not None else None
        step = min(CHUNK, max(1, rate // PER_SECOND)) if rate else CHUNK
        right = span.stop if size is None else size - self.fault.spoil  # the first wrong byte
        began, at = time.monotonic(), span.start
        body.seek(at)
        while at < stop and (chunk := body.read(min(step, stop - at))):
            good = max(0, right - at)
            chunk = chunk[:good] + bytes(byte ^ 0xFF for byte in chunk[good:])
            if rate:
                self.server.closing.wait(max(0, began + self.sent / rate - time.monotonic()))
            at += len(chunk)
            if at == stop:
                # Before they leave: a client that has the last byte may count its requests.
                self._note(self.sent + len(chunk))
            self.wfile.write(chunk)
            self.sent += len(chunk)
        if at < span.stop:
            self.close_connection = True

    def _note(self, sent: int) -> None:
        if not self.noted:
            self.noted = True
            self.server.requests.append(
                Request(
                    method=self.command,
                    path=unquote(self.raw_path),
                    range=self.headers.get("Range"),
                    status=self.status,
                    sent=sent,
                    authorization="Authorization" in self.headers,
                )
            )
