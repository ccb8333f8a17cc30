"""What an access check compares, on answers as a probe gives them; real loads: `test_access`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_tests import test_offline_loading as checks
from prep.catalogue.entries import ModelSpec
from prep.sandbox.import_server import JobResult
from prep.stages.loaded import Loaded
from prep.stages.reference import Reference
from prep.tasks.consumers import Interpreter
from prep.tasks.registry import TASKS

SPEC = {"repo": "a/b", "revision": "main", "precisions": ("int8",), "why": "a test"}
NOTHING = Reference(facts={}, ask={}, given={})
QUIET = JobResult(number=1, value={}, seconds=0.1, peak=1, network=(), writes=())
ANSWERS: dict[str, dict[str, Any]] = {
    "embedding": {"vectors": {"a": [0.6, 0.8], "b": [1.0, 0.0]}},
    "reranker": {"logits": [["q", "a", 2.0], ["q", "b", -2.0]]},
    "seq2seq": {
        "written": [
            {"prompt": "p", "new_tokens": 8, "ids": [4, 1], "text": "x", "logprobs": [-0.5, -0.1]}
        ]
    },
}
BUILT = {"vocabulary": 9, "max_length": 64, "read_from": "/home/int8"}
TOKENS = {"a": {"ids": [1], "pieces": ["a"]}}


def answered(task: str, load_id: str, **facts: Any) -> Loaded:
    """A load of that id that read its folder and answered as above, but for these facts."""
    spec = ModelSpec(name="one", task=task, **SPEC)
    loads = {a.id: a for a in TASKS[task].loads_of("a/b", None, ("int8",))}
    usual = {"built": BUILT, "tokens": TOKENS, "read_from": "/home/int8", **ANSWERS[task]}
    return Loaded(
        spec=spec,
        load=loads[load_id],
        path="/home/int8",
        facts={**usual, **facts},
        result=QUIET,
        cut="by a test",
        goldens=None,
        questions=TASKS[task].questions(),
        reference=NOTHING,
    )


def access(task: str, **facts: Any) -> Loaded:
    """An access check of the conversion, held against an interrogation that answered as above."""
    interrogation = answered(task, "int8:optimum-intel:path")
    access = answered(task, "int8:optimum-intel:path:other:read-only", **facts)
    return replace(access, interrogation=interrogation)


def failure(check: Any, loaded: Loaded) -> str:
    with pytest.raises(pytest.fail.Exception) as failed:
        check(loaded)
    return str(failed.value)


def problems(task: str, **facts: Any) -> list[str]:
    """The lines between the first and the last of an access check that fails."""
    head, *lines, remedy = failure(
        checks.test_access_gives_the_same_answers, access(task, **facts)
    ).splitlines()
    assert head.startswith(
        "one: int8:optimum-intel:path:other:read-only does not answer as by int8:optimum-intel:path"
    )
    assert remedy == (
        "In this case other files are read, or not all: a service would answer differently."
    )
    return [line.strip() for line in lines]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_answers_pass(task: str) -> None:
    checks.test_access_gives_the_same_answers(access(task))


@pytest.mark.parametrize("task", TASKS)
def test_what_the_library_built_and_read_is_compared(task: str) -> None:
    assert problems(task, built={**BUILT, "vocabulary": 5}) == [
        "vocabulary is 5, the interrogation has 9"
    ]
    checks.test_access_gives_the_same_answers(access(task, built={**BUILT, "read_from": "/x"}))
    assert problems(task, tokens={"a": {"ids": [2], "pieces": ["?"]}}) == [
        "'a' becomes ['?'], the interrogation has ['a']"
    ]
    assert problems(task, read_from="/tmp/anew") == ["read from /tmp/anew, prepared in /home/int8"]


@pytest.mark.parametrize(
    ("task", "facts", "said"),
    [
        (
            "embedding",
            {"vectors": {"a": [0.6, 0.8003], "b": [1.0, 0.0]}},
            "the vector of 'a' is 3.00e-04 off, allowed 1.00e-04",
        ),
        (
            "embedding",
            {"vectors": {"a": [0.6, float("nan")], "b": [1.0, 0.0]}},
            "the vector of 'a' is inf off, allowed 1.00e-04",
        ),
        (
            "embedding",
            {"vectors": {"a": [0.6], "b": [1.0, 0.0]}},
            "the vector of 'a' is inf off, allowed 1.00e-04",
        ),
        (
            "reranker",
            {"logits": [["q", "a", 2.0], ["q", "b", -2.001]]},
            "the logit of 'b' is 1.00e-03 off, allowed 4.00e-04",
        ),
    ],
)
def test_answers_may_move_as_sums_in_another_order_do(
    task: str, facts: dict[str, Any], said: str
) -> None:
    assert problems(task, **facts) == [said]


@pytest.mark.parametrize(
    ("task", "facts"),
    [
        ("embedding", {"vectors": {"a": [0.6, 0.80009], "b": [1.0, 0.0]}}),
        ("reranker", {"logits": [["q", "a", 2.0003], ["q", "b", -2.0]]}),
    ],
)
def test_answers_within_that_pass(task: str, facts: dict[str, Any]) -> None:
    checks.test_access_gives_the_same_answers(access(task, **facts))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": [4, 2], "text": "y"}, ("'p' is answered 'y', the interrogation has 'x'; "
         "log-probabilities are 0.00e+00 off, allowed 0.0001")),
        ({"logprobs": [-0.5, -0.1005]}, ("'p' is answered 'x', the interrogation has 'x'; "
         "log-probabilities are 5.00e-04 off, allowed 0.0001")),
    ],
)  # fmt: skip
def test_a_text_must_be_the_same_and_as_probable(change: dict[str, Any], said: str) -> None:
    (right,) = ANSWERS["seq2seq"]["written"]
    assert problems("seq2seq", written=[{**right, **change}]) == [said]
    checks.test_access_gives_the_same_answers(
        access("seq2seq", written=[{**right, "logprobs": [-0.5, -0.10005]}])
    )


def test_two_questions_are_asked_and_their_texts() -> None:
    asked = {name: task.questions().sentinels() for name, task in TASKS.items()}
    plain = {name: task.questions().plain() for name, task in TASKS.items()}
    assert asked["embedding"] == {"texts": plain["embedding"]["texts"][:2]}
    pairs = plain["reranker"]["pairs"][:2]
    assert asked["reranker"]["pairs"] == pairs
    assert asked["reranker"]["texts"] == [pairs[0][0], pairs[0][1], pairs[1][1]]
    prompts = [prompt for prompt, _ in plain["seq2seq"]["prompts"][:2]]
    assert asked["seq2seq"] == {"texts": prompts, "prompts": [[text, 8] for text in prompts]}


def test_a_load_gives_an_answer_from_the_prepared_folder() -> None:
    right = answered("embedding", "int8:optimum-intel:path")
    checks.test_consumer_loads(right)
    checks.test_consumer_reads_the_converted_folder(right)
    none = answered("embedding", "int8:optimum-intel:path", vectors={})
    assert "no answer at all" in failure(checks.test_consumer_loads, none)
    elsewhere = replace(right, path="/home/other")
    assert "read from /home/int8, prepared in /home/other" in failure(
        checks.test_consumer_reads_the_converted_folder, elsewhere
    )
    assert (
        checks.other_folder(answered("embedding", "transformers:name", read_from="/home/int8"))
        == []
    )


def test_an_attempt_to_reach_the_network_fails_but_for_openvinos_own_elsewhere() -> None:
    right = answered("embedding", "int8:optimum-intel:path")
    checks.test_consumer_reaches_for_no_network(right)
    attempts = json.loads('[{"host": "www.google-analytics.com", "caller": "openvino"}]')
    asked = replace(right, result=replace(QUIET, network=tuple(attempts)))
    said = failure(checks.test_consumer_reaches_for_no_network, asked)
    assert "www.google-analytics.com  asked for by openvino" in said
    theirs = Interpreter(python=Path("/srv/python"), label="srv")
    other = replace(asked, load=replace(asked.load, interpreter=theirs))
    checks.test_consumer_reaches_for_no_network(other)
    attempts = [{"host": "huggingface.co", "caller": "transformers"}]
    again = replace(other, result=replace(QUIET, network=tuple(attempts)))
    assert "huggingface.co" in failure(checks.test_consumer_reaches_for_no_network, again)


def test_a_write_fails() -> None:
    right = answered("embedding", "int8:optimum-intel:path")
    checks.test_consumer_writes_nothing(right)
    wrote = replace(right, result=replace(QUIET, writes=("open /home/x",)))
    assert "open /home/x" in failure(checks.test_consumer_writes_nothing, wrote)


@pytest.mark.parametrize(
    ("missing", "unexpected", "said"),
    [
        ([], [], None),
        (["encoder.weight"], [], "missing  encoder.weight"),
        ([], ["head.weight"], "unused   head.weight"),
        (["pooler.dense.weight"], [], None),
        ([], ["pooler.dense.weight"], None),
        ([], ["embeddings.position_ids"], None),
        (["embeddings.position_ids"], [], "missing  embeddings.position_ids"),
    ],
)
def test_weights_are_those_of_the_file(
    missing: list[str], unexpected: list[str], said: str | None
) -> None:
    loaded = answered("embedding", "transformers:name", missing=missing, unexpected=unexpected)
    if said is None:
        checks.test_no_weights_are_made_up(loaded)
    else:
        assert said in failure(checks.test_no_weights_are_made_up, loaded)
