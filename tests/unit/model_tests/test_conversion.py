"""Each check of a conversion's content is shown failing, on real conversions of each task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_tests import test_conversion
from prep.stages.converted import Converted
from prep.stages.pipeline import Stages
from prep.tasks.measure import Agreement
from prep.tasks.registry import TASKS
from tests.support.real_loads import (
    TensorChange,
    called_int8,
    change_weights,
    content_message,
    converted,
    folder_like,
    load,
    measured,
    negated,
    problems_of,
    renamed,
    spec_of,
    zeroed,
)

TASK = "embedding"


@pytest.mark.parametrize(
    ("task", "elements"), [("embedding", 90624), ("reranker", 100480), ("seq2seq", 193728)]
)
def test_float32_weights_called_int8_are_seen(
    stages: Stages, tmp_path: Path, task: str, elements: int
) -> None:
    """A real conversion, whose answers are the best there are."""
    source = Path(load(stages, task, "transformers:name").path)
    content = measured(stages, task, source, converted(stages, task, source, tmp_path / "made"))
    assert problems_of(content, "fp32") == {}
    wrong = called_int8(stages, task, content)
    said = content_message(wrong, "weights")
    assert f"tiny-{task}: the int8 conversion is wrong (1 problem):" in said
    assert f"0% of the weights are int8, wanted at least 95% (elements: {elements} f32)" in said
    for aspect in ("tokenizer", "agreement"):
        test_conversion.test_content_is_right(wrong, aspect)


@pytest.mark.parametrize(
    ("task", "change", "begins", "ends", "contradictions"),
    [
        pytest.param(
            "embedding",
            renamed("encoder."),
            "the lowest cosine to the PyTorch original is ",
            "wanted at least 0.99999",
            0,
            id="embedding: random encoder",
        ),
        pytest.param(
            "reranker",
            negated("classifier.out_proj."),
            "the greatest difference of a logit to the PyTorch original's, of their spread, is 1.",
            "wanted at most 0.0001",
            12,  # one for each query
            id="reranker: negated head",
        ),
        pytest.param(
            "seq2seq",
            zeroed("EncDecAttention.o"),
            "the share of the PyTorch original's tokens that come first here as well is 0.",
            "wanted at least 0.99",
            1,  # what it writes by the repository's own configuration
            id="seq2seq: no encoder",  # shown the original's tokens, it guesses many of them
        ),
    ],
)
def test_conversion_of_other_weights_is_seen(
    stages: Stages,
    tmp_path: Path,
    task: str,
    change: TensorChange,
    begins: str,
    ends: str,
    contradictions: int,
) -> None:
    right = load(stages, task, "transformers:name")
    folder = folder_like(right, tmp_path / "model")
    change_weights(folder, change)
    made = converted(stages, task, folder, tmp_path / "made")
    content = measured(stages, task, Path(right.path), made, "fp32")
    problems = problems_of(content, "fp32")
    assert list(problems) == ["agreement"]
    assert problems["agreement"].startswith(begins)
    assert problems["agreement"].endswith(ends)
    assert len(content.agreement.contradictions) == contradictions
    if contradictions:
        best = 0.0 if TASKS[task].measure.at_most else 1.0
        near = replace(content, agreement=replace(content.agreement, value=best))
        said = content_message(called_int8(stages, task, near), "agreement")
        assert all(contradiction in said for contradiction in content.agreement.contradictions)
        words = {
            "reranker": " comes first, not 'The forecast says it will be rainy tomorrow, so take",
            "seq2seq": "is answered ",
        }
        assert words[task] in said


@pytest.mark.parametrize(
    ("aspect", "spoil"),
    [
        ("weights", {"elements": {"f32": 100, "u8": 1}}),
        ("tokenizer", {"vocabulary": 5}),
        ("agreement", {"agreement": Agreement(finite=True, value=0.5)}),
        ("agreement", {"agreement": Agreement(finite=False, value=1.0)}),
    ],
)
def test_wrong_content_of_a_conversion_is_seen(
    stages: Stages, aspect: str, spoil: dict[str, Any]
) -> None:
    right: Converted = stages.converted(spec_of(stages, TASK), "int8")
    test_conversion.test_content_is_right(right, aspect)
    assert right.content is not None
    wrong = called_int8(stages, TASK, replace(right.content, **spoil))
    assert list(wrong.content_problems) == [aspect]
    assert wrong.content_problems[aspect] in content_message(wrong, aspect)
