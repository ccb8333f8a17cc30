"""The network is cut and the model still loads, by every consumer in each of its cases."""

import pytest

from model_tests.checks import none_of
from prep.stages.loaded import Loaded
from prep.tasks.registry import TASKS

pytestmark = pytest.mark.load

# Buffers that older checkpoints carry and newer code computes itself: not weights.
BUFFERS = ("position_ids",)
# openvino asks it at every import, whatever is said to it in some versions: in an interpreter that
# is not ours it is reported and is no failure.
TELEMETRY = "www.google-analytics.com"


@pytest.mark.interrogation
def test_consumer_loads(loaded: Loaded) -> None:
    """What a service does at start-up: it loads, and gives an answer for every text."""
    none_of(
        [] if loaded.facts.get(TASKS[loaded.spec.task].answer) else ["no answer at all"],
        f"{loaded.name} loaded and gave no answer",
        "See the log of the import server.",
    )


@pytest.mark.interrogation
@pytest.mark.consumers("optimum-intel", "sentence-transformers-openvino")
def test_consumer_reads_the_converted_folder(loaded: Loaded) -> None:
    """No export anew at load, no ready-made IR of the hub in place of ours."""
    none_of(
        other_folder(loaded),
        f"{loaded.name} did not read the prepared files",
        "The library exported anew, or found another copy: services would answer differently.",
    )


@pytest.mark.access
def test_access_gives_the_same_answers(loaded: Loaded) -> None:
    """Another name, place, user or mount: the same files are read, and two answers are the same."""
    wanted = loaded.interrogation
    assert wanted is not None
    built = [
        f"{key} is {value}, the interrogation has {wanted.facts['built'][key]}"
        for key, value in loaded.facts["built"].items()
        if key != "read_from" and value != wanted.facts["built"][key]
    ]
    tokens = [
        f"{text!r} becomes {found['pieces']}, the interrogation has {wanted.pieces(text)}"
        for text, found in loaded.facts["tokens"].items()
        if found != wanted.facts["tokens"][text]
    ]
    none_of(
        [
            *other_folder(loaded),
            *built,
            *tokens,
            *loaded.questions.moved(loaded.facts, wanted.facts),
        ],
        f"{loaded.name} does not answer as by {wanted.load.id}",
        "In this case other files are read, or not all: a service would answer differently.",
    )


def other_folder(loaded: Loaded) -> list[str]:
    """Where a converted model was read from, if not from where it was prepared."""
    read_from = loaded.facts.get("read_from", loaded.path)
    return [] if read_from == loaded.path else [f"read from {read_from}, prepared in {loaded.path}"]


def test_consumer_reaches_for_no_network(loaded: Loaded) -> None:
    """Not even an attempt: it would cost a timeout at every start of a service."""
    none_of(
        (
            f"{attempt['host']}  asked for by {attempt['caller']}"
            for attempt in loaded.result.network
            if loaded.load.interpreter is None or attempt["host"] != TELEMETRY
        ),
        f"{loaded.name} reached for the network ({loaded.cut})",
        "Something is missing in the home that this library asks the hub for.",
    )


def test_consumer_writes_nothing(loaded: Loaded) -> None:
    """Services mount the home read-only, and have no other place to write."""
    none_of(
        loaded.result.writes,
        f"{loaded.name} wrote outside its temporary folder",
        "A service on a read-only file system would fail there.",
    )


@pytest.mark.interrogation
@pytest.mark.consumers("transformers", "transformers-slow")
def test_no_weights_are_made_up(loaded: Loaded) -> None:
    """A weight that is missing is filled with random numbers, with a warning that nobody reads."""
    unused = TASKS[loaded.spec.task].unused_weights
    missing = [
        f"missing  {name}" for name in loaded.facts["missing"] if not name.startswith(unused)
    ]
    unexpected = [
        f"unused   {name}"
        for name in loaded.facts["unexpected"]
        if not (name.endswith(BUFFERS) or name.startswith(unused))
    ]
    none_of(
        missing + unexpected,
        f"{loaded.name} does not use exactly the weights of the file",
        "Class and checkpoint do not fit: choose another revision or another library version.",
    )
