"""Progress: events, figures, lines; a real terminal is elsewhere."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from rich.cells import cell_len

from prep.plugin import live_lines
from prep.plugin.terminal import _append_to
from prep.process.progress import Doing, Event, Progress, span


def doing(*events: Event) -> Doing:
    """The current work after these events, a second apart."""
    work = Doing(model="tiny", text=None, since=0.0, said=0.0)
    for second, event in enumerate(events):
        work.take(event, float(second))
    return work


def of_bytes(done: int, of: int = 100_000_000) -> Event:
    return {"model": "tiny", "doing": "fetching", "done": done, "of": of, "unit": "bytes"}


def loading(consumer: str, done: int, of: int) -> Event:
    work = f"loading by {consumer}"
    return {"model": "tiny", "doing": work, "done": done, "of": of, "unit": "loads"}


def test_wait_that_a_hub_asks_for_counts_down() -> None:
    events: list[Event] = []
    progress = Progress(events.append)
    for left in (172.0, 170.6, 3.2):
        progress.countdown("tiny", "waiting, as hub.example asks (429)", left, 172.4)
    work = doing(*events)
    assert (work.figures(9.0), work.share) == (["3 s left"], 169 / 172)
    assert work.line(9.0) == "waiting, as hub.example asks (429): 3 s left"


def test_stages_emit_lines_and_the_current_work() -> None:
    events: list[Event] = []
    progress = Progress(events.append, {"tiny": 2})
    progress.say("tiny", "repairing: corrupt config.json")
    progress.begin("tiny", "importing the libraries")
    progress.bytes("tiny", "fetching", {"done": 5, "of": 5})
    progress.busy("tiny", "converting to int8")
    progress.load("tiny", "transformers:name")
    progress.load("tiny", "transformers:path")
    progress.finish()
    progress.finish()
    assert events == [
        {"model": "tiny", "say": "repairing: corrupt config.json"},
        {"model": "tiny", "say": "importing the libraries"},
        {"model": "tiny", "doing": "importing the libraries"},
        {"model": "tiny", "doing": "fetching", "done": 5, "of": 5, "unit": "bytes"},
        {"model": "tiny", "doing": "converting to int8"},
        loading("transformers:name", 1, 2),
        loading("transformers:path", 2, 2),
        {"model": "tiny", "doing": None},
    ]


def test_bytes_are_emitted_now_and_then_and_at_the_end() -> None:
    events: list[Event] = []
    count = Progress(events.append).counter("tiny", "digesting", 1000)
    for _ in range(1000):
        count(1)
    assert [event["done"] for event in (events[0], events[-1])] == [1, 1000]
    assert len(events) < 100


class Worker:
    """As much of an xdist worker's config as telling events needs."""

    workerinput: ClassVar = {"workerid": "gw0"}

    def add_cleanup(self, cleanup: Callable[[], None]) -> None:
        self.cleanup = cleanup


def test_a_full_disk_hides_progress_and_ends_nothing() -> None:
    worker = Worker()
    emit = _append_to("/dev/full", worker)  # type: ignore[arg-type]
    Progress(emit).begin("tiny", "importing the libraries")
    worker.cleanup()


def test_progress_without_emit_is_discarded() -> None:
    Progress().begin("tiny", "importing the libraries")


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([of_bytes(0)], "fetching: 0.0 of 100.0 MB (0%)"),
        (
            [of_bytes(0), of_bytes(10_000_000), of_bytes(20_000_000)],
            "fetching: 20.0 of 100.0 MB (20%), 10.0 MB/s, 8 s left",
        ),
        # Of the last seconds, not of the whole: it was fast, and is nearly stalled now.
        (
            [of_bytes(0), of_bytes(90_000_000), *[of_bytes(90_000_000 + n) for n in range(9)]],
            "fetching: 90.0 of 100.0 MB (90%), 0.0 MB/s, 2777 h 46 min left",
        ),
        # A corrupt part is started again: no negative speed.
        ([of_bytes(50_000_000), of_bytes(0)], "fetching: 0.0 of 100.0 MB (0%)"),
        ([of_bytes(0, 0)], "fetching: 0.0 of 0.0 MB (100%)"),
        ([{"model": "tiny", "doing": "converting to int8"}], "converting to int8, 61 s so far"),
        ([loading("x", 2, 9)], "loading by x (2 of 9), 61 s so far"),
    ],
    ids=["first", "speed", "of late", "again", "nothing", "time", "loads"],
)
def test_a_plain_line_says_how_far_and_how_long(events: list[Event], line: str) -> None:
    assert doing(*events).line(61.0).replace("1 min 01 s", "61 s") == line


def test_finished_work_leaves_no_figures() -> None:
    over = doing(of_bytes(5), {"model": "tiny", "doing": None})
    assert (over.text, over.share, over.speed) == (None, None, None)
    assert doing(loading("x", 2, 8), {"model": "tiny", "doing": None}).share == 0.25


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3725, "1 h 02 min")],
)
def test_a_duration_is_short(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize("width", [200, 99, 76, 75, 40, 34, 33, 20, 10])
def test_a_live_line_is_one_line_on_any_terminal(width: int) -> None:
    many = [
        doing(of_bytes(0), of_bytes(12_300_000)),
        doing({"model": "tiny", "doing": "importing the libraries in a process, " * 3}),
    ]
    lines = live_lines.render(many, 9.0, width=width, rows=30, color=False)
    assert len(lines) == 2
    assert [line for line in lines if cell_len(line) > width] == []
    assert not any("\x1b" in line for line in lines)
    assert all("tiny" in line for line in lines)


def test_a_live_line_shows_more_where_there_is_room() -> None:
    work = doing(of_bytes(0), of_bytes(12_300_000))
    [wide] = live_lines.render([work], 9.0, width=100, rows=30, color=False)
    [narrow] = live_lines.render([work], 9.0, width=50, rows=30, color=False)
    assert wide.split()[1:3] == ["tiny", "fetching"]
    assert wide.endswith("12.3 of 100.0 MB  12.3 MB/s  7 s left")
    assert narrow.endswith("12.3 of 100.0 MB")
    [colored] = live_lines.render([work], 9.0, width=100, rows=30, color=True)
    assert "\x1b[1;36mtiny\x1b[0m" in colored


def test_live_lines_leave_most_of_the_terminal_to_pytest() -> None:
    many = [doing({"model": "tiny", "doing": f"{number}"}) for number in range(20)]
    lines = live_lines.render(many, 9.0, width=60, rows=12, color=False)
    assert len(lines) == 4
    assert lines[-1] == "  … and 17 more"
