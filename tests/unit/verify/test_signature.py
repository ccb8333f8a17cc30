"""A signed home: what was signed passes; another byte, manifest, key or model fails.

Signed and verified by model-signing itself, as docs/operations.md says.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from prep.catalogue.lock import LockedFile
from prep.errors import SignatureInvalid
from prep.home.receipt import read_receipt
from prep.report.ready_file import write_for_consumers
from prep.verify.signature import main, read_manifest, verify
from tests.support.small_homes import Tiny, tiny
from tests.support.small_settings import settings_for


def key(at: Path) -> tuple[Path, Path]:
    """A private key and its public one, as files."""
    made = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private, public = at.with_suffix(".key"), at.with_suffix(".pem")
    private.write_bytes(made.private_bytes(pem, form, serialization.NoEncryption()))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(made.public_key().public_bytes(pem, info))
    return private, public


def sign(home: Path, private: Path) -> None:
    path = home / "model-prep" / "ready.json"
    command = ["-m", "model_signing", "sign", "key", "--private_key", str(private)]
    command += ["--signature", f"{path}.sig", str(path)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Tiny, Path]:
    """A proven home that is signed, and the public key."""
    made = tiny(tmp_path / "home")
    write_for_consumers(settings_for(made.home.root, made.locked), {"tiny": "ready"}, 0)
    private, public = key(tmp_path / "own")
    sign(made.home.root, private)
    return made, public


def check(made: Tiny, public: Path, scratch: Path) -> str:
    """What is said, "" where nothing is wrong."""
    scratch.mkdir(exist_ok=True)
    try:
        verify(made.home, public, scratch).check(made.home, made.locked, ("int8",))
    except SignatureInvalid as error:
        return str(error)
    return ""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "scratch"


def test_what_was_signed_passes(signed: tuple[Tiny, Path], scratch: Path) -> None:
    assert check(*signed, scratch) == ""


def test_a_changed_manifest_fails(signed: tuple[Tiny, Path], scratch: Path) -> None:
    made, public = signed
    path = made.home.state / "ready.json"
    path.write_text(path.read_text().replace('"ready"', '"repaired"'))
    said = check(made, public, scratch)
    assert said.startswith(f"signature invalid: {path} is not signed by {public}: ValueError: ")
    assert said.endswith("if it is that one, the home was changed: copy it again.")


def test_a_foreign_key_fails(signed: tuple[Tiny, Path], scratch: Path, tmp_path: Path) -> None:
    made, _ = signed
    _, foreign = key(tmp_path / "foreign")
    said = check(made, foreign, scratch)
    assert said.startswith(f"signature invalid: {made.home.state}/ready.json is not signed by ")


def test_what_is_no_key_fails(signed: tuple[Tiny, Path], scratch: Path, tmp_path: Path) -> None:
    """In one line, which is cut."""
    made, _ = signed
    absent = tmp_path / ("a" * 200) / ("b" * 200) / "c.pem"
    why = f"FileNotFoundError: [Errno 2] No such file or directory: '{absent}'"
    assert check(made, absent, scratch) == (
        f"signature invalid: {made.home.state}/ready.json is not signed by {absent}: {why[:400]}. "
        "Take the key of who signed it; if it is that one, the home was changed: copy it again."
    )


def test_a_model_and_a_file_that_were_not_signed_fail(
    signed: tuple[Tiny, Path], scratch: Path
) -> None:
    made, public = signed
    scratch.mkdir()
    manifest = verify(made.home, public, scratch)
    with pytest.raises(SignatureInvalid) as raised:
        manifest.check(made.home, replace(made.locked, name="other"), ())
    assert str(raised.value) == (
        f"signature invalid: other: {made.home.state}/ready.json is signed and does not name it. "
        "Prepare it, and have the home signed again."
    )
    more = LockedFile(path="more.json", size=2, sha256="f" * 64)
    with pytest.raises(SignatureInvalid) as raised:
        manifest.check(made.home, replace(made.locked, files=(*made.locked.files, more)), ("fp16",))
    snapshot = made.home.shown(made.home.snapshot(made.locked.repo, made.locked.commit))
    assert str(raised.value) == (
        "signature invalid: tiny: the home is not the one that was signed (1 problem):\n"
        f"  {snapshot}/more.json  is not signed\n"
        "Find out who changed it; have it signed again only after a run that prepared it."
    )


def test_a_changed_receipt_fails_whatever_its_seal_says(
    signed: tuple[Tiny, Path], scratch: Path
) -> None:
    """The bytes that receipts name are what other checks hold files against."""
    made, public = signed
    receipt = read_receipt(made.folder)
    first, *rest = receipt.files
    forged = replace(receipt, files=(replace(first, sha256="0" * 64), *rest))
    (made.folder / "receipt.json").write_text(forged.render())
    assert check(made, public, scratch) == (
        "signature invalid: tiny: the home is not the one that was signed (2 problems):\n"
        f"  openvino/acme--tiny/int8/{first.path}  is not what was signed\n"
        "  openvino/acme--tiny/int8/receipt.json  is not what was signed\n"
        "Find out who changed it; have it signed again only after a run that prepared it."
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "{oops",
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("[]", "list indices must be integers or slices, not str"),
        ("{}", "'models'"),
        ('{"models": []}', "'list' object has no attribute 'items'"),
        ('{"models": {"tiny": {"folders": [{}]}}}', "'files'"),
    ],
)
def test_a_manifest_that_names_no_files_cannot_be_read(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "ready.json"
    path.write_text(text)
    with pytest.raises(SignatureInvalid) as raised:
        read_manifest(path)
    assert str(raised.value) == (
        f"signature invalid: {path} cannot be read ({why}): prepare the home again, and sign it."
    )


def test_a_model_that_is_not_ready_leaves_the_others_signed(tmp_path: Path) -> None:
    """It has no files in ready.json: nothing was proven of it."""
    path = tmp_path / "ready.json"
    path.write_text('{"models": {"tiny": {"status": "failed"}, "other": {"folders": []}}}')
    assert read_manifest(path).models == {"other": {}}


def test_a_manifest_that_went_away_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    with pytest.raises(SignatureInvalid) as raised:
        read_manifest(path)
    assert str(raised.value) == (
        f"signature invalid: {path} cannot be read ([Errno 2] No such file or directory: "
        f"'{path}'): prepare the home again, and sign it."
    )


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)  # an import fails, as without it
    assert "model_signing" in main({}, lambda event: None)["lacking"]


def test_a_home_that_was_never_signed_fails(signed: tuple[Tiny, Path], scratch: Path) -> None:
    made, public = signed
    path = made.home.state / "ready.json.sig"
    path.unlink()
    assert check(made, public, scratch) == (
        f"signature invalid: {path} is not there: the home was never signed. "
        "docs/operations.md#signatures says how to."
    )
