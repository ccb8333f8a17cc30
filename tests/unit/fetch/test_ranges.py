"""A large file comes in several ranges at once, or by one request where its host serves none."""

import os
import random
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from prep.errors import ChecksumMismatch, HubBusy
from prep.fetch.hub import Network, fetch_files
from prep.fetch.part import bytes_there
from prep.fetch.ranges import STREAMS
from sample_hub.faults import Fault
from sample_hub.flows import FLOWS, INVALID_RANGE, changing
from sample_hub.listener import LINE_BUFFER
from sample_hub.server import Hub
from tests.support.paths import ROOT
from tests.support.runs import environment
from tests.unit.fetch.test_download import BODY, FILE, REPO, Faults, Fetch

ABOVE = 400_000  # so that 3 MB are a large file
BLOCK = 1 << 16  # bytes that the client reads at once
RATE = 3_000_000  # bytes a second for each request: so that all are under way
SAME_SIZE = BODY[:-1] + b"x"


class Ranged(Fetch):
    """Fetches in ranges."""

    def __call__(self, hub: Hub, **network: float) -> int:
        return fetch_files(
            Network(endpoint=hub.url, **network),
            self.home,
            REPO,
            self.served.commit,
            [FILE],
            locked=[FILE.path],
            scratch=self.scratch,
            ranged_above=ABOVE,
            on_event=lambda event: None,
            say=self.said.append,
        )

    @property
    def there(self) -> int:
        return bytes_there(self.partial, FILE.size)


@pytest.fixture
def fetch(tmp_path: Path) -> Ranged:
    return Ranged(tmp_path)


def after(good: int, *faults: Fault, then: Fault | None = None) -> Faults:
    """So many good answers of the storage host, then these; afterwards the last, or `then`."""
    left = [Fault()] * good + list(faults)

    def choose(method: str, path: str) -> Fault | None:
        if not path.startswith("/cdn/"):
            return None
        if len(left) == 1 and then is None:
            return left[0]
        return left.pop(0) if left else then

    return choose


def spans(hub: Hub) -> list[tuple[int, int]]:
    """Which bytes were sent, in order."""
    found = []
    for body in hub.bodies(FILE.path):
        begin = int(body.range.removeprefix("bytes=").partition("-")[0]) if body.range else 0
        found.append((begin, begin + body.sent))
    return sorted(found)


def test_large_file_comes_in_ranges_hardly_a_byte_twice(fetch: Ranged) -> None:
    """Twice comes the block that was on its way in a range whose end another request took."""
    begun: list[int] = []

    def count(method: str, path: str) -> None:
        if path.startswith("/cdn/"):
            begun.append(len(begun) - len(hub.bodies(FILE.path)))

    with Hub([fetch.served], rate=RATE, faults=count) as hub:
        assert fetch(hub) == len(BODY)
        sent = spans(hub)
    assert fetch.link.read_bytes() == BODY
    assert list(fetch.home.partial.iterdir()) == []
    assert fetch.said == []
    assert len(sent) >= 16
    twice = [end - begin for (_, end), (begin, _) in pairwise(sent)]
    assert min(twice) >= 0, "no byte is left out"
    assert max(twice) <= 2 * BLOCK
    assert sum(count > 0 for count in twice) <= STREAMS
    assert (sent[0][0], sent[-1][1]) == (0, len(BODY))
    assert max(begun) == STREAMS - 1, "so many others were under way when one began"


def test_file_that_is_not_large_comes_by_one_request(fetch: Ranged) -> None:
    with Hub([fetch.served]) as hub:
        assert Fetch.__call__(fetch, hub) == len(BODY)
        assert [body.range for body in hub.bodies(FILE.path)] == [None]


NONE = {
    "ignores-ranges": Fault(ignore_range=True),
    "has-no-such-range": Fault(status=416, with_range=True),
    "another-range": Fault(headers={"Content-Range": "bytes 7-9/3000081"}, with_range=True),
    "another-size": Fault(headers={"Content-Range": "bytes 0-9/10"}, with_range=True),
    "packed": Fault(gzip=True, with_range=True),
}


@pytest.mark.parametrize(
    ("name", "good"), [*((name, 0) for name in NONE), ("ignores-ranges", 5), ("another-range", 5)]
)
def test_host_without_ranges_serves_it_by_one_request(fetch: Ranged, name: str, good: int) -> None:
    with Hub([fetch.served], rate=RATE, faults=after(good, NONE[name])) as hub:
        fetch(hub)
        bodies = hub.bodies(FILE.path)
    assert fetch.link.read_bytes() == BODY
    assert fetch.said == []
    assert bodies[-1].status == 200, "all of them come by one answer in the end"
    assert list(fetch.home.partial.iterdir()) == []


def test_answers_with_different_etags_are_not_put_together(fetch: Ranged) -> None:
    with Hub([fetch.served], rate=RATE, faults=after(0, Fault(etag=changing()))) as hub:
        fetch(hub)
        last = hub.bodies(FILE.path)[-1]
    assert fetch.link.read_bytes() == BODY
    assert str(last.range).endswith("-"), "the rest, by one request"


def test_host_that_refuses_every_range_is_asked_without(fetch: Ranged) -> None:
    with Hub([fetch.served], faults=after(0, INVALID_RANGE)) as hub:
        assert fetch(hub) == len(BODY)
        assert [body.range for body in hub.bodies(FILE.path)] == [None]
    assert len(fetch.said) == 2


def test_one_refused_signature_is_asked_for_again(fetch: Ranged) -> None:
    once = after(3, Fault(status=403, message="SignatureError"), then=Fault())
    with Hub([fetch.served], rate=RATE, faults=once) as hub:
        assert fetch(hub) == len(BODY)
        assert all(body.status == 206 for body in hub.bodies(FILE.path))
    assert len(fetch.said) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(cut=50_000), Fault(cut=50_000, reset=True), Fault(status=503)],
    ids=["cut", "reset", "busy"],
)
def test_range_that_broke_off_is_resumed_alone(fetch: Ranged, fault: Fault) -> None:
    with Hub([fetch.served], rate=RATE, faults=after(4, fault, then=Fault())) as hub:
        assert fetch(hub) == len(BODY)
        more = sum(body.sent for body in hub.bodies(FILE.path)) - len(BODY)
    assert more <= STREAMS * LINE_BUFFER, "what was on its way to an end that another took"
    assert fetch.link.read_bytes() == BODY


def test_wrong_bytes_in_one_range_are_fetched_once_more_by_one_request(fetch: Ranged) -> None:
    wrong = after(4, Fault(corrupt=len(BODY)), then=Fault())
    with Hub([fetch.served], rate=RATE, faults=wrong) as hub:
        fetch(hub)
        assert hub.bodies(FILE.path)[-1].range is None
    assert fetch.link.read_bytes() == BODY


@pytest.mark.parametrize("fault", [Fault(corrupt=512), Fault(content=SAME_SIZE)])
def test_wrong_file_is_never_published(fetch: Ranged, fault: Fault) -> None:
    with Hub([fetch.served], faults=after(0, fault)) as hub:
        with pytest.raises(ChecksumMismatch, match=r"has sha256 \w+, expected \w+ \(lock\)"):
            fetch(hub)
        assert [body.range for body in hub.bodies(FILE.path)].count(None) == 1
    files = [path for path in fetch.home.root.rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_size] == []


def test_file_of_another_size_is_never_published(fetch: Ranged) -> None:
    with (
        Hub([fetch.served], faults=after(0, Fault(content=BODY + b"more"))) as hub,
        pytest.raises(ChecksumMismatch, match=rf"has {len(BODY) + 4} bytes at the storage host"),
    ):
        fetch(hub)


@pytest.mark.parametrize("name", ["direct", "artifactory", "etag-changes", "cdn-empty-once"])
def test_other_servers_give_the_file_too(fetch: Ranged, name: str) -> None:
    with Hub([fetch.served], faults=FLOWS[name]()) as hub:
        fetch(hub)
    assert fetch.link.read_bytes() == BODY


def test_what_came_before_it_gave_up_is_resumed_in_the_next_run(fetch: Ranged) -> None:
    """One range fails for good; the others end, and keep their bytes."""
    busy = Fault(status=503, headers={"Retry-After": "999"})
    with Hub([fetch.served], rate=RATE // 10, faults=after(7, busy)) as hub:
        with pytest.raises(HubBusy, match="asks to wait 999 s"):
            fetch(hub)
        kept = fetch.there
        ends = time.monotonic() + 10  # a body is noted when its connection has ended
        while sum(body.sent for body in hub.bodies(FILE.path)) < kept:
            assert time.monotonic() < ends
            time.sleep(0.01)
    assert kept > 0
    with Hub([fetch.served]) as hub:
        assert fetch(hub) == len(BODY) - kept
    assert fetch.link.read_bytes() == BODY


def test_beginning_that_an_earlier_edition_left_is_resumed(fetch: Ranged) -> None:
    fetch.leave(BODY[:1_000_000])
    with Hub([fetch.served], rate=RATE) as hub:
        assert fetch(hub) == len(BODY) - 1_000_000
        assert len(hub.bodies(FILE.path)) > 2
    assert fetch.link.read_bytes() == BODY


@pytest.mark.parametrize("left", [b"\0" * len(BODY), b"\0" * 1_000_000, BODY + b"\0" * 9000])
def test_corrupt_part_is_fetched_again(fetch: Ranged, left: bytes) -> None:
    fetch.leave(left)
    with Hub([fetch.served]) as hub:
        fetch(hub)
    assert fetch.link.read_bytes() == BODY


def test_whole_part_of_a_killed_run_is_not_fetched_again(fetch: Ranged) -> None:
    fetch.leave(BODY)
    with Hub([fetch.served]) as hub:
        assert fetch(hub) == 0


FETCHING = """
import sys
from pathlib import Path
from sample_hub.server import Hub
from tests.unit.fetch.test_ranges import Ranged
hub = Hub([])
hub.url = sys.argv[2]
Ranged(Path(sys.argv[1]))(hub)
"""


def kill_while_fetching(fetch: Ranged, hub: Hub, count: int) -> None:
    """Fetch in a process, and kill it and its child when so many bytes are there."""
    args = (sys.executable, "-c", FETCHING, str(fetch.home.root.parent), hub.url)
    pid = os.posix_spawn(args[0], args, environment(PYTHONPATH=str(ROOT)), setsid=True)
    while fetch.there < count and not os.waitpid(pid, os.WNOHANG)[0]:
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    time.sleep(0.3)  # the child is killed with it


def test_kills_cost_next_to_nothing(fetch: Ranged) -> None:
    draw = random.Random(3)
    with Hub([fetch.served], rate=RATE // 15) as hub:
        for count in sorted(draw.randrange(1, len(BODY)) for _ in range(3)):
            kill_while_fetching(fetch, hub, count)
            assert len(BODY) > fetch.there >= count
        rest = len(BODY) - fetch.there
        assert fetch(hub) == rest
        sent = sum(body.sent for body in hub.bodies(FILE.path))
    assert fetch.link.read_bytes() == BODY
    # What was on its way: of a small file on a slow line, the server's buffer is a large part.
    assert sent - len(BODY) <= 3 * STREAMS * 150_000
