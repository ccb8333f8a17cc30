"""What a busy hub's error says; `tests/system/test_network_faults.py` has all other messages."""

import pytest

from prep.fetch.hub_errors import HubRequest, our_error
from prep.fetch.retry import RetriesExhausted
from tests.support.fault_play import REPO
from tests.unit.fetch.test_retry import answer

HEAD = "hub unavailable: hub.invalid answered 429 for ORG/NAME"


@pytest.mark.parametrize(
    ("exhausted", "text"),
    [
        (
            RetriesExhausted(answer(429), 5),
            f"{HEAD}, 5 times in a row. Received bytes are kept; run again to resume.",
        ),
        (
            RetriesExhausted(answer(429), 2, 172.0, total_wait=344.4),
            (
                f"{HEAD} and asks to wait 172 s more, 344 s in all, longer than the 330 s that a "
                "run waits without progress when it is asked to. Received bytes are kept; run "
                "again after that time."
            ),
        ),
        (
            RetriesExhausted(answer(429), 1, 9.0, by_deadline=True, total_wait=9.0),
            (
                f"{HEAD} and asks to wait 9 s, longer than is left of --download-deadline. "
                "Received bytes are kept; run again after that time."
            ),
        ),
    ],
    ids=["no wait", "too long together", "beyond the deadline"],
)
def test_busy_hub_says_how_long_it_asked_to_wait(exhausted: RetriesExhausted, text: str) -> None:
    request = HubRequest(
        endpoint="http://hub.invalid",
        repo=REPO,
        revision="main",
        has_token=True,
        visibility=lambda: "unknown",
    )
    assert str(our_error(exhausted, request)) == text
