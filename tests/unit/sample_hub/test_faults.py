"""The embedded hub breaks in exactly the ways that it is asked to, and keeps models to readers."""

import gzip
import hashlib
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, errors, get_hf_file_metadata, hf_hub_url

from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import certified
from tests.support.hub_requests import LARGE, SMALL, at_bytes, folder_of, get, url

REPO = "acme/tiny"
WEIGHTS = bytes(range(256)) * 400
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
GOOD, STRANGE = "hf_good", "hf_strange"


@pytest.fixture
def served(tmp_path: Path) -> ServedRepo:
    return ServedRepo.of(REPO, folder_of(tmp_path / "repo", {LARGE: WEIGHTS, SMALL: b"{}"}))


def test_refuse_closes_the_listening_socket_for_a_while(served: ServedRepo) -> None:
    left = [Fault(refuse=1.0)]
    with Hub([served], faults=lambda method, path: left.pop() if left else None) as hub:
        with pytest.raises(httpx.TransportError):
            get(hub)
        port = int(hub.url.rpartition(":")[2])
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                break
        else:
            pytest.fail("it always listened")
        while time.monotonic() < ends:
            try:
                assert get(hub).content == WEIGHTS
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                break
        else:
            pytest.fail("it never listened again")


@pytest.mark.parametrize("cut", [None, 50_000])
def test_reset_is_a_reset(served: ServedRepo, cut: int | None) -> None:
    with (
        Hub([served], faults=at_bytes(Fault(reset=True, cut=cut))) as hub,
        pytest.raises(httpx.ReadError, match="reset by peer"),
    ):
        get(hub)


def test_drip_and_a_stall_in_the_middle(served: ServedRepo) -> None:
    with Hub([served], faults=at_bytes(Fault(drip=len(WEIGHTS) * 2))) as hub:
        began = time.monotonic()
        assert get(hub).content == WEIGHTS
        assert time.monotonic() - began > 0.3
    with (
        Hub([served], faults=at_bytes(Fault(stall=60, stall_at=5000))) as hub,
        httpx.stream("GET", url(hub), follow_redirects=True, timeout=1) as answer,
    ):
        came = b""
        with pytest.raises(httpx.ReadTimeout):
            for block in answer.iter_raw():
                came += block
        assert came == WEIGHTS[:5000]


def test_bodies_without_length(served: ServedRepo) -> None:
    with Hub([served], faults=at_bytes(Fault(chunked=True))) as hub:
        answer = get(hub)
        assert (answer.content, answer.headers.get("Content-Length")) == (WEIGHTS, None)
        assert get(hub, Range="bytes=5-9").content == WEIGHTS[5:10]
        assert [body.sent for body in hub.bodies(LARGE)] == [len(WEIGHTS), 5]
    with (
        Hub([served], faults=at_bytes(Fault(chunked=True, cut=5000))) as hub,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        get(hub)


def test_packed_bodies(served: ServedRepo) -> None:
    with Hub([served], faults=at_bytes(Fault(gzip=True))) as hub:
        with httpx.stream("GET", url(hub), follow_redirects=True) as answer:
            raw = b"".join(answer.iter_raw())
        assert (answer.headers["Content-Encoding"], gzip.decompress(raw)) == ("gzip", WEIGHTS)
        assert get(hub, Range="bytes=5-9").content == WEIGHTS[5:10]


def test_file_that_is_another_one_now(served: ServedRepo) -> None:
    with Hub([served], faults=at_bytes(Fault(content=b"another"))) as hub:
        answer = get(hub)
        assert (answer.content, answer.headers["Content-Length"]) == (b"another", "7")
        assert answer.headers["ETag"] != f'"{SHA256[:32]}"'
        assert get(hub, Range="bytes=9-").status_code == 416
    with Hub([served]) as hub:
        assert get(hub).headers["ETag"] == f'"{SHA256[:32]}"'


def test_bytes_are_at_another_host(served: ServedRepo) -> None:
    with Hub([served], host="127.0.0.2") as cdn:
        with Hub([served], faults=lambda *_: Fault(elsewhere=cdn.url)) as hub:
            assert get(hub).content == WEIGHTS
            assert get_hf_file_metadata(url(hub)).location.startswith(f"{cdn.url}/cdn/")
            assert not hub.bodies(LARGE)
        assert len(cdn.bodies(LARGE)) == 1


def test_any_redirect_is_a_status_and_a_place(served: ServedRepo) -> None:
    led = Fault(status=307, headers={"Location": f"/{REPO}/resolve/main/{LARGE}"})
    with Hub([served], faults=lambda method, path: led if "old" in path else None) as hub:
        old = hf_hub_url("acme/old", LARGE, revision="main", endpoint=hub.url)
        assert httpx.get(old, follow_redirects=True).content == WEIGHTS
        assert get_hf_file_metadata(old).etag == SHA256


def test_private_repository_is_there_for_its_readers_only(served: ServedRepo) -> None:
    private = replace(served, private=True, readers=frozenset([GOOD]))
    with Hub([private], tokens=[GOOD, STRANGE]) as hub:
        api = HfApi(endpoint=hub.url)
        assert api.model_info(REPO, token=GOOD).private
        assert get_hf_file_metadata(url(hub), token=GOOD).etag == SHA256
        for token, status in ((False, 401), (STRANGE, 404)):
            with pytest.raises(errors.RepositoryNotFoundError) as caught:
                api.model_info(REPO, token=token)
            assert caught.value.response.status_code == status


def test_gated_repository_is_shown_and_not_given(served: ServedRepo) -> None:
    gated = replace(served, gated=True, readers=frozenset([GOOD]))
    with Hub([gated], tokens=[GOOD, STRANGE]) as hub:
        assert HfApi(endpoint=hub.url).model_info(REPO).gated == "manual"
        assert get_hf_file_metadata(url(hub), token=GOOD).etag == SHA256
        for token, status in ((False, 401), (STRANGE, 403)):
            with pytest.raises(errors.GatedRepoError, match="restricted") as caught:
                get_hf_file_metadata(url(hub), token=token)
            assert caught.value.response.status_code == status


def test_unknown_token_is_refused_where_none_is_needed(served: ServedRepo) -> None:
    with Hub([served], tokens=[GOOD]) as hub:
        assert get(hub, Authorization=f"Bearer {GOOD}").content == WEIGHTS
        assert get(hub, Authorization="Bearer hf_wrong").status_code == 401
        with pytest.raises(errors.HfHubHTTPError, match="Invalid credentials"):
            HfApi(endpoint=hub.url).model_info(REPO, token="hf_wrong")


def test_hub_below_a_path_and_as_a_proxy(served: ServedRepo) -> None:
    with Hub([served], path="mirrors/hf") as hub:
        assert get(hub).content == WEIGHTS
        assert (
            httpx.get(hub.url.replace("/hf", "/other") + f"/api/models/{REPO}").status_code == 404
        )
    with Hub([served]) as hub, httpx.Client(proxy=hub.url, trust_env=False) as client:
        answer = client.get(
            f"http://hub.invalid/{REPO}/resolve/main/{LARGE}", follow_redirects=True
        )
        assert answer.content == WEIGHTS


def test_hub_with_tls(served: ServedRepo) -> None:
    tls, ca = certified("127.0.0.1")
    with Hub([served], tls=tls) as hub:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(hub.url)
        trusting = ssl.create_default_context()
        ca.configure_trust(trusting)
        got = httpx.get(url(hub), follow_redirects=True, verify=trusting)
        assert got.content == WEIGHTS
