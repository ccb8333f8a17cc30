"""Agreement with the original is shown failing: other pooling, other logits, other first tokens."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_tests.test_agreement import test_answers_agree_as_a_service_runs_it as served
from model_tests.test_agreement import test_answers_agree_with_the_original as judge
from model_tests.test_agreement import test_requests_at_once_are_answered_as_one as at_once
from prep.stages.pipeline import Stages
from tests.support.real_loads import (
    Facts,
    folder_like,
    load,
    measured,
    message,
    problems_of,
    spoiled,
)


def pooled_by_another_token(facts: Facts) -> None:
    facts["vectors"] = {text: vector[::-1] for text, vector in facts["vectors"].items()}


def scaled(facts: Facts) -> None:
    facts["logits"] = [[*pair, 1.2 * logit] for *pair, logit in facts["logits"]]


def other_choices(facts: Facts) -> None:
    facts["choices"] = [[token + 1 for token in first] for first in facts["choices"]]


def not_numbers(facts: Facts) -> None:
    facts["logits"][0][-1] = float("nan")


CASES: list[tuple[str, str, Callable[[Facts], None], str]] = [
    ("embedding", "transformers:name", pooled_by_another_token, "the lowest cosine to"),
    ("embedding", "int8:optimum-intel:path", pooled_by_another_token, "the lowest cosine to"),
    ("reranker", "sentence-transformers:name", scaled, "the greatest difference of a logit"),
    ("reranker", "int8:optimum-intel:path", not_numbers, "answers hold NaN or infinity"),
    ("seq2seq", "transformers:name", other_choices, "is 0.0000, wanted at least"),
]


@pytest.mark.parametrize(("task", "which", "spoil", "words"), CASES)
def test_answers_of_another_pipeline_fail(
    stages: Stages, task: str, which: str, spoil: Callable[[Facts], None], words: str
) -> None:
    right = load(stages, task, which)
    judge(right)
    said = message(judge, spoiled(right, spoil))
    assert "does not answer as the original in float32" in said
    assert words in said


@pytest.mark.parametrize(
    ("change", "agrees"), [({"num_beams": 3}, True), ({"min_length": 30}, False)]
)
def test_another_generation_configuration_is_seen_where_its_text_is_less_probable(
    stages: Stages, tmp_path: Path, change: dict[str, int], agrees: bool
) -> None:
    """A search that looks further finds the same here; one that may not end answers otherwise."""
    folder = folder_like(load(stages, "seq2seq", "int8:optimum-intel:path"), tmp_path / "model")
    config = folder / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    source = Path(load(stages, "seq2seq", "transformers:path").path)
    said = problems_of(measured(stages, "seq2seq", source, folder), "int8")
    assert ("agreement" not in said) == agrees
    if not agrees:
        assert said["agreement"].startswith("by the repository's own generation configuration '")
        assert "apart, allowed 0.1" in said["agreement"]


SERVED = [
    ("embedding", "transformers:name"),
    ("embedding", "sentence-transformers:name"),
    ("embedding", "int8:optimum-intel:path"),
    ("reranker", "int8:optimum-intel:path"),
    ("seq2seq", "transformers:name"),
    ("seq2seq", "int8:optimum-intel:path"),
]


def mixed_up(facts: Facts) -> None:
    """The second thread gets each answer to the other question."""
    answers = facts["at_once"][1]
    if "vectors" in answers:
        answers["vectors"] = dict(
            zip(answers["vectors"], [*answers["vectors"].values()][::-1], strict=True)
        )
    elif "logits" in answers:
        (*first, logit), (*second, other) = answers["logits"]
        answers["logits"] = [[*first, other], [*second, logit]]
    else:
        first, second = answers["written"]
        first["prompt"], second["prompt"] = second["prompt"], first["prompt"]


def busy(facts: Facts) -> None:
    facts["at_once"][3] = {"error": "RuntimeError: Infer Request is busy"}


@pytest.mark.parametrize(("task", "which"), SERVED)
def test_answers_that_requests_at_once_mix_up_fail(stages: Stages, task: str, which: str) -> None:
    right = load(stages, task, which)
    assert len(right.facts["at_once"]) == 4
    at_once(right)
    assert "(2 problems):\n  request 2: " in message(at_once, spoiled(right, mixed_up))
    said = message(at_once, spoiled(right, busy))
    assert "  request 4: RuntimeError: Infer Request is busy\n" in said


@pytest.mark.parametrize(
    ("task", "spoil"),
    [("embedding", pooled_by_another_token), ("reranker", scaled), ("seq2seq", other_choices)],
)
def test_a_conversion_that_answers_otherwise_as_a_service_runs_it_fails(
    stages: Stages, task: str, spoil: Callable[[Facts], None]
) -> None:
    right = load(stages, task, "int8:optimum-intel:path")
    served(right)
    kind = right.facts["served"]["type"]
    said = message(served, spoiled(right, lambda facts: spoil(facts["served"])))
    assert f"when OpenVINO computes in {kind}, ov-config {{}}" in said


def test_a_type_of_fewer_bits_has_its_own_bounds(stages: Stages) -> None:
    """bfloat16 keeps 8 bits: where the CPU chooses it, the bound is the looser of the two."""
    right = load(stages, "embedding", "int8:optimum-intel:path")
    bounds = right.questions.agreement

    def turned(cosine: float, kind: str) -> Callable[[Facts], None]:
        def spoil(facts: Facts) -> None:
            facts["served"]["type"] = kind
            for text, vector in facts["served"]["vectors"].items():
                facts["served"]["vectors"][text] = at_angle(vector, cosine)

        return spoil

    fp32 = replace(right, load=replace(right.load, precision="fp32"))
    between = bounds["fp32"] - (bounds["fp32"] - bounds["fp16"]) / 2
    served(spoiled(fp32, turned(between, "bf16")))
    served(spoiled(fp32, turned(between, "f16")))
    assert "the lowest cosine" in message(served, spoiled(fp32, turned(between, "f32")))


def at_angle(vector: list[float], cosine: float) -> list[float]:
    """A vector of that cosine with it: some of one that is orthogonal to it is added."""
    length = math.hypot(*vector)
    other = [-vector[1], vector[0], *[0.0] * (len(vector) - 2)]
    sine = math.sqrt(1 - cosine**2) * length / math.hypot(*other)
    return [cosine * a + sine * b for a, b in zip(vector, other, strict=True)]
