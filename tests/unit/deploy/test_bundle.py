"""One tar of a home that is ready: what it holds, that it arrives, and what is not packed."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.small_homes import flip, seen
from tests.unit.deploy.test_ready import gate, proven

BUNDLE = ROOT / "deploy" / "bundle.py"


def bundle(*args: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(BUNDLE), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = proven(tmp_path / "home").home.root
    (home / "token").write_text("hf_secret")
    (home / "model-prep" / "partial").mkdir()
    (home / "model-prep" / "partial" / "half").write_text("half")
    return home


def unpacked(tar: Path, to: Path) -> Path:
    to.mkdir()
    subprocess.run(["tar", "-C", to, "-xpf", tar], check=True)
    return to


def sums(folder: Path) -> int:
    checked = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
    )
    return checked.returncode


def test_a_bundle_arrives_and_says_so(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "models.tar"
    code, said = bundle(home, out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert code == 0, said
    assert said.endswith(f"MB, sha256 {digest}\n")
    assert (tmp_path / "models.tar.sha256").read_text() == f"{digest}  models.tar\n"
    there = unpacked(out, tmp_path / "there")
    assert sums(there) == 0
    assert gate(there / "models", "--deep")[0] == 0
    made = proven(tmp_path / "like").at(there / "models")
    assert (seen(made.source()), seen(made.conversion())) == ([], [])
    assert not list(there.rglob("token")) and not list(there.rglob("half"))
    assert (there / "ready.py").read_bytes() == (ROOT / "deploy" / "ready.py").read_bytes()


def test_the_same_home_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one.tar", tmp_path / "other.tar"]
    for out in outs:
        assert bundle(home, out)[0] == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_changed_byte_is_seen_on_arrival(home: Path, tmp_path: Path) -> None:
    bundle(home, tmp_path / "models.tar")
    there = unpacked(tmp_path / "models.tar", tmp_path / "there")
    flip(next(path for path in there.rglob("blobs/*")))
    assert sums(there) == 1
    assert gate(there / "models", "--deep")[0] == 1


def test_a_home_that_is_not_ready_is_not_packed(home: Path, tmp_path: Path) -> None:
    flip(next(path for path in home.rglob("blobs/*")))
    code, said = bundle(home, tmp_path / "models.tar")
    assert (code, "NOT READY" in said) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_tar_within_the_home_is_refused(home: Path) -> None:
    out = home / "models.tar"
    assert bundle(home, out) == (2, f"{out} is in the home: choose another place\n")
    assert not out.exists()


def test_a_tar_that_cannot_be_written_is_told(home: Path) -> None:
    code, said = bundle(home, "/dev/full/models.tar")
    assert code == 1
    assert said.endswith(
        "/dev/full/models.tar was not written: [Errno 20] Not a directory: "
        "'/dev/full/models.tar.partial'\n"
    )
