"""Every consumer answers as the publisher's pipeline does in float32, whatever the task."""

import pytest

from model_tests.checks import none_of
from prep.stages.loaded import Loaded

pytestmark = [pytest.mark.answers, pytest.mark.interrogation]


def test_answers_agree_with_the_original(loaded: Loaded) -> None:
    """Within the bound of the precision, or of the type in which the weights are published."""
    none_of(
        loaded.agreement_problems(),
        f"{loaded.name} does not answer as the original in float32",
        "This consumer pools, tokenizes or computes otherwise than the publisher's own pipeline. "
        "Do not serve the model by it: name the other consumers in the entry, and report it.",
    )
