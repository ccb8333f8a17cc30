"""One connection of the embedded hub.

`server.py` knows what is asked and what the answer is; here the answer goes over the wire, whole or
as a `Fault` says, and is noted as a `Request`.
"""

import json
import logging
import re
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import TCPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, parse_qsl, unquote

from sample_hub.faults import Body, Fault, pour

LOG = logging.getLogger("sample_hub")
LINE_BUFFER = 64 * 1024
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


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
        tls: ssl.SSLContext | None,
        rest: Callable[[float], None],
    ) -> None:
        """Bind; the handler is called with (connection, address, this listener)."""
        self.faults, self.rate, self.requests = faults, rate, requests
        self.tls, self.rest = tls, rest
        self.closing = threading.Event()
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, and don't look up the host's name: without network that can take seconds."""
        if self.rate:  # on a slow line what is sent is nearly there: none of it waits in a buffer
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINE_BUFFER)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "sample-hub", self.server_address[1]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: a client that does not shake hands holds up nobody."""
        if self.tls is not None:
            plain = request
            request = self.tls.wrap_socket(plain, server_side=True)
            self._open.discard(plain)
            self._open.add(request)
        super().finish_request(request, client_address)
        if self.tls is not None:
            self.shutdown_request(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection while it is open."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._open.discard(request)
        super().shutdown_request(request)

    def forget(self, request: Any) -> None:
        """Leave a connection that was closed here alone."""
        self._open.discard(request)

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
        place, _, query = self.path.partition("?")
        self.raw_path = re.sub(r"^http://[^/]+", "", place)  # whole, where this is the proxy
        self.query = dict(parse_qsl(query))
        # Read it whatever the answer will be, or it would be taken for the next request.
        self.form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.status, self.sent, self.noted = 0, 0, False
        choose = self.server.faults
        self.fault = (choose and choose(self.command, unquote(self.raw_path))) or Fault()
        try:
            if self.fault.refuse:
                self.server.rest(self.fault.refuse)
                self._hang_up()
                return
            if self.fault.reset and self.fault.cut is None:
                self._hang_up()
                return
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
        return f"{'https' if self.server.tls else 'http'}://{self.headers['Host']}"

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

        `size` is that of a whole file, which a rate slows down and a fault may change.
        """
        self.status = status
        silent = self.command == "HEAD" or not span
        if silent:
            self.server.closing.wait(self.fault.stall)
            self._note(0)
        sent = Body(stream=body, span=span, size=size)
        framed = size is not None and not silent and (self.fault.chunked or self.fault.gzip)
        if not silent:
            sent = sent.of(self.fault)
        told = {"Transfer-Encoding": "chunked"} if framed else {"Content-Length": str(len(span))}
        if framed and self.fault.gzip:
            told["Content-Encoding"] = "gzip"
        self.send_response(status)
        for key, value in {**headers, **told, **self.fault.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if not silent:
            self._pour(sent, framed)

    def _pour(self, body: Body, framed: bool) -> None:
        def write(data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if framed else data)
            self.sent += len(data)

        whole = pour(
            body,
            self.fault,
            write,
            rate=self.server.rate,
            closing=self.server.closing,
            last=lambda count: self._note(self.sent + count),
        )
        if not whole:
            self.close_connection = True
            if self.fault.reset:
                self._hang_up()
        elif framed:
            self.wfile.write(b"0\r\n\r\n")

    def _hang_up(self) -> None:
        """End the connection, with a reset where that was asked for."""
        self.close_connection = True
        if self.fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self.server.forget(self.connection)
            self.rfile.close()
            self.connection.close()

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
