"""Killed at random moments, on disks that fill up, eight at once.

The moments are seeded: MOMENTS=N chooses how many, SEED another row of them. Figures are printed.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prep.catalogue.lock import read_lock
from prep.files.checksum import digest_file
from prep.home.layout import Home
from prep.home.receipt import NAME
from sample_hub.server import Hub, sample_repos
from tests.support.runs import SAMPLE, start

MOMENTS, SEED = int(os.environ.get("MOMENTS", "50")), int(os.environ.get("SEED", "5"))
LOCK = read_lock(SAMPLE.with_name("models.lock.toml"))
PREPARE = ("-m", "pins or conversion", "--catalogue", SAMPLE)
RATE = 400_000  # bytes a second: so that a part of the moments falls into the fetching


def start_preparing(home: Path, hub: Hub, log: Path) -> subprocess.Popen[bytes]:
    return start(*PREPARE, "--hub", hub.url, "--model-home", home, log=log, session=True)


def whole_files(home: Path) -> dict[str, int]:
    """What lies whole in the home, by its lock: sha256 and size; what is there in part as well."""
    there = {}
    for model in LOCK.models:
        blobs = Home(home).repo(model.repo) / "blobs"
        found = [digest_file(path) for path in blobs.glob("*")] if blobs.is_dir() else []
        known = {digest.sha256 for digest in found}
        there.update({file.sha256: file.size for file in model.files if file.sha256 in known})
    return there


def parts(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Home(home).partial.glob("*")}


def receipts(home: Path) -> dict[str, float]:
    """The conversions that are whole, each with the time of its receipt."""
    return {
        str(path): path.stat().st_mtime for path in (home / "openvino").glob(f"*/[0-9a-f]*/{NAME}")
    }


def sent_of(hub: Hub) -> dict[str, int]:
    """Bytes that the hub sent, by the sha256 of the file."""
    by_path = {f"/{m.repo}/{f.path}": f.sha256 for m in LOCK.models for f in m.files}
    sent: dict[str, int] = {}
    for request in hub.requests:
        if request.method == "GET" and request.sent and request.status in (200, 206):
            parts_ = request.path.strip("/").split("/")
            if request.kind == "cdn":
                key = "/" + "/".join(parts_[2:])
            elif request.kind == "resolve-cache":
                key = f"/{parts_[3]}/{parts_[4]}/" + "/".join(parts_[6:])
            else:
                continue
            sent[by_path[key]] = sent.get(by_path[key], 0) + request.sent
    return sent


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a whole run takes here, in seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Hub(sample_repos(), rate=RATE) as hub:
        began = time.monotonic()
        run = start_preparing(folder / "home", hub, folder / "log")
        assert run.wait() == 0, (folder / "log").read_text()
        return time.monotonic() - began


@pytest.mark.parametrize("number", range(MOMENTS))
def test_next_run_completes_what_a_kill_left(
    tmp_path: Path, undisturbed: float, number: int, show: Callable[[str], None]
) -> None:
    """Every third kill takes the whole group, the others the controlling process alone."""
    chosen = random.Random(f"{SEED}.{number}")
    moment = chosen.uniform(1.0, undisturbed)
    home, log = tmp_path / "home", tmp_path / "log"
    with Hub(sample_repos(), rate=RATE) as hub:
        run = start_preparing(home, hub, log)
        time.sleep(moment)
        (os.killpg if number % 3 == 0 else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
        time.sleep(0.5)
        whole, part, made = whole_files(home), parts(home), receipts(home)
    with Hub(sample_repos()) as hub:
        again = start_preparing(home, hub, log)
        assert again.wait() == 0, log.read_text()
        sent = sent_of(hub)
    assert {sha: sent[sha] for sha in whole if sha in sent} == {}, "nothing whole comes again"
    sizes = {file.sha256: file.size for model in LOCK.models for file in model.files}
    for sha, count in sent.items():
        assert count <= sizes[sha] - part.get(sha, 0), "what came before is gone on from"
    kept = receipts(home)
    assert {path: kept.get(path) for path in made} == made, "no whole conversion is made again"
    assert not parts(home)
    show(
        f"killed after {moment:.1f} of {undisturbed:.1f} s: {len(whole)} files and "
        f"{len(made)} conversions were whole, {sum(part.values())} bytes partial; "
        f"{sum(sent.values())} bytes sent afterwards"
    )


def test_eight_at_once_fetch_and_convert_everything_once(
    tmp_path: Path, show: Callable[[str], None]
) -> None:
    home = tmp_path / "home"
    with Hub(sample_repos(), rate=RATE) as hub:
        runs = [start_preparing(home, hub, tmp_path / f"log-{n}") for n in range(8)]
        codes = [run.wait() for run in runs]
        logs = [(tmp_path / f"log-{n}").read_text() for n in range(8)]
        assert codes == [0] * 8, logs[next(n for n, code in enumerate(codes) if code)]
        sent = sent_of(hub)
    assert sent == {file.sha256: file.size for model in LOCK.models for file in model.files}
    made = [log.count("converted to int8: ") for log in logs]
    assert sum(made) == len(LOCK.models)
    assert sum(log.count("waiting for another process") for log in logs) > 0
    show(f"eight at once: {sum(sent.values())} bytes sent, conversions {made}")
