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


@pytest.mark.ours
@pytest.mark.consumers("optimum-intel")
def test_answers_agree_as_a_service_runs_it(loaded: Loaded) -> None:
    """Computed in the type that OpenVINO chooses on this CPU, with the entry's `ov-config`."""
    none_of(
        loaded.served_problems(),
        f"{loaded.name} does not answer as the original in float32, when OpenVINO computes in "
        f"{loaded.facts['served']['type']}, ov-config {dict(loaded.spec.ov_config)}",
        'Serve it with INFERENCE_PRECISION_HINT = "f32", name that in its ov-config, or choose a '
        "finer precision.",
    )


@pytest.mark.ours
@pytest.mark.consumers(
    "transformers", "transformers-slow", "sentence-transformers", "optimum-intel"
)
def test_requests_at_once_are_answered_as_one(loaded: Loaded) -> None:
    """Four threads, each with an infer request of its own where OpenVINO computes."""
    problems = []
    for number, answers in enumerate(loaded.facts["at_once"], 1):
        wrong = (
            [answers["error"]]
            if "error" in answers
            else loaded.questions.moved(answers, loaded.facts)
        )
        problems += [f"request {number}: {problem}" for problem in wrong]
    none_of(
        problems,
        f"{loaded.name} answers several requests at once otherwise than one",
        "A service that answers in several threads would mix answers up. Report it with the "
        "versions in the header.",
    )
