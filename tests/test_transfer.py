"""A file's bytes, by the real client from a real hub: resumed, digested, published once whole."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from prep.errors import HubBusy, HubRefused, HubUnreachable, NoProgress, WrongBytes
from prep.fetch import Network, ask, fetch_files, reach
from prep.layout import Home
from prep.lock import LockedFile
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.homes import safetensors

REPO = "org/large"
BODY = safetensors(random.Random(0).randbytes(3_000_000))
FILE = LockedFile(path="model.safetensors", size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())
Faults = Callable[[str, str], Fault | None]


@pytest.fixture
def served(tmp_path: Path) -> ServedRepo:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / FILE.path).write_bytes(BODY)
    (folder / "config.json").write_text("{}")
    return ServedRepo.of(REPO, folder, "mit")


def bring(home: Home, hub: Hub, served: ServedRepo, scratch: Path, **network: float) -> int:
    """Fetch the file as the stage does; gives the bytes that came."""
    scratch.mkdir(exist_ok=True)
    return fetch_files(
        Network(endpoint=hub.url, **network),
        home,
        REPO,
        served.commit,
        [FILE],
        locked=[FILE.path],
        scratch=scratch,
        on_event=lambda event: None,
    )


def on_bytes(fault: Fault) -> Faults:
    """The fault, for the file's bytes alone."""
    return lambda method, path: fault if path.startswith("/cdn/") else None


def test_file_is_published_whole_and_by_the_hubs_own_link(
    tmp_path: Path, served: ServedRepo
) -> None:
    home = Home(tmp_path / "home")
    with Hub([served]) as hub:
        assert bring(home, hub, served, tmp_path / "s") == len(BODY)
        link = home.snapshot(REPO, served.commit) / FILE.path
        assert link.is_symlink()
        assert link.resolve() == (home.repo(REPO) / "blobs" / FILE.sha256).resolve()
        assert link.read_bytes() == BODY
        assert link.stat().st_mode & 0o777 == 0o644
        assert list(home.partial.iterdir()) == []
        assert bring(home, hub, served, tmp_path / "s") == 0, "a whole blob is not fetched again"


def test_proxy_is_not_asked_for_this_machine_itself(
    tmp_path: Path, served: ServedRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Hub([served]) as hub:
        assert bring(Home(tmp_path / "home"), hub, served, tmp_path / "s") == len(BODY)


def test_cut_body_is_kept_and_gone_on_from(tmp_path: Path, served: ServedRepo) -> None:
    home = Home(tmp_path / "home")
    with (
        Hub([served], faults=on_bytes(Fault(cut=1_500_000))) as hub,
        pytest.raises(HubBusy, match=r"broke off in the middle|hub sent"),
    ):
        bring(home, hub, served, tmp_path / "s")
    kept = (home.partial / FILE.sha256).stat().st_size
    assert kept > 1_000_000
    with Hub([served]) as hub:
        assert bring(home, hub, served, tmp_path / "s") == len(BODY) - kept
        assert [one.range for one in hub.bodies(FILE.path) if one.sent] == [f"bytes={kept}-"]


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        (BODY[:1_000_000], Fault(ignore_range=True)),
        (b"\0" * 1_000_000, Fault()),
        (BODY + b"more", Fault()),
        (b"\0" * len(BODY), Fault()),
    ],
    ids=["server-ignores-range", "part-is-damaged", "part-is-too-long", "part-is-full-and-wrong"],
)
def test_part_that_cannot_be_gone_on_from_is_started_again(
    tmp_path: Path, served: ServedRepo, left: bytes, fault: Fault
) -> None:
    home = Home(tmp_path / "home")
    home.partial.mkdir(parents=True)
    (home.partial / FILE.sha256).write_bytes(left)
    with Hub([served], faults=on_bytes(fault)) as hub:
        bring(home, hub, served, tmp_path / "s")
    assert (home.snapshot(REPO, served.commit) / FILE.path).read_bytes() == BODY


def test_whole_part_of_a_killed_run_is_not_fetched_again(
    tmp_path: Path, served: ServedRepo
) -> None:
    home = Home(tmp_path / "home")
    home.partial.mkdir(parents=True)
    (home.partial / FILE.sha256).write_bytes(BODY)
    with Hub([served]) as hub:
        assert bring(home, hub, served, tmp_path / "s") == 0
        assert [one for one in hub.bodies(FILE.path) if one.sent] == []


def test_wrong_bytes_are_thrown_away_and_not_asked_for_twice(
    tmp_path: Path, served: ServedRepo
) -> None:
    home = Home(tmp_path / "home")
    with Hub([served], faults=on_bytes(Fault(spoil=512))) as hub:
        with pytest.raises(WrongBytes, match="never retried into acceptance"):
            bring(home, hub, served, tmp_path / "s")
        assert len([one for one in hub.bodies(FILE.path) if one.sent]) == 1
    assert [path for path in home.root.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_stalled_body_is_given_up_after_the_timeout(tmp_path: Path, served: ServedRepo) -> None:
    with (
        Hub([served], faults=on_bytes(Fault(stall=60))) as hub,
        pytest.raises((HubUnreachable, NoProgress)),
    ):
        bring(Home(tmp_path / "home"), hub, served, tmp_path / "s", timeout=2)


def test_deadline_bounds_a_slow_file(tmp_path: Path, served: ServedRepo) -> None:
    with (
        Hub([served], rate=100_000) as hub,
        pytest.raises(NoProgress, match="--download-deadline"),
    ):
        bring(Home(tmp_path / "home"), hub, served, tmp_path / "s", deadline=3)


def test_mirror_that_answers_for_another_commit_is_refused(
    tmp_path: Path, served: ServedRepo
) -> None:
    wrong = Fault(headers={"X-Repo-Commit": "0" * 40})
    with (
        Hub([served], faults=lambda method, path: wrong) as hub,
        pytest.raises(HubRefused, match="the hub answers for commit 0000"),
    ):
        bring(Home(tmp_path / "home"), hub, served, tmp_path / "s")


def test_asking_tells_commit_license_and_digests(tmp_path: Path, served: ServedRepo) -> None:
    with Hub([served]) as hub:
        found = ask(
            Network(endpoint=hub.url),
            REPO,
            "main",
            ("*.safetensors", "config.json"),
            scratch=tmp_path / "s",
            on_event=lambda event: None,
        )
    assert (found.commit, found.license, found.others) == (served.commit, "mit", ())
    assert {file.path: (file.size, file.sha256) for file in found.files} == {
        FILE.path: (FILE.size, FILE.sha256),
        "config.json": (2, hashlib.sha256(b"{}").hexdigest()),
    }


def test_reaching_says_whether_the_host_answers(tmp_path: Path, served: ServedRepo) -> None:
    with Hub([served]) as hub:
        reach(Network(endpoint=hub.url), scratch=tmp_path / "s")
    with pytest.raises(HubUnreachable, match=r"The hub at 127.0.0.1:\d+ cannot be reached"):
        reach(Network(endpoint=hub.url), scratch=tmp_path / "s")
