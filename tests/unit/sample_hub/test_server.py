"""The embedded hub is a hub: the unmodified client cannot tell, and only what is asked to breaks.

The house trusts this server: a fault that it does not do, or a request that it does not count,
would let some other test pass for nothing.
"""

import hashlib
import http.client
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from huggingface_hub import HfApi, constants, errors, snapshot_download
from huggingface_hub import get_hf_file_metadata as metadata
from huggingface_hub.utils._pagination import paginate
from pytest import MonkeyPatch

from sample_hub import served as repositories
from sample_hub import server
from sample_hub.cdn import signed
from sample_hub.server import Fault, Hub, ServedRepo, commit_of, is_lfs, sample_repos
from tests.support.hub_requests import at_bytes, fetch, folder_of, get, url
from tests.support.paths import ROOT

REPO = "acme/tiny"
SMALL, LARGE = "config.json", "deep/er/a b+c%2F.safetensors"  # a name that URLs dislike
CONFIG = b'{"model_type": "bert"}'
WEIGHTS = bytes(range(256)) * 400  # 102400 bytes, and no two neighbours alike
FILES = {SMALL: CONFIG, LARGE: WEIGHTS, "1_Pooling/config.json": b"{}", "vocab.txt": b"a\nb\n"}
TREE = sorted([*FILES, "1_Pooling", "deep", "deep/er"])
HIDDEN = (".gitattributes", ".cache/x", "__pycache__/x.pyc", "deep/.secret")
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
LFS = {"sha256": SHA256, "size": 102400, "pointer_size": 131}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository's folder, with hidden files that are nobody's business."""
    return folder_of(tmp_path / "repo", {**FILES, **dict.fromkeys(HIDDEN, b"hidden")})


@pytest.fixture
def served(folder: Path) -> ServedRepo:
    return ServedRepo.of(REPO, folder, license="mit")


@pytest.fixture
def hub(served: ServedRepo) -> Iterator[Hub]:
    with Hub([served]) as running:
        yield running


def in_turn(*faults: Fault) -> Callable[[str, str], Fault | None]:
    """These faults for the first GETs of large files, none afterwards."""
    left = list(faults)
    return lambda _, path: left.pop(0) if left and path.startswith("/cdn/") else None


def blob_oid(content: bytes) -> str:
    """What `git hash-object` says."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_commit_moves_with_any_change(folder: Path) -> None:
    seen = [commit_of(folder)]
    for change in (
        lambda: (folder / SMALL).write_bytes(CONFIG.replace(b"bert", b"BERT")),
        lambda: (folder / LARGE).write_bytes(WEIGHTS[:-1] + b"\0"),
        lambda: (folder / SMALL).rename(folder / "configs.json"),
        lambda: (folder / "new.txt").touch(),
        lambda: (folder / "1_Pooling/config.json").unlink(),
    ):
        change()
        seen.append(commit_of(folder))
    assert len(set(seen)) == len(seen) == 6
    assert all(len(commit) == 40 and set(commit) <= set("0123456789abcdef") for commit in seen)


def test_commit_moves_within_a_tick_of_the_clock(folder: Path, monkeypatch: MonkeyPatch) -> None:
    file, real = folder / SMALL, Path.stat
    tick = file.stat()
    monkeypatch.setattr(time, "time_ns", lambda: tick.st_ctime_ns)
    monkeypatch.setattr(Path, "stat", lambda p, **more: tick if p == file else real(p, **more))
    before = commit_of(folder)
    file.write_bytes(CONFIG[::-1])
    assert commit_of(folder) != before


def test_commit_unchanged_by_place_times_and_hidden_files(folder: Path, tmp_path: Path) -> None:
    wanted = commit_of(folder)
    for path in HIDDEN:
        (folder / path).write_bytes(b"other")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / SMALL).touch()
    assert commit_of(folder) == commit_of(tmp_path / "copy") == wanted


def test_digests_a_settled_file_once(folder: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 2**63)
    wanted = commit_of(folder)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("digested again"))
    assert commit_of(folder) == wanted


@pytest.mark.parametrize("path", [LARGE, "a/b.pt", "a.onnx", "saved_model/a/b", "spiece.model"])
def test_lfs_has_the_large_kinds_only(path: str) -> None:
    assert is_lfs(path)
    assert not is_lfs(f"x/{path}.index.json")


def test_info_names_every_file_with_its_digests(hub: Hub, served: ServedRepo) -> None:
    info = HfApi(endpoint=hub.url).model_info(REPO, files_metadata=True)
    assert (info.id, info.sha, info.gated, info.private) == (REPO, served.commit, False, False)
    assert info.card_data and info.card_data.license == "mit"
    assert info.tags == ["transformers", "bert", "license:mit", "region:us"]
    files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    assert {path: file.size for path, file in files.items()} == {p: len(FILES[p]) for p in FILES}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize 102400\n"
    weights = files.pop(LARGE)
    assert (weights.blob_id, weights.lfs) == (blob_oid(pointer.encode()), LFS)
    assert all((f.blob_id, f.lfs) == (blob_oid(FILES[path]), None) for path, f in files.items())
    info = HfApi(endpoint=hub.url).model_info(REPO, revision=served.commit)
    assert {file.rfilename: file.size for file in info.siblings or ()} == dict.fromkeys(FILES)


def test_refs_name_branches_tags_and_pull_requests(served: ServedRepo, folder: Path) -> None:
    (folder / SMALL).write_bytes(b"{}")
    named = frozenset({"v1", "refs/pr/7"})
    other = replace(ServedRepo.of(REPO, folder), tags=named)
    with Hub([replace(served, commit="0" * 40), replace(other, commit="1" * 40)]) as hub:
        api = HfApi(endpoint=hub.url)
        refs = api.list_repo_refs(REPO, include_pull_requests=True)
        assert [(ref.ref, ref.target_commit) for ref in refs.branches] == [
            ("refs/heads/main", "1" * 40)
        ]
        assert [(ref.name, ref.ref) for ref in refs.tags] == [("v1", "refs/tags/v1")]
        assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests or ()] == [
            ("refs/pr/7", "1" * 40)
        ]
        assert api.list_repo_refs(REPO).pull_requests is None
        assert api.model_info(REPO, revision="refs/pr/7").sha == "1" * 40


def test_tree_lists_folders_and_files(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url)
    whole = {item.path: item for item in api.list_repo_tree(REPO, recursive=True)}
    assert sorted(whole) == TREE
    assert [item.path for item in api.list_repo_tree(REPO, "deep")] == ["deep/er"]
    assert [item.path for item in api.list_repo_tree(REPO, "deep/er")] == [LARGE]
    top = [item.path for item in api.list_repo_tree(REPO, expand=True)]
    assert top == ["1_Pooling", SMALL, "deep", "vocab.txt"]
    assert api.get_paths_info(REPO, [LARGE, "deep", "no"]) == [whole[LARGE], whole["deep"]]
    assert getattr(whole[LARGE], "lfs", None) == LFS
    with pytest.raises(errors.RemoteEntryNotFoundError):
        list(api.list_repo_tree(REPO, SMALL))


def test_tree_comes_in_pages(hub: Hub) -> None:
    place = f"{hub.url}/api/models/{REPO}/tree/main"
    items = list(paginate(place, {"recursive": True, "limit": 2}, {}))
    assert [item["path"] for item in items] == TREE
    assert [request.status for request in hub.requests] == [200] * 4


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("by", ["main", "commit"])
def test_download_gives_the_bytes(hub: Hub, tmp_path: Path, path: str, by: str) -> None:
    commit = hub.repos[0].commit
    assert fetch(hub, path, tmp_path, commit if by == "commit" else by) == FILES[path]
    got = tmp_path / "models--acme--tiny/snapshots" / commit / path
    assert got.resolve().name == (SHA256 if path == LARGE else blob_oid(FILES[path]))
    (body,) = hub.bodies(path)
    assert (body.status, body.sent, body.range) == (200, len(FILES[path]), None)


def test_snapshot_is_whole_and_a_second_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    for _ in range(2):
        top = Path(snapshot_download(REPO, endpoint=hub.url, cache_dir=tmp_path))
        files = [file for file in top.rglob("*") if file.is_file()]
        assert {f.relative_to(top).as_posix(): f.read_bytes() for f in files} == FILES
        cached = f"/api/resolve-cache/models/{REPO}/{top.name}/"
        paths = {cached + path for path in FILES if path != LARGE}
        bodies = [
            request.path
            for request in hub.requests
            if (request.method, request.status) == ("GET", 200) and request.kind != "api"
        ]
        assert (len(bodies), set(bodies)) == (4, {*paths, f"/cdn/{SHA256}/{REPO}/{LARGE}"})
    assert not any(request.authorization for request in hub.requests)


def test_main_is_the_last_of_several_commits(served: ServedRepo, tmp_path: Path) -> None:
    shutil.copytree(served.folder, tmp_path / "new")
    (tmp_path / "new" / LARGE).write_bytes(WEIGHTS[::-1])
    new = ServedRepo.of(REPO, tmp_path / "new")
    with Hub([served, new]) as hub:
        assert fetch(hub, LARGE, tmp_path) == WEIGHTS[::-1]
        assert fetch(hub, LARGE, tmp_path, new.commit) == WEIGHTS[::-1]
        assert fetch(hub, LARGE, tmp_path, served.commit) == WEIGHTS


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-", 206, slice(None)),
        ("bytes=1-9", 206, slice(1, 10)),
        ("bytes=3-999999", 206, slice(3, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-8", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
    ],
)
def test_range_gives_that_part(
    hub: Hub, path: str, asked: str, status: int, part: slice | None
) -> None:
    got = httpx.get(url(hub, path), headers={"Range": asked}, follow_redirects=True)
    last, size, wanted = hub.requests[-1], len(FILES[path]), f"bytes */{len(FILES[path])}"
    if part is not None:
        assert got.content == FILES[path][part]
        start, stop, _ = part.indices(size)
        wanted = f"bytes {start}-{stop - 1}/{size}"
    assert got.headers.get("Content-Range") == (None if status == 200 else wanted)
    assert (last.range, last.status, last.sent) == (asked, status, len(got.content))


def test_range_of_another_version_is_the_whole_file(hub: Hub) -> None:
    etag = httpx.head(url(hub, SMALL), follow_redirects=True).headers["ETag"]
    for condition, status in ((etag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=1-2", "If-Range": condition}
        assert get(hub, SMALL, **headers).status_code == status


def test_missing_things_raise_what_the_hub_raises(hub: Hub, tmp_path: Path) -> None:
    api = HfApi(endpoint=hub.url)
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("acme/other")
    with pytest.raises(errors.RevisionNotFoundError, match="Invalid rev id: refs/pr/1"):
        api.model_info(REPO, revision="refs/pr/1")
    with pytest.raises(errors.RevisionNotFoundError, match="Invalid rev id: 0000"):
        fetch(hub, SMALL, tmp_path, revision="0" * 40)
    with pytest.raises(errors.RemoteEntryNotFoundError):
        fetch(hub, "no.txt", tmp_path)
    assert list(tmp_path.glob(f"models--acme--tiny/.no_exist/{hub.repos[0].commit}/no.txt"))


@pytest.mark.parametrize("path", ["../secret", "..%2fsecret", "%2e%2e/secret", "%00", *HIDDEN])
def test_nothing_but_listed_files_can_be_had(hub: Hub, folder: Path, path: str) -> None:
    """And the connection is kept alive; http.client, because httpx would tidy the paths up."""
    (folder.parent / "secret").write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=10)
    stored = signed(unquote(f"/cdn/{digest}/{REPO}/{path}"))
    cached = f"/api/resolve-cache/models/{REPO}/{hub.repos[0].commit}/{path}"
    for place in (f"/{REPO}/resolve/main/{path}", stored, cached, "/" + path):
        for method in ("GET", "HEAD", "POST"):
            connection.request(method, place, body=b"paths=config.json" * 9)
            answer = connection.getresponse()
            assert (answer.status, b"secret" in answer.read()) == (404, False)
            assert connection.sock is not None
    connection.close()


def test_fault_status_is_the_answer(served: ServedRepo) -> None:
    gated = Fault(status=403, code="GatedRepo", message="Ask for access")
    busy = Fault(status=503, headers={"Retry-After": "7"})
    with Hub([served], faults=lambda _, path: gated if "resolve" in path else busy) as hub:
        with pytest.raises(errors.GatedRepoError, match="Ask for access"):
            metadata(url(hub, SMALL))
        with pytest.raises(errors.HfHubHTTPError) as caught:
            HfApi(endpoint=hub.url).model_info(REPO)
        assert caught.value.response.headers["Retry-After"] == "7"
        assert httpx.get(url(hub, SMALL)).json() == {"error": "Ask for access"}
        assert [request.status for request in hub.requests] == [403, 503, 403]
        assert not hub.bodies(SMALL)


@pytest.mark.parametrize("ignore", [False, True])
def test_fault_cut_and_ignored_range(
    served: ServedRepo, tmp_path: Path, monkeypatch: MonkeyPatch, ignore: bool
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # or nothing is there to resume
    with Hub([served], faults=in_turn(Fault(cut=60_000), Fault(ignore_range=ignore))) as hub:
        assert fetch(hub, LARGE, tmp_path) == WEIGHTS
        first, second = hub.bodies(LARGE)
        assert (first.status, first.sent, second.range) == (200, 60_000, "bytes=60000-")
        assert (second.status, second.sent) == ((200, 102_400) if ignore else (206, 42_400))


def test_fault_spoiled_end_passes_the_client_unseen(served: ServedRepo, tmp_path: Path) -> None:
    with Hub([served], faults=lambda *_: Fault(corrupt=3)) as hub:
        got = fetch(hub, LARGE, tmp_path)
        assert (len(got), got[:-3]) == (len(WEIGHTS), WEIGHTS[:-3])
        assert not any(a == b for a, b in zip(got[-3:], WEIGHTS[-3:], strict=True))
        part = get(hub, SMALL, Range="bytes=-4").content
        assert part == b"r" + bytes(byte ^ 0xFF for byte in b't"}'[-3:])


def test_fault_stall_is_silence(hub: Hub, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    with Hub(hub.repos, faults=in_turn(Fault(stall=60))) as hub:
        assert fetch(hub, LARGE, tmp_path) == WEIGHTS
    with Hub(hub.repos, faults=at_bytes(Fault(stall=60))) as hub:
        with httpx.stream("GET", url(hub, SMALL), timeout=0.3, follow_redirects=True) as answer:
            assert (answer.status_code, answer.headers["Content-Length"]) == (200, "22")
            with pytest.raises(httpx.ReadTimeout):
                answer.read()
        with pytest.raises(httpx.ReadTimeout):
            httpx.head(url(hub, SMALL), timeout=0.3, follow_redirects=True)


def test_rate_holds_for_file_bodies(served: ServedRepo) -> None:
    with Hub([served], rate=4 * len(WEIGHTS)) as hub:
        began = time.monotonic()
        assert httpx.get(url(hub, LARGE), follow_redirects=True).content == WEIGHTS
        assert 0.2 < time.monotonic() - began < 5


def test_request_is_counted_once_the_client_has_it(hub: Hub) -> None:
    with httpx.Client(follow_redirects=True) as client:
        for count in range(1, 301):
            client.get(url(hub, SMALL))
            assert len(hub.bodies(SMALL)) == count


def test_client_that_hangs_up_leaves_no_traceback(
    served: ServedRepo, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (served.folder / "big.bin").write_bytes(bytes(30_000_000))
    with Hub([served]) as hub, caplog.at_level(logging.INFO, "sample_hub"):
        with httpx.stream("GET", url(hub, "big.bin"), follow_redirects=True) as answer:
            next(answer.iter_raw(1000))
        while not (bodies := hub.bodies("big.bin")):
            time.sleep(0.01)
        assert bodies[0].sent < 30_000_000
        assert HfApi(endpoint=hub.url).model_info(REPO).id == REPO
    ours = [record for record in caplog.records if record.name == "sample_hub"]
    assert (ours, capfd.readouterr().err) == ([], "")


def test_closed_hub_hangs_up_and_frees_its_port(served: ServedRepo) -> None:
    with httpx.Client(follow_redirects=True) as client:
        with Hub([served]) as hub:
            assert client.get(url(hub, SMALL)).status_code == 200
        with pytest.raises(httpx.TransportError):
            client.get(url(hub, SMALL))
        with Hub([served], port=int(hub.url.rpartition(":")[2])):
            assert client.get(url(hub, SMALL)).status_code == 200


def test_samples_are_found_by_folder(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "SAMPLES", tmp_path)
    assert sample_repos() == ()
    for place in ("lab/a", ".git/x", "__pycache__/x"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / SMALL).write_text(place)
    wanted = ServedRepo.of("lab/a", tmp_path / "lab/a", license="apache-2.0")
    assert sample_repos() == (wanted,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_told_to_stop(folder: Path, number: signal.Signals) -> None:
    """With -S: it runs without any installed package."""
    repo = f"{REPO}={folder}@{'c0ffee' + '0' * 34}"
    command = [sys.executable, "-S", "-m", "sample_hub.server", "--repo", repo]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        origin, _, rest = process.stderr.readline().partition(" ")
        try:
            assert rest == f"serves {REPO}\n"
            assert HfApi(endpoint=origin).model_info(REPO).sha == repo[-40:]
        finally:
            process.send_signal(number)
        assert (process.wait(timeout=10), process.stderr.read()) == (0, "")


@pytest.mark.parametrize("wrong", ["tiny=.", "acme/tiny", "acme/tiny=./nowhere"])
def test_command_refuses_what_is_no_repo(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        server.main(["--repo", wrong])
    assert f"{wrong.partition('=./')[2] or wrong}' is not" in capsys.readouterr().err
