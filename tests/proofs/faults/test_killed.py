"""The true all-MiniLM-L6-v2 over a line of 20 MB/s, in ranges, killed: what came is not lost."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prep.catalogue.lock import LockedFile, read_lock
from prep.fetch.part import bytes_there, spans_of
from prep.fetch.ranges import STREAMS
from prep.home.layout import Home
from sample_hub.server import Hub
from tests.support.paths import ROOT
from tests.support.runs import TRUE, descendants, run, started, status, true_repo, wait_until
from tests.system.test_signals import is_alive

NAME = TRUE
WEIGHTS = "model.safetensors"
LINE = 20_000_000  # bytes a second
KILLS = 20
SEED = 5
AGAIN = 0.05  # of all bytes, at most, for each kill: what was on its way in eight connections
LOCK = read_lock(ROOT / "models.lock.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """One run: how many bytes of the weights it left when it was killed, in how many spans.

    `lost` bytes were sent to it, and are not there.
    """

    at: int
    spans: int
    lost: int


def kill_at(home: Home, large: LockedFile, count: int, hub: Hub, log: Path) -> Killed:
    """Start a whole run, and kill it as soon as so many bytes of the weights are there."""
    part, before = home.partial / large.sha256, sent_by(hub)
    there = bytes_there(part, large.size)
    args = ("--models", NAME, "--hub", hub.url, "--model-home", home.root)
    with started(*args, log=log) as process:
        wait_until(lambda: bytes_there(part, large.size) >= count, log, process)
        below = descendants(process.pid)
        process.kill()
        process.wait()
    while any(is_alive(pid) for pid in below):
        time.sleep(0.01)
    time.sleep(0.5)  # until the hub has seen that nobody listens
    with part.open("rb") as file:
        spans = spans_of(file.fileno(), large.size)
    assert spans is not None
    lost = sent_by(hub) - before - (spans.there - there)
    return Killed(at=spans.there, spans=len(spans.all), lost=lost)


def sent_by(hub: Hub) -> int:
    """Bytes of the weights."""
    return sum(request.sent for request in hub.bodies(WEIGHTS))


def test_twenty_kills_cost_five_percent_at_most(
    tmp_path: Path, show: Callable[[str], None]
) -> None:
    locked = LOCK.get(NAME)
    assert locked is not None
    large = locked.file(WEIGHTS)
    assert large is not None
    draw = random.Random(SEED)
    moments = sorted(draw.randrange(large.size) for _ in range(KILLS))
    home = Home(tmp_path / "home")
    with Hub([true_repo()], rate=LINE // STREAMS, line=LINE) as hub:
        killed = [kill_at(home, large, count, hub, tmp_path / "log") for count in moments]
        done = run("--models", NAME, "--hub", hub.url, "--model-home", home.root, timeout=900)
        again = sent_by(hub) - large.size
    show(
        f"{NAME}: killed at {', '.join(f'{kill.at / 1e6:.1f}' for kill in killed)} MB, in "
        f"{', '.join(str(kill.spans) for kill in killed)} spans; "
        f"{again} bytes came again, {again / large.size:.2%} of {large.size} in all, at most "
        f"{max(kill.lost for kill in killed) / large.size:.2%} for one kill"
    )
    assert max(kill.spans for kill in killed) > STREAMS // 2
    assert max(kill.at for kill in killed) < large.size, "one came too late"
    assert done.code == 0, done.out
    assert status(home.root, NAME) == "ready"
    assert list(home.partial.iterdir()) == []
    assert max(kill.lost for kill in killed) <= AGAIN * large.size
