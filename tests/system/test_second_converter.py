"""Where the second converter is missing, only what needs it is refused, before the first byte."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from prep.catalogue.lock import CONVERTER
from sample_hub.server import Hub
from tests.support.runs import SAMPLE, command, environment, process


def without_it(folder: Path) -> Path:
    """The Python of an environment with the present libraries, where nobody installed it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    found = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(found, "present.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin" / "python"


def test_only_what_needs_it_is_refused(tmp_path: Path, hub: Hub) -> None:
    catalogue, home = tmp_path / "models.toml", tmp_path / "home"
    catalogue.write_text(SAMPLE.read_text())
    lock = SAMPLE.with_name("models.lock.toml").read_text()
    before, name, after = lock.partition('name = "tiny-seq2seq"\n')
    changed = after.replace("files = [", f'converter = "{CONVERTER}"\nfiles = [', 1)
    (tmp_path / "models.lock.toml").write_text(before + name + changed)
    python = without_it(tmp_path / "venv")
    args = ("--catalogue", catalogue, "--hub", hub.url, "--model-home", home)

    def run(*more: str) -> tuple[int, str]:
        done = process(python, *command(*args, *more)[1:], env=environment())
        return done.code, done.said

    code, said = run("--dry-run")
    why = (
        "tiny-seq2seq: converter not installed: it is converted with huggingface-hub==0.36.2, "
        f"transformers==4.57.6, and {tmp_path}/venv/share/model-prep/{CONVERTER} has nothing. "
        "Install it (133 MB): python -m prep.convert.overlay"
    )
    assert (code, said.count("cannot work: ")) == (1, 1), said
    assert f"cannot work: {why}" in said
    code, said = run("-m", "pins", "--models", "tiny-seq2seq")
    assert (code, f"preflight failed: {why}" in said) == (1, True), said
    assert list(home.rglob("blobs/*")) == []
