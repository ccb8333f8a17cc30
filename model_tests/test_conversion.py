"""The converted model is what its name says: bytes, precision, tokenizer and answers."""

import pytest

from model_tests.checks import none_of
from prep.stages import Converted

pytestmark = pytest.mark.conversion

AGAIN = "Without --offline, pytest sets the folder aside and converts again."


def test_converted_bytes_are_the_receipts(converted: Converted) -> None:
    """Every byte of the folder is digested and held against its receipt."""
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "bytes"),
        f"{converted.model}: the {converted.precision} conversion is not what its receipt says in "
        f"{converted.home.shown(converted.path)}",
        AGAIN,
    )


@pytest.mark.parametrize("aspect", ["weights", "tokenizer", "agreement"])
def test_content_is_right(converted: Converted, aspect: str) -> None:
    """Weights of the stated precision, the original's vocabulary, the original's answers."""
    wrong = bool(converted.content_problems) or not converted.state.sound
    assert converted.content is not None or wrong, "a sound folder is always measured"
    problem = converted.content_problems.get(aspect)
    none_of(
        [problem] if problem else [],
        f"{converted.model}: the {converted.precision} conversion is wrong",
        AGAIN,
    )
