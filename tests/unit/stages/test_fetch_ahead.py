"""Models fetched ahead of their tests: their order, their errors, and how a fetch is ended."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from prep.catalogue.entries import ModelSpec, read_catalogue
from prep.errors import ChecksumMismatch, Interrupted
from prep.files.checksum import digest_files
from prep.process.cancelled import WORKER, check_cancelled
from prep.process.progress import Progress
from prep.stages.fetch_ahead import FetchAhead
from prep.stages.fetched import Fetched
from tests.support.runs import SAMPLE
from tests.unit.sandbox.test_import_server import Alarm, alarm

ONE, TWO, THREE = read_catalogue(SAMPLE).models
Fetch = Callable[[ModelSpec], Any]
Ahead = Callable[..., FetchAhead]


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    """Fetches ahead by any function, closed at the end."""
    made: list[FetchAhead] = []

    def make(work: Fetch, *specs: ModelSpec) -> FetchAhead:
        made.append(FetchAhead(cast(Callable[[ModelSpec], Fetched], work), specs))
        return made[-1]

    yield make
    for fetching in made:
        fetching.close()


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_all_are_fetched_in_their_order_by_one_thread_while_nobody_waits(ahead: Ahead) -> None:
    fetched: list[tuple[str, threading.Thread, str]] = []

    def work(spec: ModelSpec) -> str:
        fetched.append((spec.name, threading.current_thread(), WORKER.get()))
        return f"files of {spec.name}"

    fetching = ahead(work, ONE, TWO, THREE)
    assert fetched == [], "the tests before the first that reads files need none"
    assert fetching.result(ONE) == cast(Any, "files of tiny-embedding")
    wait_until(lambda: len(fetched) == 3)
    assert [name for name, _, _ in fetched] == [ONE.name, TWO.name, THREE.name]
    assert {(thread, worker) for _, thread, worker in fetched} == {(fetched[0][1], "fetching")}
    assert fetched[0][1] is not threading.current_thread()
    assert fetching.result(THREE) == cast(Any, "files of tiny-seq2seq")
    assert len(fetched) == 3


def test_without_models_to_come_each_is_fetched_when_it_is_asked_for(ahead: Ahead) -> None:
    """As by a worker of xdist, which knows only the tests that it has got."""
    fetching = ahead(lambda spec: (spec.name, threading.current_thread(), WORKER.get()))
    asked = fetching.result(TWO)
    assert asked == cast(Any, (TWO.name, threading.current_thread(), ""))


def test_files_are_known_when_they_came_and_not_before_or_after_an_error(ahead: Ahead) -> None:
    may_go_on = threading.Event()

    def work(spec: ModelSpec) -> str:
        if spec is THREE:
            raise ChecksumMismatch("tiny-seq2seq")
        if spec is TWO:
            may_go_on.wait(20)
        return spec.name

    fetching = ahead(work, ONE, TWO, THREE)
    assert fetching.files_of(ONE) is None
    fetching.result(ONE)
    assert fetching.files_of(ONE) == cast(Any, ONE.name)
    assert fetching.files_of(TWO) is None
    may_go_on.set()
    fetching.result(TWO)
    with pytest.raises(ChecksumMismatch):
        fetching.result(THREE)
    assert fetching.files_of(THREE) is None


def test_error_reaches_the_tests_of_its_own_model_as_it_was_raised(ahead: Ahead) -> None:
    error = ChecksumMismatch("tiny-reranker: model.safetensors is corrupt")

    def work(spec: ModelSpec) -> str:
        if spec is TWO:
            raise error
        return spec.name

    fetching = ahead(work, ONE, TWO, THREE)
    assert fetching.result(THREE) == cast(Any, THREE.name)
    assert fetching.result(ONE) == cast(Any, ONE.name)
    with pytest.raises(ChecksumMismatch) as caught:
        fetching.result(TWO)
    assert caught.value is error


def until_cancelled(spec: ModelSpec) -> str:
    """The first model's files never come."""
    while spec is ONE:
        check_cancelled(f"fetching {spec.name}")
        time.sleep(0.01)
    return spec.name


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Alarm()], ids=["Ctrl-C", "pytest-timeout"])
def test_interrupted_wait_ends_that_fetch_and_not_the_next(
    ahead: Ahead, error: BaseException
) -> None:
    fetching = ahead(until_cancelled, ONE, TWO)
    with pytest.raises(type(error)), alarm(0.2, error):
        fetching.result(ONE)
    assert fetching.result(TWO) == cast(Any, TWO.name)
    with pytest.raises(Interrupted) as caught:
        fetching.result(ONE)
    assert str(caught.value).endswith(
        "fetching tiny-embedding: interrupted. What is finished is kept; run again."
    )


def test_what_failed_or_was_interrupted_is_done_again_at_once_and_nothing_else(
    ahead: Ahead,
) -> None:
    counts: dict[str, int] = {}
    may_go_on = threading.Event()

    def work(spec: ModelSpec) -> str:
        count = counts[spec.name] = counts.get(spec.name, 0) + 1
        if spec is ONE and count == 1:
            time.sleep(0.3)
            raise ChecksumMismatch("once")
        if spec is THREE:
            may_go_on.wait(20)
        return spec.name

    fetching = ahead(work, ONE, TWO, THREE)
    with pytest.raises(Alarm), alarm(0.1, Alarm()):
        fetching.result(ONE)
    fetching.forget(ONE)  # which has not ended yet
    assert fetching.result(ONE) == cast(Any, ONE.name), "it does not wait for the third model"
    fetching.result(TWO)
    fetching.forget(TWO)
    fetching.result(TWO)
    may_go_on.set()
    assert counts == {ONE.name: 2, TWO.name: 1, THREE.name: 1}


def test_run_ends_within_a_second_while_a_large_file_is_digested(
    ahead: Ahead, tmp_path: Path
) -> None:
    large = tmp_path / "model.safetensors"
    large.touch()
    os.truncate(large, 100 << 30)  # a minute's work on any machine; no block on the disk
    digesting = threading.Event()

    def work(spec: ModelSpec) -> object:
        count = Progress().counter(spec.name, "checking files", 100 << 30)

        def block(size: int) -> None:
            digesting.set()
            count(size)

        return digest_files([large], block)

    fetching = ahead(work, ONE, TWO)
    with pytest.raises(KeyboardInterrupt), alarm(0.5, KeyboardInterrupt()):
        fetching.result(ONE)
    assert digesting.is_set()
    began = time.monotonic()
    fetching.close()
    assert time.monotonic() - began < 1
    assert fetching.files_of(ONE) is fetching.files_of(TWO) is None


def test_both_threads_report_what_they_do_by_their_own_name(ahead: Ahead) -> None:
    """So that the end of the one's work does not take the other's line away."""
    events: list[dict[str, Any]] = []
    progress = Progress(events.append)
    may_go_on = threading.Event()

    def work(spec: ModelSpec) -> str:
        if spec is TWO:
            progress.busy(spec.name, "fetching")
            may_go_on.wait(20)
            progress.finish()
        return spec.name

    fetching = ahead(work, ONE, TWO)
    fetching.result(ONE)
    wait_until(lambda: events)
    progress.busy(ONE.name, "loading")
    progress.finish()
    may_go_on.set()
    fetching.result(TWO)
    assert events == [
        {"who": "fetching", "model": TWO.name, "doing": "fetching"},
        {"model": ONE.name, "doing": "loading"},
        {"model": ONE.name, "doing": None},
        {"who": "fetching", "model": TWO.name, "doing": None},
    ]
