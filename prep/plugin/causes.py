"""Which failure is a cause, and which test only could not be reached for it.

One cause is one failure: the tests behind it are skipped, with that cause in a line. The verdict
and the exit code count them as failed all the same. A model stays in one process, so what is
remembered here is all there is.
"""

from dataclasses import dataclass, field

import pytest

from prep.errors import PrepError
from prep.plugin.parameters import LEVELS, load_of, model_of, precision_of
from prep.report.run_report import ORIGINAL, first_line
from prep.report.verdict import Failure
from prep.stages.context import NotReached, is_transient

FETCHED = "fetched"  # as `Context.need` calls that stage
Subject = tuple[str, str | None]  # a model; and a precision, a load, or the published files


@dataclass(slots=True)
class _Reported:
    """The errors that tests of each model have failed by, and what those tests judged."""

    errors: list[tuple[str, BaseException]] = field(default_factory=list)
    judged: set[Subject] = field(default_factory=set)


_REPORTED = pytest.StashKey[_Reported]()
_ORDER = pytest.StashKey[dict[str, int]]()
_LAST = pytest.StashKey[dict[Subject, int]]()


def check_of(item: pytest.Item) -> str:
    """The check that a test belongs to: a level, a conversion, a consumer's access or answers."""
    level = next((name for name in LEVELS if item.get_closest_marker(name)), LEVELS[0])
    if load := load_of(item):
        python = f" in {load.interpreter.label}" if load.interpreter else ""
        what = "answers" if level == "answers" else "access"
        return f"{load.precision or ORIGINAL} {load.consumer.name}{python} {what}"
    precision = precision_of(item)
    return f"conversion {precision}" if precision else level


def failure_of(item: pytest.Item, error: BaseException) -> Failure:
    """What a test has failed by. The first that could not be reached reports a cause that no test
    has reported, as where the test for it was not chosen."""
    spec = model_of(item)
    assert spec is not None, "only tests of a model are asked for"
    reported = item.config.stash.setdefault(_REPORTED, _Reported())
    cause = error.cause if isinstance(error, NotReached) else error
    subject: Subject = (spec.name, _subject(item))
    known = any(cause is other and name == spec.name for name, other in reported.errors)
    if isinstance(error, NotReached) and error.judged_apart:
        subject = (spec.name, None if error.stage == FETCHED else precision_of(item))
        known = known or subject in reported.judged or _is_judged_later(item, subject)
    text = str(cause) or type(cause).__name__
    if not isinstance(cause, (PrepError, pytest.fail.Exception)):
        text = f"{type(cause).__name__}: {text}"
    if spec.name not in text.partition("\n")[0]:
        text = f"{spec.name}: {text}"
    if known:
        text = f"not reached: {first_line(text)}"
    else:
        reported.errors.append((spec.name, cause))
        reported.judged.add(subject)
    return Failure(
        error=type(cause).__name__, text=text, transient=is_transient(cause), reached=not known
    )


def _is_judged_later(item: pytest.Item, subject: Subject) -> bool:
    """Whether a test that comes after this one judges the stage by itself."""
    stash = item.config.stash
    if _ORDER not in stash:
        stash[_ORDER] = {other.nodeid: place for place, other in enumerate(item.session.items)}
        stash[_LAST] = {
            (spec.name, precision_of(other)): place
            for place, other in enumerate(item.session.items)
            if (spec := model_of(other)) and load_of(other) is None
        }
    return stash[_LAST].get(subject, -1) > stash[_ORDER].get(item.nodeid, 0)


def _subject(item: pytest.Item) -> str | None:
    """What the test judges of its model: a load, a precision, or the published files."""
    load = load_of(item)
    return load.id if load else precision_of(item)
