"""Every answer that was seen in the world, by name, against both ways of a run to the hub.

The table of the document has those that a user may have to act upon; this is all of them.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from prep.errors import HubBusy, HubRefused, NotAHub, PrepError
from prep.fetch.hub import Network, ask, fetch_files
from prep.home.layout import Home
from sample_hub.flows import FLOWS, PLACES
from sample_hub.server import Hub, ServedRepo
from tests.support.fault_play import BODY, FILE, NAME, REPO, TOKEN

TIMEOUT = 40  # seconds; some answers come after 25
Outcome = type[PrepError] | None
CONFIG = b'{"model_type": "bert"}'

# Where the answer is not that of the hub, and what becomes of it: in fetching, and in --relock.
# A large file's way to its bytes has no small one's on it, and --relock reads both.
EXPECTED: Mapping[str, tuple[Outcome, Outcome]] = {
    **{
        f"page-{status}-{place}{unsized}": {
            "hub": (NotAHub, NotAHub),
            "info": (None, NotAHub),
            "metadata": (NotAHub, NotAHub),
            "small": (None, NotAHub),
            "cdn": (NotAHub, NotAHub),
        }[place]
        for status in (200, 302, 403)
        for place in PLACES
        for unsized in ("", "-unsized")
    },
    "page-502": (HubBusy, HubBusy),
    "limited": (HubBusy, HubBusy),
    "limited-with-some-left": (HubBusy, HubBusy),
    "limited-retry-after": (HubBusy, HubBusy),
    "no-box": (HubRefused, HubRefused),
    "pending": (HubRefused, HubRefused),
    "disabled": (HubRefused, HubRefused),
    "blocked": (HubRefused, HubRefused),
    "cdn-range": (None, HubBusy),
    "cdn-signature": (HubBusy, HubBusy),
    "cdn-empty": (HubBusy, HubBusy),
}
# Asked to wait twice within the bound, and then for longer: each would take minutes.
MINUTES = ("limited", "limited-retry-after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What fetching and asking gave, and what a consumer would read."""

    fetched: PrepError | None
    asked: PrepError | None
    there: bool


def outcome(work: Callable[[], object]) -> PrepError | None:
    try:
        work()
    except PrepError as error:
        return error
    return None


def play(flow: str, folder: Path) -> Outcomes:
    (served := folder / "served").mkdir()
    (served / NAME).write_bytes(BODY)
    (served / "config.json").write_bytes(CONFIG)
    repo = ServedRepo.of(REPO, served, "mit")
    home = Home(folder / "home")
    for name in ("a", "b"):
        (folder / name).mkdir()
    deadline = 60.0 if flow in MINUTES else None
    token = TOKEN if flow in ("no-box", "pending", "disabled") else None

    def network(hub: Hub) -> Network:
        return Network(endpoint=hub.url, timeout=TIMEOUT, deadline=deadline, token=token)

    with Hub([repo], faults=FLOWS[flow]()) as hub:
        fetched = outcome(
            lambda: fetch_files(
                network(hub),
                home,
                REPO,
                repo.commit,
                [FILE],
                locked=[NAME],
                scratch=folder / "a",
                on_event=lambda event: None,
            )
        )
    with Hub([repo], faults=FLOWS[flow]()) as hub:
        asked = outcome(lambda: ask(network(hub), REPO, "main", ("*",), scratch=folder / "b"))
    link = home.snapshot(REPO, repo.commit) / NAME
    there = link.is_file() and link.read_bytes() == BODY
    return Outcomes(fetched=fetched, asked=asked, there=there)


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Outcomes]]:
    """Those that were chosen, side by side: most of their time is waiting."""
    chosen = {
        item.callspec.params["flow"]  # type: ignore[attr-defined]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(4) as pool:
        results: dict[str, Future[Outcomes]] = {
            flow: pool.submit(play, flow, tmp_path_factory.mktemp(flow))
            for flow in FLOWS
            if flow in chosen
        }
        yield lambda name: results[name].result()


@pytest.mark.parametrize("flow", FLOWS)
def test_answer_is_taken_for_what_it_is(flow: str, played: Callable[[str], Outcomes]) -> None:
    result = played(flow)
    fetched, asked = EXPECTED.get(flow, (None, None))
    assert type(result.fetched) is (fetched or type(None)), result.fetched
    assert type(result.asked) is (asked or type(None)), result.asked
    assert result.there == (fetched is None)
    for error in (result.fetched, result.asked):
        for secret in ("Signature=", "Policy=", TOKEN):
            assert secret not in str(error)
