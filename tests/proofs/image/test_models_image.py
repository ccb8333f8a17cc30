"""A home as an image: built, pushed, pulled on an empty machine, mounted, and proven there.

`make image-test` runs this: needs podman, root, and Debian's docker-registry.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proofs.image.engine import ENGINE, engine, environment, python_image
from tests.support.paths import ROOT
from tests.support.runs import run
from tests.support.small_homes import flip

SCRIPT = ROOT / "deploy" / "models-image" / "context.py"
REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
pytestmark = pytest.mark.skipif(ENGINE != "podman", reason="needs podman")


def context(home: Path, to: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(home), str(to)], capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample models, ready."""
    made = tmp_path_factory.mktemp("image") / "home"
    done = run("--hub", "sample", f"--model-home={made}")
    assert done.code == 0, done.out
    (made / "token").write_text("hf_secret")
    return made


@pytest.fixture
def files(home: Path, tmp_path: Path) -> Path:
    """What the image is built from."""
    python_image()
    code, said = context(home, tmp_path / "context")
    assert code == 0, said
    return tmp_path / "context"


def build(files: Path, tag: str, *args: str, check: bool = True) -> tuple[int, str]:
    return engine(
        *("build", "--no-cache", "--timestamp", "0", "-t", tag, *args, "."), cwd=files, check=check
    )


def layers(tag: str) -> list[str]:
    found: list[str] = json.loads(engine("image", "inspect", tag)[1])[0]["RootFS"]["Layers"]
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(REGISTRY.format(folder=tmp_path / "registry", port=port))
    log = (tmp_path / "registry.log").open("w")
    serving = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert serving.poll() is None, (tmp_path / "registry.log").read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        serving.terminate()
        serving.wait()
        log.close()


def test_pushed_and_pulled_on_an_empty_machine_it_is_proven(
    files: Path, registry: str, tmp_path: Path
) -> None:
    tag = f"{registry}/models:1"
    build(files, tag)
    engine("push", "--tls-verify=false", tag)
    runroot = Path(tempfile.mkdtemp(prefix="run-"))  # podman takes no path of over 50 characters
    elsewhere = ("--root", tmp_path / "root", "--runroot", runroot)
    engine(*elsewhere, "pull", "--tls-verify=false", tag)
    labels = json.loads(engine(*elsewhere, "image", "inspect", tag)[1])[0]["Labels"]
    assert labels["model-prep.verdict"] == (
        "tiny-embedding=ready,tiny-reranker=ready,tiny-seq2seq=ready"
    )
    assert len(labels["model-prep.lock"]) == 64
    place = Path(engine(*elsewhere, "image", "mount", tag)[1].strip())
    try:
        assert sorted(path.name for path in place.iterdir()) == ["models"]
        assert not (place / "models" / "token").exists()
        done = run("--hub", "sample", f"--model-home={place / 'models'}", "--offline")
        assert done.code == 0, done.out
        assert done.out.count("  ready  ") == 3
    finally:
        engine(*elsewhere, "image", "umount", tag)
        shutil.rmtree(runroot, ignore_errors=True)
        engine("image", "rm", "--force", tag)


def test_a_model_that_did_not_change_keeps_its_layer(
    home: Path, files: Path, tmp_path: Path
) -> None:
    """Prepared elsewhere, with other times, beside another verdict."""
    build(files, "models-before")
    again = tmp_path / "again"
    shutil.copytree(home, again, symlinks=True, copy_function=shutil.copyfile)
    (again / "model-prep" / "report.html").write_text("of another day")
    assert context(again, tmp_path / "other")[0] == 0
    build(tmp_path / "other", "models-after")
    before, after = layers("models-before"), layers("models-after")
    assert len(before) == 4
    assert before[:3] == after[:3]
    assert before[3] != after[3], "the records"
    engine("image", "rm", "--force", "models-before", "models-after")


def test_a_byte_that_changed_on_its_way_ends_the_build(files: Path) -> None:
    flip(files / "tiny-seq2seq.tar")
    code, said = build(files, "models-flipped", check=False)
    assert code != 0
    assert "tiny-seq2seq: NOT READY" in said


def test_nothing_is_written_of_a_home_that_is_not_ready(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home", symlinks=True)
    flip(next((tmp_path / "home").rglob("model.safetensors")))
    code, said = context(tmp_path / "home", tmp_path / "context")
    assert (code, "NOT READY" in said) == (1, True)
    assert not (tmp_path / "context").exists()


def test_a_container_copies_it_into_a_volume(files: Path, tmp_path: Path) -> None:
    """As an init container does, of an image that has a shell as well."""
    build(files, "models-copied", "--build-arg", f"BASE={python_image()}")
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    copy = ("run", "--rm", "--network", "none", "-v", f"{volume}:/target", "models-copied")
    engine(*copy, "cp", "-r", "-P", "/models/.", "/target")
    done = run("--hub", "sample", f"--model-home={volume}", "--offline", "-m", "pins or layout")
    assert done.code == 0, done.out
    engine("image", "rm", "--force", "models-copied")


def test_the_runtime_that_was_chosen_runs() -> None:
    command = ["podman", "run", "--rm", "--network", "none", "--rootfs", "/:O", "/bin/true"]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0
