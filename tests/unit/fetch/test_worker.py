"""One model's unexpected error is not the others'."""

import pytest

from prep.fetch.client import Client
from prep.fetch.worker import Tally, _refused


def test_an_unexpected_error_is_that_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def may_read(url: str, session: object) -> None:
        if "/first/" in url:
            raise UnicodeDecodeError("ascii", b"\xe9", 0, 1, "odd")

    monkeypatch.setattr("prep.fetch.worker._may_read", may_read)
    models = {name: (f"org/{name}", "0" * 40, "config.json") for name in ("first", "second")}
    client = Client({"timeout": 5.0, "deadline": None}, lambda event: None)
    assert _refused({"asked": models}, client) == {
        "first": {
            "class": "UnicodeDecodeError",
            "message": "'ascii' codec can't decode byte 0xe9 in position 0: odd",
        }
    }


def test_total_done_never_falls_when_a_file_is_started_again() -> None:
    events: list[dict[str, object]] = []
    tally = Tally(10, events.append)
    tally.add(6, received=False)
    tally.add(-6, received=False)
    tally.add(10)
    assert tally.fetched == 10
    assert events[-1] == {"event": "bytes", "total_done": 16, "done": 10, "of": 10}
