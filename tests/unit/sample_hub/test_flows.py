"""The embedded hub answers as the public one, and by name as mirrors, gateways and CDNs do."""

import gzip
import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download
from huggingface_hub import get_hf_file_metadata as metadata
from huggingface_hub.utils import parse_xet_file_data_from_response
from huggingface_hub.utils._http import parse_ratelimit_headers

from sample_hub import cdn
from sample_hub.faults import Fault
from sample_hub.flows import FLOWS, Faults, at, changing, foreign, limited, moved, page, slow
from sample_hub.listener import Listener
from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.support.hub_requests import LARGE, SMALL, fetch, folder_of, get, url
from tests.support.paths import ROOT
from tests.support.runs import TINY_REPO, in_namespace

REPO = "Acme/Tiny"
WEIGHTS = bytes(range(256)) * 400
CONFIG = json.dumps({"model_type": "bert", "words": ["the same"] * 400}).encode()
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
OID = hashlib.sha1(b"blob %d\0%b" % (len(CONFIG), CONFIG)).hexdigest()
TOKEN = "hf_token"


@pytest.fixture
def served(tmp_path: Path) -> ServedRepo:
    folder = folder_of(tmp_path / "repo", {LARGE: WEIGHTS, SMALL: CONFIG})
    return ServedRepo.of(REPO, folder, "mit")


@pytest.fixture
def hub(served: ServedRepo) -> Iterator[Hub]:
    with Hub([served]) as running:
        yield running


def info(hub: Hub, repo: str = REPO) -> dict[str, object]:
    """Model info with blobs, as JSON."""
    answer = httpx.get(f"{hub.url}/api/models/{repo}?blobs=true", follow_redirects=True)
    assert answer.status_code == 200
    read: dict[str, object] = answer.json()
    return read


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_small_file_is_behind_a_relative_redirect_and_both_answers_tell_of_it(
    hub: Hub, served: ServedRepo, method: str
) -> None:
    first = httpx.request(method, url(hub, SMALL))
    headers = {"X-Repo-Commit": served.commit, "X-Linked-ETag": f'"{OID}"'}
    headers["X-Linked-Size"] = str(len(CONFIG))
    assert first.status_code == 307
    assert first.headers["Location"] == (
        f"/api/resolve-cache/models/{REPO}/{served.commit}/{SMALL}"
        f"?%2FAcme%2FTiny%2Fresolve%2Fmain%2Fconfig.json=&etag=%22{OID}%22"
    )
    assert {name: first.headers[name] for name in headers} == headers
    second = httpx.request(method, hub.url + first.headers["Location"])
    headers |= {"ETag": f'"{OID}"', "Content-Length": str(len(CONFIG))}
    assert second.status_code == 200
    assert {name: second.headers[name] for name in headers} == headers
    assert second.content == (CONFIG if method == "GET" else b"")
    assert [request.path for request in hub.requests] == [
        f"/{REPO}/resolve/main/{SMALL}",
        first.headers["Location"].partition("?")[0],
    ]
    assert hub.requests[-1].sent == len(second.content)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_large_file_is_behind_a_signed_address_of_another_host(
    hub: Hub, served: ServedRepo, method: str
) -> None:
    first = httpx.request(method, url(hub))
    assert first.status_code == 302
    headers = {"X-Repo-Commit": served.commit, "X-Linked-ETag": f'"{SHA256}"'}
    headers |= {"X-Linked-Size": str(len(WEIGHTS)), "Cache-Control": "no-store"}
    assert {name: first.headers[name] for name in headers} == headers
    assert 850 < int(first.headers["Content-Length"]) < 1100
    assert len(first.content) == (int(first.headers["Content-Length"]) if method == "GET" else 0)
    xet = parse_xet_file_data_from_response(first, endpoint=hub.url)
    assert xet is not None
    assert xet.file_hash == cdn.xet_hash(SHA256) != SHA256
    assert xet.refresh_route == f"{hub.url}/api/models/{REPO}/xet-read-token/{served.commit}"
    there = httpx.URL(first.headers["Location"])
    assert (urlsplit(hub.url).hostname, there.host) == ("127.0.0.1", "localhost")
    assert there.path == f"/cdn/{SHA256}/{REPO}/{LARGE}"
    assert {"Expires", "Policy", "Signature", "Key-Pair-Id"} < set(there.params)
    again = httpx.URL(httpx.request(method, url(hub)).headers["Location"])
    assert (there.path, there.params["Signature"]) != (again.path, again.params["Signature"])
    second = httpx.request(method, there)
    assert (second.status_code, int(second.headers["Content-Length"])) == (200, len(WEIGHTS))
    assert second.headers["ETag"] not in (f'"{SHA256}"', f'"{OID}"')
    assert not {"x-repo-commit", "x-linked-etag", "ratelimit", "x-request-id"} & set(second.headers)
    assert hub.counts() == {"resolve": 2, "cdn": 1}


def test_cdn_lets_nobody_in_but_with_a_signature_of_the_hubs(hub: Hub) -> None:
    there = httpx.URL(httpx.head(url(hub)).headers["Location"])
    assert httpx.get(there).content == WEIGHTS
    asked = {
        there.copy_with(query=None): (403, "MissingKey"),
        there.copy_merge_params({"Expires": "9999999999"}): (403, "SignatureError"),
        there.copy_merge_params({"Policy": "other"}): (403, "SignatureError"),
        there.copy_with(path=there.path.replace(LARGE, SMALL)): (403, "SignatureError"),
        httpx.URL(hub.storage + cdn.signed(there.path, expires=1)): (403, "expired"),
        httpx.URL(hub.storage + cdn.signed(there.path + "x")): (404, "Not found"),
        httpx.URL(f"{hub.storage}/api/models/{REPO}"): (404, "Not found"),
    }
    for place, (status, words) in asked.items():
        answer = httpx.get(place)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        assert "x-error-message" not in answer.headers


def test_cdn_refuses_a_token_and_the_request_is_seen(hub: Hub) -> None:
    there = httpx.head(url(hub)).headers["Location"]
    answer = httpx.get(there, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.text) == (
        400,
        "InvalidArgument: Only one auth mechanism allowed",
    )
    assert httpx.get(there, headers={"Range": "bytes=1-2"}).status_code == 206
    first, refused, part = hub.requests
    assert (first.kind, first.host) == ("resolve", urlsplit(hub.url).netloc)
    assert (refused.kind, refused.host) == ("cdn", urlsplit(hub.storage).netloc)
    assert (refused.authorization, refused.range, refused.status) == (True, None, 400)
    assert (part.authorization, part.range, part.status) == (False, "bytes=1-2", 206)
    assert TOKEN not in repr(hub.requests)


def test_client_leaves_its_token_with_the_hub(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], tokens=[TOKEN]) as hub:
        top = Path(snapshot_download(REPO, endpoint=hub.url, cache_dir=tmp_path, token=TOKEN))
        assert (top / LARGE).read_bytes() == WEIGHTS
        assert {request.kind: request.authorization for request in hub.requests} == {
            "api": True,
            "resolve": True,
            "resolve-cache": True,
            "cdn": False,
        }


def test_cdn_listens_wherever_localhost_may_lead(hub: Hub) -> None:
    """A client tries one or the other first, and takes the first that listens for the CDN."""
    there = urlsplit(httpx.head(url(hub)).headers["Location"])
    heard = []
    for address in ("127.0.0.1", "[::1]"):
        try:
            answer = httpx.get(there._replace(netloc=f"{address}:{there.port}").geturl())
        except httpx.ConnectError:
            continue
        assert answer.content == WEIGHTS
        heard.append(address)
    assert heard == (["127.0.0.1", "[::1]"] if has_ipv6() else ["127.0.0.1"])


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


WITHOUT_IPV6 = f"""
import contextlib, fcntl, socket, struct
from pathlib import Path
import httpx
from sample_hub.server import Hub, sample_repos
with contextlib.suppress(OSError):  # no IPv6 at all, or a container that may not say so
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
IFF_UP, SIOCSIFFLAGS = 1, 0x8914
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
with Hub(sample_repos()) as hub:
    there = hub.url + "/{TINY_REPO}/resolve/main/model.safetensors"
    print(httpx.get(there, follow_redirects=True, trust_env=False).status_code)
"""


def test_cdn_listens_on_a_machine_without_ipv6() -> None:
    command = [*in_namespace("--net"), sys.executable, "-c", WITHOUT_IPV6]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "200\n", done.stderr


def test_port_of_the_cdn_is_free_at_both_addresses_or_not_taken() -> None:
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    made: list[Listener] = []

    def make(address: tuple[str, int]) -> Listener:
        made.append(
            Listener(
                address,
                lambda *_: pytest.fail("nobody asks"),
                faults=None,
                rate=None,
                line=None,
                requests=[],
                tls=None,
                rest=lambda _: None,
            )
        )
        return made[-1]

    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            cdn.listen(make, taken.getsockname()[1])
    assert [listener.socket.fileno() for listener in made] == [-1]


def test_every_answer_of_the_hub_tells_what_is_left_of_the_rate_limit(hub: Hub) -> None:
    for path, limit in (
        (f"/api/models/{REPO}", "api"),
        ("/api/models/acme/other", "api"),
        (f"/{REPO}/resolve/main/{SMALL}", "resolvers"),
        (f"/{REPO}/resolve/main/{LARGE}", "resolvers"),
        (f"/{REPO}/resolve/main/no.txt", "resolvers"),
        ("/nothing", "resolvers"),
    ):
        answer = httpx.get(hub.url + path)
        limits = parse_ratelimit_headers(answer.headers)
        assert limits is not None
        assert (limits.resource_type, limits.window_seconds) == (limit, 300)
        assert limits.limit == {"api": 500, "resolvers": 3000}[limit]
        assert limits.remaining == limits.limit - len(hub.requests) + 1
        assert 0 < limits.reset_in_seconds <= 300
        assert answer.headers["X-Request-Id"].startswith("Root=1-")


def test_model_info_is_that_of_the_public_hub() -> None:
    with Hub(sample_repos()) as hub:
        known = HfApi(endpoint=hub.url).model_info(TINY_REPO, files_metadata=True)
    assert known.safetensors is not None
    assert (known.safetensors.total, known.safetensors.parameters) == (96448, {"F32": 96448})
    assert known.transformers_info is not None
    assert known.transformers_info.pipeline_tag == known.pipeline_tag == "sentence-similarity"
    assert known.library_name == "sentence-transformers"
    assert known.model_index
    assert known.card_data is not None
    assert known.card_data.model_name == "tiny-embedding"
    assert known.card_data.license == "apache-2.0"
    assert known.config == {"architectures": ["BertModel"], "model_type": "bert"}
    assert (known.gated, known.private, known.disabled) == (False, False, False)
    assert known.last_modified is not None


def test_model_info_names_files_and_no_more_unless_asked(hub: Hub) -> None:
    plain = httpx.get(f"{hub.url}/api/models/{REPO}").json()
    assert plain["siblings"] == [{"rfilename": SMALL}, {"rfilename": LARGE}]
    assert plain["cardData"]["model-index"] == plain["model-index"]
    lfs = {"sha256": SHA256, "size": len(WEIGHTS), "pointerSize": 131}
    siblings = info(hub)["siblings"]
    assert isinstance(siblings, list)
    small, large = siblings
    assert small == {"rfilename": SMALL, "blobId": OID, "size": len(CONFIG)}
    assert (large["lfs"], large["xetHash"]) == (lfs, cdn.xet_hash(SHA256))
    files = {
        file.path: file for file in HfApi(endpoint=hub.url).list_repo_tree(REPO, recursive=True)
    }
    assert getattr(files[LARGE], "xet_hash", None) == cdn.xet_hash(SHA256)
    assert getattr(files[SMALL], "blob_id", None) == OID


def test_id_is_known_in_any_case_and_told_in_the_true_one(hub: Hub, tmp_path: Path) -> None:
    assert info(hub, "acme/TINY")["id"] == REPO
    got = hf_hub_download("acme/tiny", LARGE, endpoint=hub.url, cache_dir=tmp_path)
    assert Path(got).read_bytes() == WEIGHTS
    assert Path(got).is_relative_to(tmp_path / "models--acme--tiny")


def test_xet_hash_of_a_gated_model_is_for_its_readers(served: ServedRepo) -> None:
    gated = replace(served, gated=True, readers=frozenset([TOKEN]))
    with Hub([gated]) as hub:
        for token, seen in ((False, "*" * 64), (TOKEN, cdn.xet_hash(SHA256))):
            api = HfApi(endpoint=hub.url, token=token)
            files = {file.path: file for file in api.list_repo_tree(REPO, recursive=True)}
            assert getattr(files[LARGE], "xet_hash", None) == seen
            assert getattr(files[LARGE], "lfs", None) is not None


@pytest.mark.parametrize("dropped", [False, True])
def test_renamed_repository_leads_to_its_new_name(
    served: ServedRepo, tmp_path: Path, dropped: bool
) -> None:
    renamed = replace(served, formerly=frozenset({"old/name"}))
    faults = FLOWS["query-dropped"]() if dropped else None
    with Hub([renamed], faults=faults, path="mirrors/hf") as hub:
        described = info(hub, "old/name")
        assert described["id"] == REPO
        siblings = described["siblings"]
        assert isinstance(siblings, list)
        assert ("size" in siblings[0]) == (not dropped)
        for path, content in ((LARGE, WEIGHTS), (SMALL, CONFIG)):
            got = hf_hub_download("old/name", path, endpoint=hub.url, cache_dir=tmp_path)
            assert Path(got).read_bytes() == content
        first = httpx.get(f"{hub.url}/api/models/old/name/revision/main?blobs=true")
        there = f"/mirrors/hf/api/models/{REPO}/revision/main"
        assert (first.status_code, first.headers.get("X-Error-Message")) == (307, None)
        assert first.headers["Location"] == there + ("" if dropped else "?blobs=true")


def test_moved_hub_leads_to_another_and_tells_nothing(served: ServedRepo, hub: Hub) -> None:
    with Hub([served], faults=moved(hub.url)) as old:
        answer = httpx.head(url(old))
        assert (answer.status_code, answer.headers["Server"]) == (308, "Caddy")
        assert answer.headers["Location"] == url(hub)
        assert not {"x-repo-commit", "etag", "ratelimit"} & set(answer.headers)
        assert get(old).content == WEIGHTS
        assert info(old)["siblings"] == info(hub)["siblings"]


ASKED: dict[str, Callable[[Hub], str]] = {
    "hub": lambda hub: f"{hub.url}/api/models/{REPO}",
    "info": lambda hub: f"{hub.url}/api/models/{REPO}",
    "metadata": url,
    "small": lambda hub: url(hub, SMALL),
    "cdn": url,
}


@pytest.mark.parametrize("place", ASKED)
@pytest.mark.parametrize("status", [200, 302, 403])
@pytest.mark.parametrize("unsized", ["", "-unsized"])
def test_page_is_in_place_of_an_answer(
    served: ServedRepo, place: str, status: int, unsized: str
) -> None:
    with Hub([served], faults=FLOWS[f"page-{status}-{place}{unsized}"]()) as hub:
        for method in ("GET", "HEAD"):
            there, left = ASKED[place](hub), []
            with httpx.Client(follow_redirects=True) as client:
                answer = client.request(method, there)
                left = answer.history
            pages = [
                response
                for response in (*left, answer)
                if response.headers.get("Server") == "gateway"
            ]
            first = pages[0]
            assert first.status_code == status
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert ("Content-Length" in first.headers) == (not unsized)
            assert not {"x-repo-commit", "ratelimit", "x-request-id"} & set(first.headers)
            assert answer.content.startswith(b"<!DOCTYPE html>") == (method == "GET")
            if place == "cdn":
                assert first.url.host == "localhost"
            elif status == 302:
                assert answer.url.host == "localhost"


def test_page_may_be_anybodys(served: ServedRepo) -> None:
    with Hub([served], faults=at("cdn", page(403, server="Zscaler/6.2"))) as hub:
        assert get(hub).headers["Server"] == "Zscaler/6.2"
        assert get(hub, SMALL).content == CONFIG
    with Hub([served], faults=FLOWS["page-502"]()) as hub:
        assert get(hub).text.startswith("<!DOCTYPE html>")
        assert get(hub).status_code == 502


@pytest.mark.parametrize(
    ("name", "left", "after"),
    [
        ("limited", 0, None),
        ("limited-with-some-left", 12, None),
        ("limited-retry-after", 0, "172"),
    ],
)
def test_limited_hub_tells_when_the_window_ends(
    served: ServedRepo, name: str, left: int, after: str | None
) -> None:
    with Hub([served], faults=FLOWS[name]()) as hub:
        answer = get(hub)
    limits = parse_ratelimit_headers(answer.headers)
    assert answer.status_code == 429
    assert limits is not None
    assert (limits.remaining, limits.reset_in_seconds, limits.window_seconds) == (left, 172, 300)
    assert answer.headers.get("Retry-After") == after
    assert "We had to rate limit your IP" in answer.text
    assert limited(seconds=3).headers["RateLimit"] == '"resolvers";r=0;t=3'


REFUSED = {
    "no-box": (403, None, "fine-grained token settings", errors.HfHubHTTPError),
    "pending": (403, "GatedRepo", "awaiting a review", errors.GatedRepoError),
    "disabled": (403, None, "Access to this resource is disabled.", errors.DisabledRepoError),
    "blocked": (451, None, "Unavailable For Legal Reasons", errors.HfHubHTTPError),
    "head-405": (405, None, None, errors.HfHubHTTPError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_what_the_client_knows_them_as(served: ServedRepo, name: str) -> None:
    status, code, words, kind = REFUSED[name]
    with Hub([served], faults=FLOWS[name]()) as hub:
        with pytest.raises(kind) as caught:
            metadata(url(hub), token=TOKEN)
        assert type(caught.value) is kind
        answer = caught.value.response
        assert (answer.status_code, answer.headers.get("X-Error-Code")) == (status, code)
        assert (words or "") in answer.headers.get("X-Error-Message", "")


def test_head_without_a_length(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], faults=FLOWS["head-unsized"]()) as hub:
        found = metadata(url(hub, SMALL))
        assert (found.size, found.commit_hash) == (None, served.commit)
        assert get(hub, SMALL).headers["Content-Length"] == str(len(CONFIG))
        assert fetch(hub, LARGE, tmp_path) == WEIGHTS


def test_head_with_the_length_of_what_would_be_compressed(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["head-packed"]()) as hub:
        found = metadata(url(hub, SMALL))
        assert found.size == len(gzip.compress(CONFIG, 1)) < len(CONFIG)
        answer = httpx.head(url(hub, SMALL), follow_redirects=True)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert get(hub, SMALL).content == CONFIG


def test_redirect_without_the_size_of_its_file(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], faults=FLOWS["no-linked-size"]()) as hub:
        first = httpx.head(url(hub))
        assert "X-Linked-Size" not in first.headers
        assert first.headers["X-Linked-ETag"] == f'"{SHA256}"'
        assert 850 < int(first.headers["Content-Length"]) < 1100
        assert get(hub).content == WEIGHTS


def test_mirror_that_ignores_the_query_lists_no_blobs(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["no-blobs"]()) as hub:
        assert info(hub)["siblings"] == [{"rfilename": SMALL}, {"rfilename": LARGE}]
        files = HfApi(endpoint=hub.url).list_repo_tree(REPO, recursive=True)
        assert {file.path: getattr(file, "size", None) for file in files} == {
            SMALL: len(CONFIG),
            LARGE: len(WEIGHTS),
        }
        assert get(hub).content == WEIGHTS


def test_cdn_that_refuses_ranges_gives_the_whole(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["cdn-range"]()) as hub:
        answer = get(hub, Range="bytes=5-")
        assert (answer.status_code, answer.text) == (403, "Auth failed: invalid range")
        assert "x-error-message" not in answer.headers
        assert get(hub).content == WEIGHTS
        assert get(hub, SMALL, Range="bytes=5-").content == CONFIG[5:]


def test_cdn_that_refuses_what_the_hub_signed(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["cdn-signature-twice"]()) as hub:
        answers = [get(hub) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [403, 403, 200, 200]
        assert answers[0].text == "SignatureError"
    with Hub([served], faults=FLOWS["cdn-signature"]()) as hub:
        assert [get(hub).status_code for _ in range(4)] == [403] * 4


@pytest.mark.parametrize("part", [{}, {"Range": "bytes=5-"}])
def test_answer_without_a_byte(served: ServedRepo, part: dict[str, str]) -> None:
    with Hub([served], faults=FLOWS["cdn-empty-once"]()) as hub:
        answers = [get(hub, **part) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [206 if part else 200] * 2
        assert (answers[0].content, answers[0].headers["Content-Length"]) == (b"", "0")
        assert answers[1].content == WEIGHTS[5 if part else 0 :]
    with Hub([served], faults=FLOWS["cdn-empty"]()) as hub:
        assert [get(hub, **part).content for _ in range(2)] == [b"", b""]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("place", ["hub", "cdn"])
def test_first_byte_is_late_and_the_connection_stands(
    served: ServedRepo, place: str, method: str
) -> None:
    with Hub([served], faults=slow(place, 0.4)) as hub:
        late = httpx.Timeout(0.2, connect=5)
        there = url(hub) if place == "hub" else httpx.head(url(hub)).headers["Location"]
        with pytest.raises(httpx.ReadTimeout):
            httpx.request(method, there, timeout=late)
        began = time.monotonic()
        answer = httpx.request(method, there)
        assert answer.status_code == (302 if place == "hub" else 200)
        assert time.monotonic() - began > 0.4
    for name in ("hub-slow", "cdn-slow"):
        fault = FLOWS[name]()("GET", "/api/models/a/b" if name == "hub-slow" else "/cdn/x")
        assert fault == Fault(wait=25)


@pytest.mark.parametrize(
    ("name", "header", "etag"),
    [
        ("etag-unquoted", SHA256, SHA256),
        ("etag-weak", f'W/"{SHA256}"', SHA256),
        ("etag-foreign", foreign(SHA256), foreign(SHA256)),
    ],
)
def test_etag_in_other_shapes(served: ServedRepo, name: str, header: str, etag: str) -> None:
    with Hub([served], faults=FLOWS[name]()) as hub:
        assert httpx.head(url(hub)).headers["X-Linked-ETag"] == header
        assert metadata(url(hub)).etag == etag
        assert metadata(url(hub, SMALL)).etag == etag.replace(SHA256, OID) or (
            name == "etag-foreign" and metadata(url(hub, SMALL)).etag == foreign(OID)
        )


def test_etag_changes_between_answers(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["etag-changes"]()) as hub:
        etags = {metadata(url(hub, path)).etag for path in (LARGE, SMALL) * 3}
        assert len(etags) == 6
    first, second = changing(), changing()
    assert (first("a"), first("a")) == (second("a"), second("a"))


def test_direct_server_below_a_path_keeps_copies(served: ServedRepo, tmp_path: Path) -> None:
    place = "artifactory/api/huggingfaceml/remote"
    with Hub([served], faults=FLOWS["artifactory"](), path=place) as hub:
        for path, digest in ((LARGE, SHA256), (SMALL, OID)):
            answer = httpx.get(url(hub, path), headers={"Range": "bytes=5-"})
            assert (answer.status_code, answer.headers["ETag"]) == (200, foreign(digest))
            assert not {"x-linked-etag", "x-linked-size", "ratelimit"} & set(answer.headers)
            assert fetch(hub, path, tmp_path) == answer.content
        assert hub.counts()["cdn"] == hub.counts()["resolve-cache"] == 0
        assert info(hub)["id"] == REPO
    with Hub([served], faults=FLOWS["direct"]()) as hub:
        answer = httpx.get(url(hub), headers={"Range": "bytes=5-"})
        assert (answer.status_code, answer.content) == (206, WEIGHTS[5:])
        assert answer.headers["ETag"] == f'"{SHA256}"'


def test_bytes_that_come_otherwise_than_asked(served: ServedRepo) -> None:
    with Hub([served], faults=FLOWS["range-ignored"]()) as hub:
        answer = get(hub, Range="bytes=5-")
        assert (answer.status_code, answer.content) == (200, WEIGHTS)
    with Hub([served], faults=FLOWS["packed"]()) as hub:
        answer = get(hub, **{"Accept-Encoding": "identity"})
        assert (answer.headers["Content-Encoding"], answer.content) == ("gzip", WEIGHTS)


def test_faults_of_a_place_come_in_turn_and_by_method() -> None:
    faults: Faults = at("small", Fault(cut=1), Fault(cut=2), method="GET")
    there = "/mirrors/hf/api/resolve-cache/models/a/b/c/config.json"
    asked = [faults(method, there) for method in ("GET", "HEAD", "GET", "GET")]
    assert asked == [Fault(cut=1), None, Fault(cut=2), Fault(cut=2)]
    assert faults("GET", "/a/b/resolve/main/config.json") is None


def test_command_replays_a_flow(served: ServedRepo) -> None:
    repo = f"{REPO}={served.folder}"
    command = [sys.executable, "-S", "-m", "sample_hub.server", "--repo", repo]
    with subprocess.Popen(
        [*command, "--flow", "disabled"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            answer = httpx.get(process.stderr.readline().partition(" ")[0] + f"/api/models/{REPO}")
            assert answer.json() == {"error": "Access to this resource is disabled."}
        finally:
            process.terminate()
    done = subprocess.run([*command, "--flow", "no"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'no'" in done.stderr
