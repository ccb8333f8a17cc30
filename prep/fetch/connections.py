"""How a connection is made: by which proxy, and to which of a host's addresses.

httpx reads the proxies' environment itself, but fails on a ``NO_PROXY`` with brackets or an IPv6
network, takes no network at all for one, and tries a host's addresses one after the other. So the
two are decided here, on httpcore's public interface.
"""

import contextlib
import ipaddress
import itertools
import os
import re
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpcore
import httpx

from prep.errors import ConnectionMisconfigured

STAGGER_SECONDS = 0.25  # RFC 8305: until the next address is tried beside those before it
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# [v6]/bits:port, name:port, v4/bits:port, or v6/bits without brackets, which can have no port.
ENTRY = re.compile(
    r"(?:[a-z0-9+]+://)?(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]/]*|[0-9a-f:.]*))"
    r"(?P<bits>/\d+)?(?::(?P<port>\d+))?/?"
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names the host: ``*``, a domain, an address or a network, with a port.

    An entry may have a scheme before it, and brackets around an IPv6 address.
    """
    address = _network(host)
    for entry in no_proxy.split(","):
        match = ENTRY.fullmatch(entry.strip().lower())
        if match is None or match["port"] not in (None, str(port)):
            continue
        name = match["v6"] or match["name"]
        network = _network(name + (match["bits"] or ""))
        domain = name.removeprefix("*").removeprefix(".")
        if name == "*":
            return True
        if network is not None:
            if (
                address is not None
                and address.version == network.version
                and address.network_address in network
            ):
                return True
        elif domain and f".{host.lower()}".endswith(f".{domain}"):
            return True
    return False


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def proxy_for(url: httpx.URL, proxies: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this address; None where it is asked directly."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    if is_bypassed(url.host, port, proxies.get("no", "")):
        return None
    found = proxies.get(url.scheme) or proxies.get("all")
    if found and "://" not in found:
        found = f"http://{found}"
    return found or None


class Addresses(httpcore.SyncBackend):
    """Connects to the first address of a host that accepts (RFC 8305, "happy eyeballs").

    It is remembered for as long as it works.
    """

    def __init__(self) -> None:
        self._best: dict[tuple[str, int], str] = {}

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A stream to the host; raises what httpcore's own backend raises."""
        best = self._best.pop((host, port), None)
        if best is None:
            try:
                addresses = resolved(host, port)
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
            best = addresses[0] if len(addresses) == 1 else first_of(addresses, port, timeout)
        stream = super().connect_tcp(best, port, timeout, local_address, socket_options)
        self._best[host, port] = best
        return stream


def resolved(host: str, port: int) -> list[str]:
    """A host's addresses, those of both families alternating; raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, place in found:
        families.setdefault(family, []).append(str(place[0]))
    alternating = itertools.zip_longest(*families.values())
    return [address for pair in alternating for address in pair if address is not None]


def first_of(addresses: list[str], port: int, timeout: float | None) -> str:
    """The address that accepts a connection first; each gets a head start before the next."""
    end = time.monotonic() + (timeout or 60.0)
    waiting, error = list(addresses), None
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        while waiting or selector.get_map():
            if waiting:
                try:
                    _begin(waiting.pop(0), port, selector, stack)
                except OSError as refused:
                    error = refused
                    continue
            left = end - time.monotonic()
            if left <= 0:
                break
            for key, _ in selector.select(min(left, STAGGER_SECONDS) if waiting else left):
                connecting: socket.socket = key.fileobj  # type: ignore[assignment]  # all are
                code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return str(key.data)
                error = OSError(code, os.strerror(code))
                selector.unregister(connecting)
    if error is None:
        raise httpcore.ConnectTimeout("timed out")
    raise httpcore.ConnectError(str(error)) from error


def _begin(
    address: str, port: int, selector: selectors.BaseSelector, stack: contextlib.ExitStack
) -> None:
    """Begin to connect; the socket is writable when that succeeded or failed."""
    family, kind, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    connecting = stack.enter_context(socket.socket(family, kind))
    connecting.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connecting.connect(place)
    selector.register(connecting, selectors.EVENT_WRITE, address)


class ProxyUnreachable(httpx.ConnectError):
    """The proxy accepts no connection; `proxy` is its host and port."""

    def __init__(self, message: str, proxy: str) -> None:
        super().__init__(message)
        self.proxy = proxy


class ToProxy(Addresses):
    """Connections to a proxy: that one fails says nothing of the host behind it."""

    def connect_tcp(self, host: str, port: int, *args: Any, **more: Any) -> httpcore.NetworkStream:
        """As `Addresses`; raises `ProxyUnreachable`."""
        try:
            return super().connect_tcp(host, port, *args, **more)
        except httpcore.ConnectError as error:
            name = f"[{host}]" if ":" in host else host
            raise ProxyUnreachable(str(error), f"{name}:{port}") from error


class Transport(httpx.BaseTransport):
    """Direct connections, and those by each proxy that the environment names."""

    def __init__(self) -> None:
        self._proxies = getproxies()
        self._backend, self._to_proxy = Addresses(), ToProxy()
        self._tls: ssl.SSLContext = httpx.create_ssl_context()
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request, whose body is still to be read."""
        pool = self._pool(proxy_for(request.url, self._proxies))
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _as_httpx():
            answer = pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, proxy: str | None) -> httpcore.ConnectionPool:
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = httpcore.ConnectionPool(
                    ssl_context=self._tls,
                    proxy=_proxy(proxy) if proxy else None,
                    max_connections=None,  # whoever makes requests bounds them
                    keepalive_expiry=5,
                    network_backend=self._to_proxy if proxy else self._backend,
                )
            return self._pools[proxy]


def _proxy(text: str) -> httpcore.Proxy:
    parts = urlsplit(text)
    if parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise ConnectionMisconfigured(
            f"the environment names a proxy that cannot be used ({parts.scheme}://"
            f"{parts.hostname or ''}): give one of {', '.join(PROXY_SCHEMES)} in HTTPS_PROXY, "
            "HTTP_PROXY or ALL_PROXY, as in http://proxy.example:3128."
        )
    url = httpx.URL(text)
    auth = (url.username.encode(), url.password.encode()) if url.username or url.password else None
    place = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
    return httpcore.Proxy(place, auth=auth)


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """httpcore's errors as httpx's, which have the same names."""
    try:
        yield
    except Exception as error:
        kind = getattr(httpx, type(error).__name__, None)
        if type(error).__module__.startswith("httpcore") and kind is not None:
            raise kind(str(error)) from error
        raise
