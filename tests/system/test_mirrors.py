"""A mirror below a path, a CA of one's own, a proxy: all by the settings that the client knows."""

import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from prep.errors import ConnectionMisconfigured, HubRefused, HubUnreachable
from prep.fetch.hub import Network, RemoteModel, ask, fetch_files
from prep.home.layout import Home
from sample_hub.faults import Fault
from sample_hub.flows import FLOWS, moved
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import BODY, FILE, NAME, REPO, TOKEN, certified

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
Asked = Callable[..., RemoteModel]
Fetched = Callable[[Network], int]
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
        if refusal := self.server.refusal:  # type: ignore[attr-defined]
            self.request.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        self.lead(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def lead(self, established: bytes) -> None:
        """Pass on what both sides say."""
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:  # type: ignore[attr-defined]
            self.request.sendall(established)
            ends = {self.request: there, there: self.request}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    if not (data := end.recv(65536)):
                        return
                    ends[end].sendall(data)


class Socks(Tunnel):
    """The same by SOCKS 5: the client names the host, and the proxy resolves it."""

    def handle(self) -> None:
        assert self.request.recv(3) == b"\x05\x01\x00"
        self.request.sendall(b"\x05\x00")
        said = self.request.recv(262)
        assert said[:4] == b"\x05\x01\x00\x03"
        name = said[5 : 5 + said[4]].decode()
        self.server.asked.append(name)  # type: ignore[attr-defined]
        self.lead(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")


class Proxy(ThreadingTCPServer):
    """`Tunnel` on any free port; `asked` are the first lines of what it was asked."""

    daemon_threads = True

    def __init__(self, to: int, handler: type[Tunnel] = Tunnel) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.to, self.asked = to, list[str]()
        self.refusal: str | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture(params=[Tunnel])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    with Proxy(0, request.param) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """Asks a hub for the model, as --relock does."""

    def ask_for(network: Network, say: Callable[[str], object] = lambda line: None) -> RemoteModel:
        (scratch := tmp_path / "scratch").mkdir(exist_ok=True)
        return ask(network, REPO, "main", ("*",), scratch=scratch, say=say)

    return ask_for


@pytest.fixture
def fetched(served: ServedRepo, asked: Asked, tmp_path: Path) -> Fetched:
    """Both ways of a run to the hub; gives the bytes that came."""

    def fetch(network: Network) -> int:
        remote = asked(network)
        assert (remote.commit, len(remote.files)) == (served.commit, 2)
        return fetch_files(
            network,
            Home(tmp_path / "home"),
            REPO,
            served.commit,
            [FILE],
            locked=[NAME],
            scratch=tmp_path / "scratch",
            on_event=lambda event: None,
        )

    return fetch


def port(hub: Hub) -> int:
    return int(hub.url.split(":")[2].partition("/")[0])


def test_mirror_below_a_path(served: ServedRepo, fetched: Fetched) -> None:
    with Hub([served], path="/mirrors/hf") as hub:
        assert hub.url.endswith("/mirrors/hf")
        assert fetched(Network(endpoint=hub.url)) == len(BODY)
        hubs = [request for request in hub.requests if request.kind != "cdn"]
        assert {hub.path.split("/")[1] for hub in hubs} == {"mirrors"}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_of_ones_own(
    served: ServedRepo,
    tmp_path: Path,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    fetched: Fetched,
) -> None:
    tls, ca = certified("127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with Hub([served], tls=tls) as hub:
        assert hub.url.startswith("https://")
        assert fetched(Network(endpoint=hub.url)) == len(BODY)


def test_proxy_for_http(
    served: ServedRepo, monkeypatch: pytest.MonkeyPatch, fetched: Fetched
) -> None:
    with Hub([served]) as hub:
        monkeypatch.setenv("HTTP_PROXY", hub.url)
        network = Network(endpoint=f"http://{NOWHERE}", token=TOKEN)
        assert fetched(network) == len(BODY)


def test_proxy_and_ca_for_https(
    served: ServedRepo,
    tmp_path: Path,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    fetched: Fetched,
) -> None:
    tls, ca = certified(NOWHERE)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.server_address[1]}")
    with Hub([served], tls=tls) as hub:
        proxy.to = port(hub)
        assert fetched(Network(endpoint=f"https://{NOWHERE}")) == len(BODY)
    cdn = hub.storage.removeprefix("https://")
    assert set(proxy.asked) == {f"CONNECT {NOWHERE}:443 HTTP/1.1", f"CONNECT {cdn} HTTP/1.1"}


def test_proxy_variables_that_httpx_cannot_read_are_read(
    served: ServedRepo, monkeypatch: pytest.MonkeyPatch, fetched: Fetched
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "[::1],fd00::/8,127.0.0.0/8")
    with Hub([served]) as hub:
        assert fetched(Network(endpoint=hub.url)) == len(BODY)


@pytest.mark.parametrize("proxy", [Socks], indirect=True)
def test_proxy_by_socks(
    served: ServedRepo, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fetched: Fetched
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://{proxy.address}")
    led = Fault(direct=True)
    with Hub([served], faults=lambda method, path: led) as hub:
        proxy.to = port(hub)
        assert fetched(Network(endpoint=f"http://{NOWHERE}")) == len(BODY)
    assert set(proxy.asked) == {NOWHERE}


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (
            "403 Forbidden",
            "Have it allow that host, or name the host in NO_PROXY if no proxy is needed for it.",
        ),
        (
            "407 Proxy Authentication Required",
            """Give its user and password in HTTPS_PROXY, as in http://USER:PASSWORD@HOST:PORT, \
or have it let this machine through.""",
        ),
    ],
    ids=["403", "407"],
)
def test_proxy_that_refuses_to_connect_is_told_in_a_sentence(
    refusal: str, remedy: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    proxy.refusal = refusal
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    with pytest.raises(HubUnreachable) as caught:
        asked(Network(endpoint=f"https://{NOWHERE}"))
    assert str(caught.value) == (
        f"hub unreachable: {NOWHERE}: the proxy refuses to connect to it ({refusal}). {remedy} "
        "Nothing was fetched."
    )


@pytest.mark.parametrize(("variable", "scheme"), [("HTTPS_PROXY", "http"), ("ALL_PROXY", "socks5")])
def test_proxy_that_nobody_listens_at_is_told_as_the_proxy(
    variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setenv(variable, f"{scheme}://bob:s3cret@127.0.0.1:1")
    said: list[str] = []
    with pytest.raises(HubUnreachable) as caught:
        network = Network(endpoint=f"https://{NOWHERE}")
        asked(network, said.append)
    assert str(caught.value) == (
        "hub unreachable: hub.invalid: no connection to its proxy 127.0.0.1:1 (connection "
        "refused). Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or name the host in NO_PROXY if no "
        "proxy is needed for it, then run again. Nothing was fetched."
    )
    assert len(said) == 2, "it is transient, so it was tried again"
    assert not any("s3cret" in line for line in said)


def test_proxy_for_http_that_wants_a_password_is_told_in_a_sentence(
    served: ServedRepo, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    wants = Fault(status=407, headers={"X-Request-Id": ""}, without=frozenset({"x-request-id"}))
    with Hub([served], faults=lambda method, path: wants) as hub:
        monkeypatch.setenv("HTTP_PROXY", hub.url)
        with pytest.raises(ConnectionMisconfigured) as caught:
            asked(Network(endpoint=f"http://{NOWHERE}"))
    assert str(caught.value) == (
        f"connection misconfigured: the proxy to {NOWHERE} asks for a password (407). Give its "
        "user and password in HTTPS_PROXY, as in http://USER:PASSWORD@HOST:PORT, or have it let "
        f'this machine through. {NOWHERE} says: "407 Proxy Authentication Required"'
    )


@pytest.mark.parametrize("flow", ["no-blobs", "query-dropped"])
def test_mirror_whose_model_info_lacks_checksums_is_asked_for_its_tree(
    served: ServedRepo, flow: str, fetched: Fetched
) -> None:
    old = replace(served, repo="ORG/NEW", formerly=frozenset({REPO}))
    with Hub([old if flow == "query-dropped" else served], faults=FLOWS[flow]()) as hub:
        assert fetched(Network(endpoint=hub.url)) == len(BODY)
        assert [request for request in hub.requests if "/tree/" in request.path]


def test_mirror_without_any_checksums_is_refused_and_told_what_to_do(
    served: ServedRepo, asked: Asked
) -> None:
    def faults(method: str, path: str) -> Fault:
        return Fault(status=404) if "/tree/" in path else Fault(ignore_query=True)

    with Hub([served], faults=faults) as hub:
        with pytest.raises(HubRefused) as caught:
            asked(Network(endpoint=hub.url))
        assert str(caught.value) == (
            f"refused by the hub: 127.0.0.1:{port(hub)} lists no checksums for ORG/NAME, neither "
            "with the model nor in its tree. Lock at a hub that does (pytest --relock "
            "--hub=https://huggingface.co), and fetch from here."
        )


def test_other_spelling_is_told_and_the_catalogues_is_kept(
    served: ServedRepo, asked: Asked
) -> None:
    said: list[str] = []
    with Hub([replace(served, repo="Org/Name")]) as hub:
        asked(Network(endpoint=hub.url), said.append)
    assert said == [
        "ORG/NAME is Org/Name at the hub; the home keeps the catalogue's name, ORG/NAME"
    ]


def test_mirror_that_answers_relock_with_another_hub_is_followed_without_the_token(
    served: ServedRepo, asked: Asked
) -> None:
    said: list[str] = []
    with Hub([served], host="127.0.0.2") as other, Hub([], faults=moved(other.url)) as hub:
        network = Network(endpoint=hub.url, token=TOKEN)
        asked(network, said.append)
        names = [server.url.removeprefix("http://") for server in (hub, other)]
    assert said == [f"network: {names[0]} redirects to {names[1]}, which gets no token"]
    assert all(request.authorization for request in hub.requests)
    assert other.requests and not any(request.authorization for request in other.requests)


def test_relock_asks_once_for_each_small_file_and_twice_for_weights_at_most(
    served: ServedRepo, asked: Asked
) -> None:
    with Hub([served]) as hub:
        asked(Network(endpoint=hub.url))
        requests = Counter(request.path for request in hub.requests if request.kind == "resolve")
        assert hub.counts()["api"] == 1
    assert requests == {
        f"/{REPO}/resolve/{served.commit}/config.json": 1,
        f"/{REPO}/resolve/{served.commit}/{NAME}": 1,
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"], ids=["another port", "another host"])
def test_token_stays_at_the_hubs_host_and_port(
    served: ServedRepo, host: str, fetched: Fetched
) -> None:
    """The hub's client from 1.30 on takes the same name for the same host."""
    with Hub([served], host=host) as storage:
        led = Fault(elsewhere=storage.url)
        with Hub([served], faults=lambda method, path: led, tokens=[TOKEN]) as hub:
            assert fetched(Network(endpoint=hub.url, token=TOKEN)) == len(BODY)
        assert all(request.authorization for request in hub.requests)
    assert storage.bodies(NAME)
    assert not any(request.authorization for request in storage.requests)


def test_gated_model_comes_with_a_token_that_may_read_it(
    served: ServedRepo, fetched: Fetched
) -> None:
    gated = replace(served, gated=True, readers=frozenset([TOKEN]))
    with Hub([gated], tokens=[TOKEN]) as hub:
        assert fetched(Network(endpoint=hub.url, token=TOKEN)) == len(BODY)
