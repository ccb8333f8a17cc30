"""The text-to-text questions, and agreement with the original."""

from typing import Any

import pytest

from prep.tasks.registry import TASKS
from prep.tasks.seq2seq import ODD_TOKENS, Seq2seqQuestions, compare


def test_prompts_are_asked_with_their_length_and_odd_ones_briefly() -> None:
    questions = TASKS["seq2seq"].questions()
    assert isinstance(questions, Seq2seqQuestions)
    assert 0 < questions.ended <= 1
    assert questions.new_tokens > ODD_TOKENS
    lengths = dict(questions.all()["prompts"])
    for prompt in questions.prompts.values():
        assert lengths[prompt] == questions.new_tokens
    for text in questions.odd.values():
        assert lengths[text] == ODD_TOKENS


class Original:
    """Writes the same to every prompt."""

    start = 7

    def write(self, prompt: str, new_tokens: int) -> dict[str, Any]:
        return {"ids": [1, 2, 3, 4][:new_tokens]}


class Converted:
    """Puts these tokens first, whatever it is shown."""

    def __init__(self, *tokens: int, finite: bool = True) -> None:
        self.tokens = tokens
        self.finite = finite

    def first_choices(self, prompt: str, written: list[int], start: int) -> tuple[list[int], bool]:
        assert start == Original.start
        return list(self.tokens[: len(written)]), self.finite


@pytest.mark.parametrize(
    ("converted", "finite", "agreement"),
    [
        (Converted(1, 2, 3, 4), True, 1.0),
        (Converted(1, 9, 3, 9), True, 0.5),
        (Converted(1, 2, 3, 4, finite=False), False, 1.0),
    ],
)
def test_agreement_is_the_share_of_tokens_that_come_first(
    converted: Converted, finite: bool, agreement: float
) -> None:
    ask: dict[str, Any] = {"prompts": [["a", 4], ["b", 2]]}
    found = compare(Original(), converted, ask)
    right = agreement if agreement != 0.5 else 3 / 6
    assert found == {"finite": finite, "agreement": right}


def test_a_model_that_writes_nothing_agrees_with_nothing() -> None:
    assert compare(Original(), Converted(), {"prompts": [["a", 0]]})["agreement"] == 0.0
