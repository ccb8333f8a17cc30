"""Agreement with the original is shown failing: other pooling, other logits, other first tokens."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tests.test_agreement import test_answers_agree_with_the_original as judge
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
    """A search that looks further finds the same here; one that may not end goes astray."""
    folder = folder_like(load(stages, "seq2seq", "int8:optimum-intel:path"), tmp_path / "model")
    config = folder / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    source = Path(load(stages, "seq2seq", "transformers:path").path)
    said = problems_of(measured(stages, "seq2seq", source, folder), "int8")
    assert ("agreement" not in said) == agrees
    if not agrees:
        assert said["agreement"].startswith("by the repository's own generation configuration '")
        assert "apart, allowed 0.1" in said["agreement"]
