"""The embedded hub's sockets, and the log of what was asked on them."""

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Literal

from sample_hub.faults import Fault, Line

LOG = logging.getLogger("sample_hub")
LINE_BUFFER = 64 * 1024
Kind = Literal["api", "resolve", "resolve-cache", "cdn", "other"]


def kind_of(path: str) -> Kind:
    """What a decoded path asks for: data about a model, a file, or where a redirect leads."""
    if path.startswith("/cdn/"):
        return "cdn"
    if "/api/resolve-cache/" in path:
        return "resolve-cache"
    if "/api/models" in path:
        return "api"
    return "resolve" if "/resolve/" in path else "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One finished request."""

    method: str
    host: str  # the Host header: which of the hub's names was asked
    path: str  # decoded, without its query
    range: str | None  # the Range header
    status: int
    sent: int  # bytes of body, also when it was cut short by a fault or by the client
    authorization: bool  # whether a token came with it; the token itself is never kept

    @property
    def kind(self) -> Kind:
        """What was asked for."""
        return kind_of(self.path)


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
        line: Line | None,
        requests: list[Request],
        tls: ssl.SSLContext | None,
        rest: Callable[[float], None],
        storage: bool = False,
    ) -> None:
        """Bind; the handler is called with (connection, address, this listener).

        `storage` is the CDN's: it knows no address of the hub's.
        """
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.storage = storage
        self.faults, self.rate, self.line, self.requests = faults, rate, line, requests
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
