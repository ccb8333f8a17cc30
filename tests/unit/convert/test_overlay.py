"""The second converter is installed whole or not at all, and by the same pins everywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from prep.catalogue.lock import CONVERTER
from prep.convert import overlay
from tests.support.paths import ROOT


def as_installed(at: Path, **versions: str) -> Path:
    """What `importlib.metadata` reads of a folder that pip filled."""
    for name, version in versions.items():
        info = at / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return at


def test_the_image_installs_what_the_command_does() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    folder = overlay.folder().relative_to(sys.prefix)
    assert f"-r overlay.txt \\\n      --target /opt/venv/{folder}\n" in dockerfile
    assert "prep/convert/overlay.txt" in dockerfile
    assert CONVERTER.removeprefix("transformers-") == overlay.VERSION.rpartition(".")[0]


def test_versions_are_read_as_pip_leaves_them(tmp_path: Path) -> None:
    made = as_installed(tmp_path, huggingface_hub="0.36.2", transformers="4.57.6")
    assert overlay.versions(made) == overlay.WANTED
    assert overlay.versions(tmp_path / "nothing") == {}


def test_what_pip_could_not_finish_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of it, and what was there before stays."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    old = as_installed(overlay.folder(), transformers="4.50.0")
    commands: list[list[str]] = []

    def pip(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        target = Path(command[command.index("--target") + 1])
        code = 1 if len(commands) == 1 else 0
        wanted = {name.replace("-", "_"): version for name, version in overlay.WANTED.items()}
        as_installed(target, **({"transformers": "4.57.6"} if code else wanted))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", pip)
    assert overlay.install() == 1
    assert overlay.versions() == {"transformers": "4.50.0"}
    assert list(old.parent.iterdir()) == [old]
    assert overlay.install() == 0
    assert overlay.missing() is None
    assert list(old.parent.iterdir()) == [old]
    assert overlay.install() == 0  # nothing to do
    assert len(commands) == 2
