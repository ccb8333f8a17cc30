"""A test that is run again, by pytest-rerunfailures or the like: it is judged by work done again.

Stages are remembered for the whole run, so a second attempt would be judged by what the first one
got. What failed is forgotten before the second attempt, and a load is made again in any case; the
outcome holds the numbers of both exchanges against each other. What was only not reached stays so:
its cause has attempts of its own.
"""

import pytest

from prep.plugin.parameters import load_of, model_of
from prep.report.verdict import Failure
from prep.stages.pipeline import Stages

_ATTEMPTED = pytest.StashKey[bool]()
_FAILURE = pytest.StashKey[Failure | None]()


def note_failure(item: pytest.Item, failure: Failure | None) -> None:
    """Remember how an attempt failed, None where it did not."""
    if failure is not None:
        item.stash[_FAILURE] = failure


def forget_attempt(item: pytest.Item, stages: Stages | None) -> None:
    """Before a set-up: where it is not the first, forget what the attempt before it failed by."""
    again = item.stash.get(_ATTEMPTED, False)
    item.stash[_ATTEMPTED] = True
    failure, item.stash[_FAILURE] = item.stash.get(_FAILURE, None), None
    spec = model_of(item)
    if not again or spec is None or stages is None:
        return
    if failure is None or not failure.reached:
        return
    stages.forget(spec, load_of(item))


def exchange_of(item: pytest.Item) -> int | None:
    """The number of the exchange that a test's answers came from, None where it has none."""
    loaded = getattr(item, "funcargs", {}).get("loaded")
    return loaded.result.number if loaded is not None else None
