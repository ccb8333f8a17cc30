"""The image, really built and really run: `make image-test`. Needs podman or docker, and root.

ENGINE=docker chooses, IMAGE=NAME takes an image that is there already, and IMAGE_BUILD are more
arguments for the build. Figures are in the lines that begin with "image:".
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.proofs.image.engine import ENGINE, engine, environment, python_image
from tests.support.paths import ROOT

LEAST = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
SAMPLE = ("--hub", "sample", "--model-home=/models")
OPENSHIFT = "1000660000:0"  # a user without a name, in group 0
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANIFESTS = ROOT / "deploy" / "kubernetes"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, show: Callable[[str], None]) -> str:
    """Built from a clean clone, with the command that README gives."""
    if given := os.environ.get("IMAGE"):
        return given
    python_image()
    clone = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    [command] = re.findall(r"^\$ docker (build .+)$", README, re.MULTILINE)
    began = time.monotonic()
    more = shlex.split(os.environ.get("IMAGE_BUILD", ""))
    engine(*shlex.split(command)[:-1], *more, ".", cwd=clone)
    [tag] = re.findall(r"-t (\S+)", command)
    size = int(engine("image", "inspect", "--format", "{{.Size}}", tag)[1])
    show(f"image: built in {time.monotonic() - began:.0f} s, {size / 1e9:.2f} GB")
    return str(tag)


@pytest.fixture(scope="session")
def volumes() -> Iterator[list[str]]:
    made: list[str] = []
    yield made
    for name in made:
        engine("volume", "rm", "--force", name, check=False)


def new_volume(volumes: list[str]) -> str:
    name = f"model-prep-{uuid.uuid4().hex[:12]}"
    engine("volume", "create", name)
    volumes.append(name)
    return name


def start(image: str, *args: str, name: str, how: tuple[str, ...]) -> subprocess.Popen[str]:
    command = [ENGINE, "run", "--name", name, "--network", "none", *LEAST, "--tmpfs", "/tmp"]
    return subprocess.Popen(
        [*command, *how, image, *args],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(image: str, *args: str, how: tuple[str, ...]) -> tuple[int, str, float]:
    """A container from start to end: exit code, output, and the most memory it had, in bytes."""
    name = f"model-prep-{uuid.uuid4().hex[:12]}"
    peak = 0.0
    running = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not running.wait(2):
            _, said = engine("stats", "--no-stream", "--format", "{{.MemUsage}}", name, check=False)
            if found := re.match(r"([\d.]+) ?([kMG])i?B", said):
                unit = {"k": 1e3, "M": 1e6, "G": 1e9}[found[2]]
                peak = max(peak, float(found[1]) * unit)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        process = start(image, *args, name=name, how=how)
        out, _ = process.communicate(timeout=1800)
    finally:
        running.set()
        watcher.join()
        engine("rm", "--force", name, check=False)
    return process.returncode, out, peak


@pytest.fixture(scope="session")
def volume(image: str, volumes: list[str], show: Callable[[str], None]) -> str:
    """A volume that the image filled with the sample models, as 1000:1000 with the least rights."""
    name = new_volume(volumes)
    began = time.monotonic()
    how = ("--user", "1000:1000", "-v", f"{name}:/models")
    code, out, peak = run(image, *SAMPLE, how=how)
    assert code == 0, out
    seconds = time.monotonic() - began
    show(f"image: samples prepared in {seconds:.0f} s, at most {peak / 1e9:.2f} GB")
    return name


def contents(volume: str) -> dict[str, tuple[int, int]]:
    place = Path(engine("volume", "inspect", "--format", "{{.Mountpoint}}", volume)[1].strip())
    return {
        str(path.relative_to(place)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in place.rglob("*")
    }


def test_image_holds_what_it_needs_and_says_what_it_is(image: str) -> None:
    [description] = json.loads(engine("image", "inspect", image)[1])
    config: dict[str, Any] = description["Config"]
    assert config["User"] == "1000:1000"
    assert not config.get("ExposedPorts")
    assert config.get("Healthcheck", description.get("HealthCheck")) in (None, {"Test": ["NONE"]})
    assert config["Entrypoint"] == ["pytest", "-c", "/app/pytest.ini"]
    labels = {name.removeprefix("org.opencontainers.image."): value
              for name, value in config["Labels"].items()}  # fmt: skip
    assert labels["title"] == "model-prep"
    assert labels["licenses"] == "Apache-2.0"
    assert set(labels) >= {"description", "revision", "base.name"}
    _, out = engine("run", "--rm", "--network", "none", "--entrypoint", "find", image, "/app",
                       "-type", "f", "-not", "-path", "*/sample_hub/repos/*")  # fmt: skip
    files = out.split()
    assert "/app/models.lock.toml" in files
    assert [path for path in files if path.endswith(".md") or path.startswith("/app/tests")] == []


def test_prepared_volume_is_proven_read_only_by_another_user(image: str, volume: str) -> None:
    before = contents(volume)
    how = ("--user", "1234:1234", "-v", f"{volume}:/models:ro")
    code, out, _ = run(image, *SAMPLE, "--offline", how=how)
    assert code == 0, out
    assert out.count("  ready  ") == 3
    assert contents(volume) == before


def test_user_without_a_name_prepares_and_proves(image: str, volumes: list[str]) -> None:
    how = ("--user", OPENSHIFT, "-v", f"{new_volume(volumes)}:/models")
    code, out, _ = run(image, *SAMPLE, "--models", "tiny-embedding", how=how)
    assert code == 0, out
    assert "tiny-embedding  ready  " in out


def test_folder_that_the_user_may_not_write_is_told(image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    how = ("--user", "1000:1000", "-v", f"{tmp_path}:/models")
    code, out, _ = run(image, *SAMPLE, "--models", "tiny-embedding", how=how)
    assert code == 1, out
    assert "/models" in out and "Traceback" not in out
    assert not list(tmp_path.iterdir())


def test_gate_opens_for_the_filled_volume_only(image: str, volume: str, volumes: list[str]) -> None:
    for name, wanted in ((volume, 0), (new_volume(volumes), 1)):
        how = ("--user", "1234:1234", "-v", f"{name}:/models:ro", "--entrypoint", "python")
        code, out, _ = run(image, "/app/deploy/ready.py", "/models", how=how)
        assert code == wanted, out


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((MANIFESTS / name).read_text(encoding="utf-8"))
    return found["spec"]


def test_pods_of_the_indexed_job_and_then_the_proof(image: str, volumes: list[str]) -> None:
    """The arguments of the manifests, all pods at once; one is killed and started again."""
    models, reports = new_volume(volumes), new_volume(volumes)
    job = manifest("sharded/prepare.yaml")
    args = job["template"]["spec"]["containers"][0]["args"]
    chown = ("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "chown")
    engine(*chown, "-v", f"{reports}:/reports", image, "1000:1000", "/reports")

    def pod(index: int) -> tuple[str, subprocess.Popen[str]]:
        name = f"model-prep-{uuid.uuid4().hex[:12]}"
        how = ("--user", "1000:1000", "-e", f"JOB_COMPLETION_INDEX={index}")
        how += ("-v", f"{models}:/models")
        return name, start(image, *SAMPLE, *args, name=name, how=how)

    pods = [pod(index) for index in range(job["completions"])]
    time.sleep(20)
    engine("kill", "--signal", "KILL", pods[1][0])
    killed = pods[1]
    pods[1] = pod(1)
    for name, process in [*pods, killed]:
        out, _ = process.communicate(timeout=1800)
        engine("rm", "--force", name, check=False)
        assert process.returncode == (137 if process is killed[1] else 0), out
    args = manifest("sharded/accept.yaml")["template"]["spec"]["containers"][0]["args"]
    how = ("--user", "1000:1000", "-v", f"{models}:/models:ro", "-v", f"{reports}:/reports")
    code, out, _ = run(image, *SAMPLE, *args, how=how)
    assert code == 0, out
    assert out.count("  ready  ") == 3
    assert {*contents(reports)} >= {"summary.json", "report.html", "accept.xml"}


def test_home_in_a_layer_of_another_image(image: str, volume: str, tmp_path: Path) -> None:
    place = Path(engine("volume", "inspect", "--format", "{{.Mountpoint}}", volume)[1].strip())
    shutil.copytree(place, tmp_path / "home", symlinks=True)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY home /srv/models\n")
    engine("build", "--network", "none", "-t", f"{image}-filled", ".", cwd=tmp_path)
    try:
        sample = ("--hub", "sample", "--model-home=/srv/models", "--offline")
        code, out, _ = run(f"{image}-filled", *sample, how=("--user", "1234:1234"))
        assert code == 0, out
        assert out.count("  ready  ") == 3
    finally:
        engine("image", "rm", "--force", f"{image}-filled", check=False)


@contextmanager
def api(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where docker-compose finds the engine: podman answers as Docker does, while it is asked."""
    if ENGINE != "podman":
        yield environment()
        return
    socket = f"unix://{tmp_path / 'podman.sock'}"
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", socket], env=environment()
    )
    try:
        while not (tmp_path / "podman.sock").exists():
            assert service.poll() is None
            time.sleep(0.1)
        yield environment() | {"DOCKER_HOST": socket}
    finally:
        service.terminate()
        service.wait()


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose")
@pytest.mark.parametrize("code", [0, 75])
def test_compose_starts_the_consumer_when_all_is_proven_and_not_before(
    image: str, tmp_path: Path, code: int
) -> None:
    data = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    prepare = data["services"]["prepare"]
    for service in data["services"].values():
        service |= {"image": image, "network_mode": "none"}
        if not Path("/run/systemd/system").exists():
            service["ulimits"] = {"nofile": {"soft": 1024, "hard": 4096}, "nproc": 4096}
    del prepare["build"]
    prepare["command"] = [*SAMPLE, "--models", "tiny-embedding"]
    if code:
        prepare |= {"entrypoint": ["python", "-c", f"raise SystemExit({code})"], "command": []}
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    compose = ["docker-compose", "-p", f"model-prep-{uuid.uuid4().hex[:8]}", "-f", str(file)]
    with api(tmp_path) as env:
        up = subprocess.run([*compose, "up"], env=env, capture_output=True, text=True, check=False)
        subprocess.run([*compose, "down", "--volumes"], env=env, capture_output=True, check=False)
    said = up.stdout + up.stderr
    if code:
        assert "NOT READY" not in said and "ready" not in said, said
        assert f"exited with code {code}" in said
    else:
        assert said.index("tiny-embedding  ready") < said.index("tiny-embedding: ready, "), said
