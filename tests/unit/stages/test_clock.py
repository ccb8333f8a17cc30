"""When each stage of a model was at work."""

import time

import pytest

from prep.stages import clock
from prep.stages.clock import Clock


def stretches(made: Clock) -> list[tuple[str, str]]:
    return [(fact["stage"], fact["which"]) for fact in made.facts()["stretches"]]


def test_a_stage_that_asks_for_another_stops_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    made = Clock()
    with made.running("loaded", "a"):
        now[0] += 1
        with made.running("fetched"):
            now[0] += 2
        now[0] += 3
    now[0] += 9
    with made.running("loaded", "b"):
        now[0] += clock.LEAST_SECONDS / 2
    facts = made.facts()
    assert facts["began"] == "1970-01-01T00:16:40.000+00:00"
    assert facts["stretches"] == [
        {"stage": "loaded", "which": "a", "at": 0.0, "seconds": 1.0},
        {"stage": "fetched", "which": "", "at": 1.0, "seconds": 2.0},
        {"stage": "loaded", "which": "a", "at": 3.0, "seconds": 3.0},
    ]


def test_loads_of_one_consumer_are_one_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.5]
    monkeypatch.setattr(time, "time", lambda: now[0])
    made = Clock()
    for which, pause in (("a", 0.5), ("a", 0.5), ("b", 5.0), ("b", 0.0)):
        with made.running("loaded", which):
            now[0] += 1
        now[0] += pause
    assert stretches(made) == [("loaded", "a"), ("loaded", "b"), ("loaded", "b")]


def test_a_stage_that_fails_has_worked_as_well() -> None:
    made = Clock()
    with pytest.raises(ValueError, match="x"), made.running("fetched"):
        time.sleep(clock.LEAST_SECONDS * 2)
        raise ValueError("x")
    assert stretches(made) == [("fetched", "")]
