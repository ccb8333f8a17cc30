"""A file's bytes, by the real client from a real hub: resumed, checked, published once whole."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedFile, read_lock
from prep.errors import ChecksumMismatch, HubBusy
from prep.fetch.hub import Network, fetch_files
from prep.home.layout import Home
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo, sample_repos
from tests.support.runs import FILES_ONLY, SAMPLE, sample
from tests.support.small_homes import locked_files, safetensors, sha256, write_bytes

REPO = "org/large"
BODY = safetensors(random.Random(0).randbytes(3_000_000))
FILE = LockedFile(path="model.safetensors", size=len(BODY), sha256=sha256(BODY))
Faults = Callable[[str, str], Fault | None]


class Fetch:
    """Fetches the file as the stage does; `said` are the lines for people."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "served").exists():
            write_bytes(folder / "served" / FILE.path, BODY)
        self.served = ServedRepo.of(REPO, folder / "served", "mit")
        self.home, self.said = Home(folder / "home"), list[str]()
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.partial = self.home.partial / FILE.sha256
        self.link = self.home.snapshot(REPO, self.served.commit) / FILE.path

    def __call__(self, hub: Hub, **network: float) -> int:
        """Gives the bytes that came."""
        return fetch_files(
            Network(endpoint=hub.url, **network),
            self.home,
            REPO,
            self.served.commit,
            [FILE],
            locked=[FILE.path],
            scratch=self.scratch,
            on_event=lambda event: None,
            say=self.said.append,
        )

    def leave(self, part: bytes) -> None:
        """A partial file of an earlier run."""
        write_bytes(self.partial, part)


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path)


def on_bytes(*faults: Fault, then: Fault | None = None) -> Faults:
    """These faults in turn for the file's bytes alone, afterwards the last, or `then`."""
    left = list(faults)

    def choose(method: str, path: str) -> Fault | None:
        if not path.startswith("/cdn/"):
            return None
        if then is None and len(left) == 1:
            return left[0]
        return left.pop(0) if left else then

    return choose


def test_file_is_published_whole_and_by_the_hubs_own_link(fetch: Fetch) -> None:
    with Hub([fetch.served]) as hub:
        assert fetch(hub) == len(BODY)
        assert fetch.link.is_symlink()
        blob = fetch.home.repo(REPO) / "blobs" / FILE.sha256
        assert fetch.link.resolve() == blob.resolve()
        assert fetch.link.read_bytes() == BODY
        assert fetch.link.stat().st_mode & 0o777 == 0o644
        assert list(fetch.home.partial.iterdir()) == []
        assert fetch(hub) == 0, "a whole blob is not fetched again"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(cut=1_500_000), "truncated answer"),
        (Fault(cut=1_500_000, reset=True), "truncated answer"),
        (Fault(cut=1_500_000, chunked=True), "truncated answer"),
        (Fault(cut=700_000, gzip=True), "truncated answer"),
        (Fault(stall=30, stall_at=1_500_000), "timed out"),
    ],
    ids=["cut", "reset", "chunked", "gzip", "stalled"],
)
def test_truncated_body_is_resumed_at_once(fetch: Fetch, fault: Fault, words: str) -> None:
    with Hub([fetch.served], faults=on_bytes(fault, then=Fault())) as hub:
        slow = {"timeout": 6.0} if fault.stall else {}
        assert fetch(hub, **slow) == len(BODY)
        second = next(body for body in hub.bodies(FILE.path) if body.range is not None)
        begin = int(str(second.range).removeprefix("bytes=").removesuffix("-"))
        assert begin <= 1_500_000
        assert begin >= 600_000 or fault.reset, "a reset discards what is on its way"
        assert (second.status, second.sent) == (206, len(BODY) - begin)
    [line] = fetch.said
    assert re.fullmatch(rf"network: {words}, trying again in [12] s \(2 of 5\)", line)
    assert fetch.link.read_bytes() == BODY


def test_wait_that_the_hub_asks_for_is_waited_and_the_watch_lets_it(fetch: Fetch) -> None:
    asked = Fault(status=429, headers={"Retry-After": "5"})
    with Hub([fetch.served], faults=on_bytes(asked, then=Fault())) as hub:
        assert fetch(hub, timeout=9) == len(BODY)
    [line] = fetch.said
    assert re.fullmatch(r"network: 429, trying again in [56] s, as the hub asks \(2 of 5\)", line)


def test_what_came_before_it_gave_up_is_resumed_in_the_next_run(fetch: Fetch) -> None:
    faults = on_bytes(Fault(cut=1_500_000), Fault(status=503, headers={"Retry-After": "999"}))
    with (
        Hub([fetch.served], faults=faults) as hub,
        pytest.raises(HubBusy, match="asks to wait 999 s, longer than the 330 s that a run waits"),
    ):
        fetch(hub)
    kept = fetch.partial.stat().st_size
    assert kept == 1_500_000
    with Hub([fetch.served]) as hub:
        assert fetch(hub) == len(BODY) - kept
        assert [body.range for body in hub.bodies(FILE.path) if body.sent] == [f"bytes={kept}-"]
    assert list(fetch.home.partial.iterdir()) == []


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        (BODY + b"more", Fault()),
        (b"\0" * len(BODY), Fault()),
        (BODY[:1_000_000], Fault(gzip=True)),
        (BODY[:1_000_000], Fault(status=416)),
        (BODY[:1_000_000], Fault(content=BODY[:-1] + b"x")),
        (BODY[:1_000_000], Fault(content=BODY + b"more")),
    ],
    ids=[
        *("part-is-too-long", "part-is-full-and-wrong", "server-packs-the-part"),
        *("server-has-no-such-part", "another-file", "a-longer-file"),
    ],
)
def test_part_that_cannot_be_resumed_is_started_again(
    fetch: Fetch, left: bytes, fault: Fault
) -> None:
    fetch.leave(left)
    once = Fault() if fault.status or fault.content else None
    with Hub([fetch.served], faults=on_bytes(fault, then=once)) as hub:
        fetch(hub)
    assert fetch.said == []
    assert fetch.link.read_bytes() == BODY


def test_whole_part_of_a_killed_run_is_not_fetched_again(fetch: Fetch) -> None:
    fetch.leave(BODY)
    with Hub([fetch.served]) as hub:
        assert fetch(hub) == 0
        assert [body for body in hub.bodies(FILE.path) if body.sent] == []


def test_checksum_mismatch_is_discarded_and_not_retried(fetch: Fetch) -> None:
    with Hub([fetch.served], faults=on_bytes(Fault(corrupt=512))) as hub:
        with pytest.raises(ChecksumMismatch, match=r"has sha256 \w+, expected \w+ \(lock\)"):
            fetch(hub)
        assert len([body for body in hub.bodies(FILE.path) if body.sent]) == 1
    files = [path for path in fetch.home.root.rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_size] == []


def test_fetching_three_models_asks_the_hub_at_most_twice_for_a_file(
    tmp_path: Path, hub: Hub
) -> None:
    """A hub counts these, not the answers behind its redirects; two is the first of a model."""
    done = sample(tmp_path / "home", *FILES_ONLY, models=None, hub=hub.url, timeout=600)
    assert done.code == 0, done.out
    asked = Counter(request.path for request in hub.requests if request.kind == "resolve")
    lock = read_lock(SAMPLE.with_name("models.lock.toml"))
    files = sum(len(model.files) for model in lock.models)
    assert (len(asked), max(asked.values())) == (files, 2)
    assert sum(asked.values()) == files + len(lock.models)
    assert hub.counts()["api"] == 0


@pytest.mark.parametrize("path", ["a.json", "b.json"])
def test_etag_that_is_another_files_name_gives_no_file_that_name(tmp_path: Path, path: str) -> None:
    bodies = {"a.json": b"{}", "b.json": b"{ }", "c.json": b"[]"}
    for name, body in bodies.items():
        write_bytes(tmp_path / "served" / name, body)
    served = ServedRepo.of(REPO, tmp_path / "served", "mit")
    files = list(locked_files(bodies))
    home = Home(tmp_path / "home")
    honest = hashlib.sha1(b"blob %d\0%b" % (len(bodies[path]), bodies[path])).hexdigest()
    blobs = home.repo(REPO) / "blobs"
    odd = Fault(etag=lambda digest: f'"{honest}"')

    def fetch(hub: Hub, files: list[LockedFile]) -> int:
        return fetch_files(
            *(Network(endpoint=hub.url), home, REPO, served.commit, files),
            locked=list(bodies),
            scratch=tmp_path / "s",
            on_event=lambda event: None,
        )

    (tmp_path / "s").mkdir()
    with Hub([served]) as hub:
        assert fetch(hub, [file for file in files if file.path == path]) == len(bodies[path])
    before = (blobs / honest).stat()
    with Hub([served], faults=lambda method, asked: odd) as hub:
        assert fetch(hub, files) == sum(map(len, bodies.values())) - len(bodies[path])
        assert fetch(hub, files) == 0
    snapshot = home.snapshot(REPO, served.commit)
    assert {name: (snapshot / name).read_bytes() for name in bodies} == bodies
    after = (blobs / honest).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {blob.name for blob in blobs.iterdir()} == {
        honest if file.path == path else file.sha256 for file in files
    }


def test_one_etag_for_all_files_prepares_the_model_all_the_same(tmp_path: Path) -> None:
    odd = Fault(etag=lambda digest: f'"{"a" * 40}"')
    with Hub(sample_repos(), faults=lambda method, path: odd) as hub:
        done = sample(tmp_path / "home", "-k", "test_source_is", hub=hub.url)
    assert done.code == 0, done.out
