"""A mirror below a path, a CA of one's own, a proxy: all by the settings that the client knows."""

import select
import socket
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from prep.fetch import Network, ask, fetch_files
from prep.layout import Home
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.fault_play import BODY, FILE, NAME, REPO, TOKEN, certified

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NOWHERE = "hub.invalid"  # resolves to nothing, so only a proxy can lead there


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def served(tmp_path: Path) -> ServedRepo:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    (folder / "config.json").write_text("{}")
    return ServedRepo.of(REPO, folder, "mit")


class Tunnel(BaseRequestHandler):
    """A proxy for TLS: leads every CONNECT to the same port of this machine."""

    def handle(self) -> None:
        said = b""
        while b"\r\n\r\n" not in said:
            said += self.request.recv(4096)
        self.server.asked.append(said.split(b"\r\n")[0].decode())  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:  # type: ignore[attr-defined]
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {self.request: there, there: self.request}
            while True:
                for one in select.select(list(ends), [], [])[0]:
                    if not (data := one.recv(65536)):
                        return
                    ends[one].sendall(data)


class Proxy(ThreadingTCPServer):
    """`Tunnel` on any free port; `asked` are the first lines of what it was asked."""

    daemon_threads = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.to, self.asked = to, list[str]()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(0) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def fetched(network: Network, served: ServedRepo, tmp_path: Path) -> int:
    """Both ways of a run to the hub; gives the bytes that came."""
    (scratch := tmp_path / "scratch").mkdir(exist_ok=True)
    remote = ask(network, REPO, "main", ("*",), scratch=scratch)
    assert (remote.commit, len(remote.files)) == (served.commit, 2)
    return fetch_files(
        network,
        Home(tmp_path / "home"),
        REPO,
        served.commit,
        [FILE],
        locked=[NAME],
        scratch=scratch,
        on_event=lambda event: None,
    )


def port(hub: Hub) -> int:
    return int(hub.url.split(":")[2].partition("/")[0])


def test_mirror_below_a_path(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], path="/mirrors/hf") as hub:
        assert hub.url.endswith("/mirrors/hf")
        assert fetched(Network(endpoint=hub.url), served, tmp_path) == len(BODY)
        hubs = [one for one in hub.requests if one.kind != "cdn"]
        assert {one.path.split("/")[1] for one in hubs} == {"mirrors"}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_of_ones_own(
    served: ServedRepo, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, ca = certified("127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with Hub([served], tls=tls) as hub:
        assert hub.url.startswith("https://")
        assert fetched(Network(endpoint=hub.url), served, tmp_path) == len(BODY)


def test_clients_own_variable_beats_that_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/own.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/others.pem")
    assert Network().environment(tmp_path)["SSL_CERT_FILE"] == "/own.pem"
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert Network().environment(tmp_path)["SSL_CERT_DIR"] == str(tmp_path)


def test_proxy_for_http(
    served: ServedRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub([served]) as hub:
        monkeypatch.setenv("HTTP_PROXY", hub.url)
        network = Network(endpoint=f"http://{NOWHERE}", token=TOKEN)
        assert fetched(network, served, tmp_path) == len(BODY)


def test_proxy_and_ca_for_https(
    served: ServedRepo, tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, ca = certified(NOWHERE)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.server_address[1]}")
    with Hub([served], tls=tls) as hub:
        proxy.to = port(hub)
        assert fetched(Network(endpoint=f"https://{NOWHERE}"), served, tmp_path) == len(BODY)
    cdn = hub.storage.removeprefix("https://")
    assert set(proxy.asked) == {f"CONNECT {NOWHERE}:443 HTTP/1.1", f"CONNECT {cdn} HTTP/1.1"}


def test_token_stays_at_the_hubs_host(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], host="127.0.0.2") as cdn:
        led = Fault(elsewhere=cdn.url)
        with Hub([served], faults=lambda method, path: led, tokens=[TOKEN]) as hub:
            network = Network(endpoint=hub.url, token=TOKEN)
            assert fetched(network, served, tmp_path) == len(BODY)
        assert all(one.authorization for one in hub.requests)
    assert cdn.bodies(NAME)
    assert not any(one.authorization for one in cdn.requests)


def test_gated_model_comes_with_a_token_that_may_read_it(
    served: ServedRepo, tmp_path: Path
) -> None:
    gated = ServedRepo(
        repo=REPO,
        folder=served.folder,
        commit=served.commit,
        gated=True,
        readers=frozenset([TOKEN]),
    )
    with Hub([gated], tokens=[TOKEN]) as hub:
        assert fetched(Network(endpoint=hub.url, token=TOKEN), served, tmp_path) == len(BODY)
