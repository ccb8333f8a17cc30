"""The text-to-text questions, and agreement with the original."""

import math
from typing import Any

import pytest

from prep.tasks.measure import Agreement
from prep.tasks.registry import TASKS
from prep.tasks.seq2seq import ODD_TOKENS, Seq2seqQuestions, compare, given


def test_prompts_are_asked_with_their_length_and_odd_ones_briefly() -> None:
    questions = TASKS["seq2seq"].questions()
    assert isinstance(questions, Seq2seqQuestions)
    assert 0 < questions.ended <= 1
    assert questions.new_tokens > ODD_TOKENS
    first = next(iter(questions.prompts.values()))
    assert questions.all()["configured"] == [[first, questions.new_tokens]]
    lengths = dict(questions.all()["prompts"])
    for prompt in questions.prompts.values():
        assert lengths[prompt] == questions.new_tokens
    for text in questions.odd.values():
        assert lengths[text] == ODD_TOKENS


def written(*texts: list[int]) -> dict[str, Any]:
    """What the reference wrote."""
    found = [{"prompt": str(at), "ids": ids, "text": str(ids)} for at, ids in enumerate(texts)]
    return {"written": found, "configured": found[:1]}


SAME = {"prompt": "0", "ids": [1, 2, 3, 4], "text": "a", "score": -0.5, "given-score": -0.5}


REFERENCE = written([1, 2, 3, 4], [1, 2])


@pytest.mark.parametrize(
    ("choices", "finite", "value"),
    [
        ([[1, 2, 3, 4], [1, 2]], True, 1.0),
        ([[1, 9, 3, 9], [1, 9]], True, 0.5),
        ([[1, 2, 3, 4], [1, 2]], False, 1.0),
    ],
)
def test_agreement_is_the_share_of_tokens_that_come_first(
    choices: list[list[int]], finite: bool, value: float
) -> None:
    answers = {"choices": choices, "finite": finite, "configured": [SAME]}
    assert compare(REFERENCE, answers, {}, 0.9) == Agreement(finite=finite, value=value)


def test_consumers_are_shown_what_the_reference_wrote() -> None:
    assert given(REFERENCE) == {
        "given": [["0", [1, 2, 3, 4]], ["1", [1, 2]]],
        "configured-given": [["0", [1, 2, 3, 4]]],
    }


@pytest.mark.parametrize(
    ("ids", "score", "contradicts"),
    [
        ([1, 2, 3, 4], -9.0, False),  # the same text; how probable it is, other measures say
        ([9], -0.55, False),
        ([9], -0.45, False),
        ([9], -0.7, True),
        ([9], -0.3, True),
        ([9], math.nan, True),
    ],
)
def test_another_text_by_the_own_configuration_must_be_as_probable(
    ids: list[int], score: float, contradicts: bool
) -> None:
    answers = {
        "choices": [[1, 2, 3, 4], [1, 2]],
        "finite": True,
        "configured": [{**SAME, "ids": ids, "score": score}],
    }
    found = compare(REFERENCE, answers, {}, 0.9).contradictions
    text = (
        "by the repository's own generation configuration '0' is answered 'a', by the original "
        "'[1, 2, 3, 4]'; the mean log-probability of a token is "
        f"{score + 0.5:+.3f} apart, allowed 0.1"
    )
    assert found == ((text,) if contradicts else ())


def test_a_model_that_writes_nothing_agrees_with_nothing() -> None:
    answers = {"choices": [[]], "finite": True, "configured": [{**SAME, "ids": []}]}
    assert compare(written([]), answers, {}, 0.9).value == 0.0


@pytest.mark.parametrize(
    ("ids", "logprobs", "moved"),
    [([1, 2], [-0.1, -0.2], 0), ([1, 3], [-0.1, -0.2], 1), ([1, 2], [-0.1, -0.3], 1)],
)
def test_a_sentinels_tokens_are_the_same_and_as_probable(
    ids: list[int], logprobs: list[float], moved: int
) -> None:
    text = {"prompt": "a", "new_tokens": 8, "ids": [1, 2], "logprobs": [-0.1, -0.2], "text": "b"}
    questions = TASKS["seq2seq"].questions()
    answers = {"written": [{**text, "ids": ids, "logprobs": logprobs}]}
    assert len(questions.moved(answers, {"written": [text]})) == moved
