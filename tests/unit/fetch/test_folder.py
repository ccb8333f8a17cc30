"""A folder as a hub: what is a model there, its commit, and what is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedFile
from prep.errors import ChecksumMismatch, HubRefused, PrepError, UnsafeFile
from prep.fetch import folder
from prep.home.layout import Home
from tests.support.restricted import open_folder

REPO = "acme/tuned"
GLOBS = ("*.json", "1_Pooling/config.json")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    top = tmp_path / "hub" / REPO
    for path, text in {
        "config.json": '{"model_type": "bert"}',
        "1_Pooling/config.json": "{}",
        "README.md": "---\ntags: [x]\nlicense: mit\n---\nlicense: other\n",
        ".git/config": "hidden",
        "__pycache__/x.pyc": "left out",
    }.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return tmp_path / "hub"


def test_a_name_that_is_no_utf8_is_refused_by_it(hub: Path) -> None:
    (hub / REPO / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    assert refused(lambda: folder.describe(hub, REPO, "main", GLOBS)) == (
        "file names that cannot be shown (1 problem):\n  'caf\\udce9.txt'\nRename or remove them."
    )


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(HubRefused) as caught:
        work()
    return str(caught.value).removeprefix("refused by the hub: ")


def test_the_commit_is_that_of_the_content(hub: Path, tmp_path: Path) -> None:
    found = folder.describe(hub, REPO, "main", GLOBS)
    assert found.wanted == ("1_Pooling/config.json", "config.json")
    assert sorted(found.digests) == ["1_Pooling/config.json", "README.md", "config.json"]
    assert found.license == "mit"
    assert found.texts["config.json"] == '{"model_type": "bert"}'
    assert folder.describe(hub, REPO, found.commit, GLOBS) == found
    (hub / REPO / ".git" / "config").write_text("something else")
    os.utime(hub / REPO / "config.json", (0, 0))
    assert folder.describe(hub, REPO, "main", GLOBS) == found
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (hub / "acme").rename(elsewhere / "acme")
    assert folder.describe(elsewhere, REPO, "main", GLOBS) == found
    for change in ("config.json", "README.md", "new.txt"):
        (elsewhere / REPO / change).write_text("changed")
        assert folder.describe(elsewhere, REPO, "main", GLOBS).commit != found.commit
        found = folder.describe(elsewhere, REPO, "main", GLOBS)
    assert found.license == "unknown"
    (elsewhere / REPO / "config.json").rename(elsewhere / REPO / "other.json")
    assert folder.describe(elsewhere, REPO, "main", GLOBS).commit != found.commit


def test_what_lies_there_is_main_and_its_commit_alone(hub: Path) -> None:
    commit = folder.describe(hub, REPO, "main", GLOBS).commit
    for revision, kind in (("v1", "branch or tag"), ("0" * 40, "commit")):
        assert refused(lambda revision=revision: folder.describe(hub, REPO, revision, GLOBS)) == (
            f"{hub} has no {kind} {revision!r} of {REPO}: what lies there is main, now {commit}. "
            'Write revision = "main" in its entry, and lock again.'
        )


def test_a_model_that_is_not_there_is_refused_with_those_that_are(hub: Path) -> None:
    assert refused(lambda: folder.describe(hub, "acme/other", "main", GLOBS)) == (
        f"there is no folder {hub}/acme/other. It has {REPO}. Correct 'repo' or the folder's path."
    )
    error = folder.refusal(hub / "gone", REPO)
    assert str(error) == (
        f"refused by the hub: there is no folder {hub}/gone/{REPO}. It has no folder ORG/NAME at "
        "all. Correct 'repo' or the folder's path."
    )
    assert folder.refusal(hub, REPO) is None


def test_links_that_leave_it_are_refused_and_others_are_followed(hub: Path, tmp_path: Path) -> None:
    top, outside = hub / REPO, tmp_path / "outside.json"
    outside.write_text("{}")
    (top / "same.json").symlink_to("config.json")
    assert folder.describe(hub, REPO, "main", GLOBS).texts["same.json"] == '{"model_type": "bert"}'
    (top / "secret.json").symlink_to(outside)
    (top / "2_Dense").symlink_to(top / "1_Pooling")
    assert refused(lambda: folder.describe(hub, REPO, "main", GLOBS)) == (
        f"links that leave {hub}, or lead to a folder (2 problems):\n"
        f"  {top}/2_Dense → {top}/1_Pooling\n"
        f"  {top}/secret.json → {outside}\n"
        "Put the files themselves there."
    )
    (hub / "acme" / "linked").symlink_to(tmp_path)
    assert f"{hub}/acme/linked → {tmp_path}\n" in str(folder.refusal(hub, "acme/linked"))


def fetched(hub: Path, home: Home, locked: LockedFile) -> int:
    counted: list[int] = []
    size = folder.fetch(hub, home, REPO, "c" * 40, [locked], [locked.path], counted.append)
    assert sum(counted) == size
    return size


def test_files_are_copied_and_never_linked(hub: Path, tmp_path: Path) -> None:
    """What its owner writes into the folder afterwards does not change the home."""
    home, source = Home(tmp_path / "home"), hub / REPO / "config.json"
    digest = folder.describe(hub, REPO, "main", GLOBS).digests["config.json"]
    locked = LockedFile(path="config.json", size=digest.size, sha256=digest.sha256)
    assert fetched(hub, home, locked) == digest.size
    placed = home.snapshot(REPO, "c" * 40) / "config.json"
    assert placed.read_bytes() == source.read_bytes()
    assert placed.stat().st_ino != source.stat().st_ino
    assert [path.name for path in (home.repo(REPO) / "blobs").iterdir()] == [digest.sha256]


def test_what_is_not_the_locks_gets_no_name(hub: Path, tmp_path: Path) -> None:
    home, source = Home(tmp_path / "home"), hub / REPO / "config.json"
    locked = LockedFile(path="config.json", size=3, sha256="ab" * 32)
    asked: list[tuple[LockedFile, type[PrepError]]] = [(locked, ChecksumMismatch)]
    source.write_text(json.dumps({"auto_map": {"AutoModel": "code.Model"}}))
    digest = folder.describe(hub, REPO, "main", GLOBS).digests["config.json"]
    asked.append(
        (LockedFile(path="config.json", size=digest.size, sha256=digest.sha256), UnsafeFile)
    )
    for file, kind in asked:
        with pytest.raises(kind) as caught:
            fetched(hub, home, file)
        if kind is ChecksumMismatch:
            assert str(caught.value) == (
                f"checksum mismatch: {REPO}: {source} has {digest.size} bytes with sha256 "
                f"{digest.sha256}, the lock says 3 bytes with {'ab' * 32}: it was changed after it "
                "was locked. Put the locked file back, or lock again and review the diff."
            )
        assert list((home.repo(REPO) / "blobs").iterdir()) == []
        assert not home.snapshot(REPO, "c" * 40).exists()
    gone = LockedFile(path="gone.json", size=1, sha256="ab" * 32)
    assert refused(lambda: fetched(hub, home, gone)) == (
        f"{hub}/{REPO} lacks files that the lock names (1 problem):\n  gone.json\n"
        "Put them back, or lock again."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("closed", ["config.json", "1_Pooling"])
def test_what_cannot_be_read_is_refused_and_not_left_out(tmp_path: Path, closed: str) -> None:
    with open_folder() as top:
        (top / REPO / "1_Pooling").mkdir(parents=True)
        (top / REPO / "config.json").write_text("{}")
        (top / REPO / "1_Pooling" / "config.json").write_text("{}")
        (top / REPO / closed).chmod(0)
        os.seteuid(65534)
        try:
            said = refused(lambda: folder.describe(top, REPO, "main", GLOBS))
        finally:
            os.seteuid(0)
    assert said == f"{top}/{REPO}/{closed} cannot be read: Permission denied. Open its mode."
