"""Records name the version of the code that runs, and its commit where it can be known."""

import json
import re
import subprocess
from pathlib import Path

import pytest

import prep
from prep.machine.build import Build, build, checkout_commit, installed_commit
from tests.support.paths import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git(folder: Path, *args: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *who, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_this_checkout_is_named() -> None:
    assert build().version == prep.__version__
    if (ROOT / ".git").exists():
        assert build().commit == git(ROOT, "rev-parse", "HEAD")


def test_a_branch_a_detached_head_and_packed_refs_are_read(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert checkout_commit(checkout) == commit
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git" / "refs" / "heads" / "main").exists()
    assert checkout_commit(checkout) == commit
    git(checkout, "checkout", "-q", "--detach")
    assert checkout_commit(checkout) == commit


def test_a_worktree_has_a_commit_of_its_own(checkout: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(checkout, "worktree", "add", "-q", "-b", "other", str(tree))
    git(tree, "commit", "-q", "--allow-empty", "-m", "second")
    assert checkout_commit(tree) == git(tree, "rev-parse", "HEAD") != checkout_commit(checkout)
    git(tree, "pack-refs", "--all")
    assert checkout_commit(tree) == git(tree, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "head", [b"", b"\xff", b"ref: refs/heads/none\n", b"0123\n", None], ids=str
)
def test_what_cannot_be_read_is_no_commit(checkout: Path, head: bytes | None) -> None:
    (checkout / ".git" / "HEAD").unlink()
    if head is not None:
        (checkout / ".git" / "HEAD").write_bytes(head)
    assert checkout_commit(checkout) is None


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        ({"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}, COMMIT),
        ({"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "main"}}, None),
        ({"url": "file:///x", "dir_info": {}}, None),
        ([], None),
        (None, None),
    ],
    ids=["repository", "no commit", "folder", "no table", "nothing"],
)
def test_an_installed_copy_knows_what_pip_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: object, commit: str | None
) -> None:
    info = tmp_path / "model_prep-0.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: model-prep\nVersion: 0.2.0\n")
    if noted is not None:
        (info / "direct_url.json").write_text(json.dumps(noted))
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_commit(tmp_path) == commit
    assert installed_commit(tmp_path / "another copy") is None


def test_it_is_shown_with_a_short_commit() -> None:
    assert str(Build(version="1.0", commit=COMMIT)) == "1.0 (0123456789ab)"
    assert str(Build(version="1.0", commit=None)) == "1.0"
    assert re.fullmatch(r"[0-9.]+( \([0-9a-f]{12}\))?", str(build()))
