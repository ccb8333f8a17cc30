"""The converted model is what its name says: bytes, precision, tokenizer and answers."""

import pytest

from model_tests.checks import none_of
from prep.errors import ChecksumMismatch
from prep.stages.context import NotReached
from prep.stages.converted import Converted

pytestmark = pytest.mark.conversion

AGAIN = "Without --offline, pytest sets the folder aside and converts again."


def test_converted_bytes_are_the_receipts(converted: Converted) -> None:
    """Every byte of the folder is digested and held against its receipt."""
    need(converted, converted.state.receipt)
    none_of(
        (problem for problem in converted.state.problems if problem.aspect == "bytes"),
        f"{converted.model}: the {converted.precision} conversion is not what its receipt says in "
        f"{converted.home.shown(converted.path)}",
        AGAIN,
    )


@pytest.mark.parametrize("aspect", ["weights", "tokenizer", "agreement"])
def test_content_is_right(converted: Converted, aspect: str) -> None:
    """Weights of the stated precision, the original's vocabulary, the original's answers."""
    need(converted, converted.content or converted.content_problems)
    problem = converted.content_problems.get(aspect)
    none_of(
        [problem] if problem else [],
        f"{converted.model}: the {converted.precision} conversion is wrong",
        AGAIN,
    )


def need(converted: Converted, seen: object) -> None:
    """Pass nothing that was not checked: other tests say why, or none where they are left out."""
    if not seen:
        assert not converted.state.sound, "a sound folder is always measured"
        problem = " ".join(str(converted.state.problems[0]).split())
        cause = ChecksumMismatch(f"{converted.model}: {problem}")
        doing = f"checking the {converted.precision} conversion"
        raise NotReached(converted.model, doing, cause, judged_apart=True)
