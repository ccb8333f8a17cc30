"""Which proxy is used, and which of a host's addresses: real sockets on this machine."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpcore
import httpx
import pytest

from prep.errors import ConnectionMisconfigured
from prep.fetch.connections import Addresses, Transport, first_of, is_bypassed, proxy_for
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import deaf
from tests.support.paths import ROOT
from tests.support.runs import environment, in_namespace


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "bypassed"),
    [
        ("localhost,[::1]", "::1", 80, True),
        ("localhost,[::1]", "hub.example", 80, False),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("fd00::/8", "fd12::3", 80, True),
        ("fd00::/8", "fe12::3", 80, False),
        ("[fd00::]/8", "fd12::3", 80, True),
        ("10.0.0.0/8", "10.2.3.4", 80, True),
        ("10.0.0.0/8", "11.2.3.4", 80, False),
        ("10.0.0.0/8", "hub.example", 80, False),
        ("127.0.0.1", "127.0.0.1", 5, True),
        ("example.com", "Hub.Example.com", 80, True),
        ("example.com", "badexample.com", 80, False),
        (".example.com", "example.com", 80, True),
        ("*.example.com", "hub.example.com", 80, True),
        ("example.com:8080", "example.com", 8080, True),
        ("example.com:8080", "example.com", 80, False),
        ("http://hub.example", "hub.example", 80, True),
        (" a , b ", "b", 80, True),
        ("*", "anything", 80, True),
        ("", "anything", 80, False),
        ("%%[,]:x", "anything", 80, False),
    ],
)
def test_no_proxy_names_hosts_as_it_does_for_other_programs(
    no_proxy: str, host: str, port: int, bypassed: bool
) -> None:
    assert is_bypassed(host, port, no_proxy) is bypassed


def test_proxy_is_that_of_the_scheme_and_may_lack_its_own() -> None:
    proxies = {"https": "proxy.example:3128", "all": "socks5://other", "no": "hub.example:443"}
    assert proxy_for(httpx.URL("https://a.example"), proxies) == "http://proxy.example:3128"
    assert proxy_for(httpx.URL("http://a.example"), proxies) == "socks5://other"
    assert proxy_for(httpx.URL("https://hub.example/x"), proxies) is None
    assert proxy_for(httpx.URL("https://a.example"), {}) is None


def test_proxy_of_another_kind_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret@proxy.example")
    client = httpx.Client(transport=Transport())
    with pytest.raises(ConnectionMisconfigured) as caught:
        client.get("http://hub.example")
    assert str(caught.value) == (
        "connection misconfigured: the environment names a proxy that cannot be used "
        "(socks4://proxy.example): give one of http, https, socks5, socks5h in HTTPS_PROXY, "
        "HTTP_PROXY or ALL_PROXY, as in http://proxy.example:3128."
    )


@contextlib.contextmanager
def listening(address: str, port: int = 0) -> Iterator[int]:
    with socket.create_server((address, port)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server at 127.0.0.1, whose port takes no connection at ::1."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening("127.0.0.1") as chosen, deaf("::1", chosen):
        yield chosen


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """For a host that has the test's addresses."""
    addresses = request.param
    monkeypatch.setattr("prep.fetch.connections.resolved", lambda host, port: addresses)
    return Addresses()


@pytest.mark.parametrize("backend", [["::1", "::1", "::1", "127.0.0.1"]], indirect=True)
def test_broken_ipv6_costs_a_moment_where_ipv4_works(port: int, backend: Addresses) -> None:
    began = time.monotonic()
    backend.connect_tcp("hub.example", port, timeout=8).close()
    assert time.monotonic() - began < 3
    began = time.monotonic()
    backend.connect_tcp("hub.example", port, timeout=8).close()
    assert time.monotonic() - began < 0.2, "it is remembered which one works"


@pytest.mark.parametrize("backend", [["127.0.0.2", "127.0.0.1"]], indirect=True)
def test_address_that_no_longer_works_is_forgotten(port: int, backend: Addresses) -> None:
    with listening("127.0.0.2", port):
        backend.connect_tcp("hub.example", port, timeout=8).close()
    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("hub.example", port, timeout=8)
    backend.connect_tcp("hub.example", port, timeout=8).close()


def test_no_address_that_works_is_an_error_as_of_one_address(port: int) -> None:
    with pytest.raises(httpcore.ConnectError, match="Connection refused"):
        first_of(["127.0.0.2", "127.0.0.3"], port, 8)
    with pytest.raises(httpcore.ConnectTimeout):
        first_of(["::1", "::1"], port, 1)
    with pytest.raises(httpcore.ConnectError, match=r"Name or service not known|resolution"):
        Addresses().connect_tcp("hub.invalid", port, timeout=8)


def test_child_reaches_a_hub_whose_first_address_takes_no_connection(tmp_path: Path) -> None:
    """By the machine's own names: in a mount namespace, where the hub's has two addresses."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    (tmp_path / "hosts").write_text("::1 two.example\n127.0.0.1 two.example\n")
    script = f'mount --bind {tmp_path / "hosts"} /etc/hosts && exec "$@"'
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "config.json").write_text("{}")
    with Hub([ServedRepo.of("org/name", tmp_path / "served")]) as hub:
        port = int(hub.url.rpartition(":")[2])
        code = (
            "import pathlib, socket, prep.fetch.hub as fetch\n"
            f"assert socket.getaddrinfo('two.example', {port})[0][4][0] == '::1'\n"
            f"network = fetch.Network(endpoint='http://two.example:{port}')\n"
            "fetch.ask(network, 'org/name', 'main', ('*',), "
            f"scratch=pathlib.Path({str(tmp_path)!r}))\n"
        )
        with deaf("::1", port):
            done = subprocess.run(
                [*in_namespace("--mount"), *("sh", "-c", script, "sh", sys.executable, "-c", code)],
                cwd=ROOT,
                env=environment(NO_PROXY="*"),
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        assert hub.requests[0].path == "/api/models/org/name/revision/main"
