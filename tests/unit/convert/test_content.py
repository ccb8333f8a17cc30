"""What a conversion must hold: weights of its precision, the original's tokens and answers."""

from dataclasses import replace
from typing import Any

import pytest

from prep.convert.content import Content

RIGHT = Content(
    task="embedding",
    elements={"u8": 950, "f32": 50},
    vocabulary=10,
    source_vocabulary=10,
    finite=True,
    agreement=0.99,
)


def test_what_is_right_has_no_problem() -> None:
    assert RIGHT.problems("int8", 0.99) == {}


@pytest.mark.parametrize(
    ("changes", "aspect", "problem"),
    [
        (
            {"elements": {"u8": 949, "f32": 51}},
            "weights",
            "95% of the weights are int8, wanted at least 95% (elements: 51 f32, 949 u8)",
        ),
        (
            {"elements": {}},
            "weights",
            "0% of the weights are int8, wanted at least 95% (elements: none)",
        ),
        ({"vocabulary": 5}, "tokenizer", "the tokenizer has 5 tokens, the original has 10"),
        ({"finite": False}, "agreement", "answers hold NaN or infinity"),
        (
            {"agreement": 0.9},
            "agreement",
            "the lowest cosine to the PyTorch original is 0.9000, wanted at least 0.99",
        ),
        ({"contradictions": ("b first", "c first")}, "agreement", "b first; c first"),
    ],
)
def test_what_is_wrong_is_named_by_its_aspect(
    changes: dict[str, Any], aspect: str, problem: str
) -> None:
    assert replace(RIGHT, **changes).problems("int8", 0.99) == {aspect: problem}
