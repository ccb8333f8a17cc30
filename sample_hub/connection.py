"""One connection of the embedded hub.

`server.py` knows what is asked and what the answer is; here the answer goes over the wire, whole or
as a `Fault` says, and is noted as a `Request`.
"""

import json
import re
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import parse_qs, parse_qsl, unquote

from sample_hub.faults import Body, Fault, pour
from sample_hub.listener import LOG, Kind, Listener, Request, kind_of

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
PAGE = (
    b"""<!DOCTYPE html>
<html><head><title>Web access</title></head>
<body><h1>Web access policy</h1><p>This page is not a hub's answer.</p></body></html>
"""
    + b"<!-- so that it is longer than some files of a model -->\n" * 40
)
SOMEBODY = {"Server": "gateway", "Content-Type": "text/html; charset=utf-8"}


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
        self.status, self.text = status, message or code or f"{status} {HTTPStatus(status).phrase}"
        said = {"X-Error-Code": code, "X-Error-Message": message}
        self.more = dict(headers or {})
        self.headers = {key: value for key, value in said.items() if value is not None} | self.more


class Connection(BaseHTTPRequestHandler):
    """One connection, with as many requests as the client makes on it."""

    server: Listener
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle would hold the second until the first is acknowledged.
    disable_nagle_algorithm = True

    def route(self, parts: list[str]) -> None:
        """Answer a request for a path, given in its decoded parts, or raise a Refusal."""
        raise NotImplementedError

    def standing(self) -> dict[str, str]:
        """The headers of every answer that is the hub's own."""
        raise NotImplementedError

    def login(self) -> str:
        """Where somebody on the way would ask for a login: on another host than the hub's."""
        raise NotImplementedError

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error."""
        self.answer_json({"error": refusal.text}, refusal.status, refusal.headers)

    def do_GET(self) -> None:
        """Read one request, answer it, note it."""
        place, _, query = self.path.partition("?")
        self.raw_path = re.sub(r"^http://[^/]+", "", place)  # whole, where this is the proxy
        self.query = dict(parse_qsl(query))
        # Read it whatever the answer will be, or it would be taken for the next request.
        self.form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.status, self.sent, self.noted = 0, 0, False
        path = unquote(self.raw_path)
        self.kind: Kind = kind_of(path)
        self.own = True  # whether the answer is the hub's, and not of somebody on the way
        choose = self.server.faults
        self.fault = (choose and choose(self.command, path)) or Fault()
        if self.fault.with_range and "Range" not in self.headers:
            self.fault = Fault()
        try:
            if self.fault.refuse:
                self.server.rest(self.fault.refuse)
                self._hang_up()
                return
            if self.fault.reset and self.fault.cut is None:
                self._hang_up()
                return
            self.server.closing.wait(self.fault.wait)
            if self.fault.page or path == "/login":
                self._page(self.fault.status or 200)
            elif self.fault.moved is not None:
                self.own = False
                to = self.fault.moved + self.raw_path + (f"?{query}" if query else "")
                self.answer(308, {"Server": "Caddy", "Location": to}, BytesIO(), range(0))
            elif self.fault.status is not None:
                raise Refusal(self.fault.status, self.fault.code, self.fault.message)
            else:
                # Split before decoding: a revision or a folder may hold an encoded slash.
                self.route([unquote(part) for part in self.raw_path.split("/")[1:]])
        except Refusal as refusal:
            self.refuse(refusal)
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

    def answer_text(self, status: int, text: str, headers: dict[str, str]) -> None:
        """Answer with a sentence, as a redirect does."""
        kind = {"Content-Type": "text/plain; charset=utf-8"}
        body = text.encode()
        self.answer(status, kind | headers, BytesIO(body), range(len(body)))

    def _page(self, status: int) -> None:
        self.own = False
        headers = SOMEBODY | ({"Location": self.login()} if status == 302 else {})
        self.answer(status, headers, BytesIO(PAGE), range(len(PAGE)))

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
        fault, is_file = self.fault, size is not None
        if fault.empty and is_file and self.command == "GET":
            span = range(0)
        silent = self.command == "HEAD" or not span
        if silent:
            self.server.closing.wait(fault.stall)
            self._note(0)
        sent = Body(stream=body, span=span, size=size)
        if span and (self.command != "HEAD" or fault.gzip):
            sent = sent.of(fault)
        framing = {"Content-Length": str(len(sent.span))}
        without = fault.without | ({"content-length"} if self._is_unsized(is_file) else set())
        framed = not silent and "content-length" in without
        if framed:
            framing["Transfer-Encoding"] = "chunked"
        if is_file and fault.gzip and span:
            framing["Content-Encoding"] = "gzip"
        self.log_request(status)
        self.send_response_only(status)
        standing = {"Date": self.date_time_string(), **(self.standing() if self.own else {})}
        for key, value in merged(standing, headers, framing, fault.headers).items():
            if key.lower() not in without:
                self.send_header(key, value)
        self.end_headers()
        if not silent:
            self._pour(sent, framed)

    def _is_unsized(self, is_file: bool) -> bool:
        """Whether a body comes without its length."""
        if self.fault.page:
            return self.fault.chunked
        return self.command != "HEAD" and is_file and (self.fault.chunked or self.fault.gzip)

    def _pour(self, body: Body, framed: bool) -> None:
        def write(data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if framed else data)
            self.sent += len(data)

        whole = pour(
            body,
            self.fault,
            write,
            rate=self.server.rate,
            line=self.server.line,
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
                    host=self.headers.get("Host", ""),
                    path=unquote(self.raw_path),
                    range=self.headers.get("Range"),
                    status=self.status,
                    sent=sent,
                    authorization="Authorization" in self.headers,
                )
            )


def merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of several sources under names in any case; of one name, the last holds."""
    last = {key.lower(): (key, value) for source in headers for key, value in source.items()}
    return dict(last.values())
