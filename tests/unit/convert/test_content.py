"""What a conversion must hold: weights of its precision, the original's tokens and answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prep.convert.content import WEIGHTS, Content, _elements
from prep.tasks.measure import Agreement
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS

RIGHT = Content(
    task="embedding",
    elements={"u8": 950, "f32": 50},
    vocabulary=10,
    source_vocabulary=10,
    agreement=Agreement(finite=True, value=0.99),
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
        (
            {"differences": ("'a' becomes 1 tokens (7), not 1 tokens (8)",)},
            "tokenizer",
            (
                "openvino_tokenizer.xml answers otherwise (1 problem):\n"
                "  'a' becomes 1 tokens (7), not 1 tokens (8)"
            ),
        ),
        (
            {"agreement": Agreement(finite=False, value=0.99)},
            "agreement",
            "answers hold NaN or infinity",
        ),
        (
            {"agreement": Agreement(finite=True, value=0.9)},
            "agreement",
            "the lowest cosine to the PyTorch original is 0.9000, wanted at least 0.99",
        ),
        (
            {
                "agreement": Agreement(
                    finite=True, value=0.99, contradictions=("b first", "c first")
                )
            },
            "agreement",
            "b first; c first",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_aspect(
    changes: dict[str, Any], aspect: str, problem: str
) -> None:
    assert replace(RIGHT, **changes).problems("int8", 0.99) == {aspect: problem}


def test_what_is_computed_of_constants_is_no_weight(tmp_path: Path) -> None:
    """By name and by more than two dimensions: a weight that was turned keeps two."""
    import numpy as np
    import openvino
    from openvino import opset13 as ov

    given = ov.parameter([1, 16, 16], np.float32, name="x")
    result = given
    for name, shape in {
        "self.layer.weight": (16, 16),
        "self.convolution.weight": (1, 16, 16),
        "__module.layer/aten::t/Transpose": (16, 16),
        "__module.attention/aten::view/Reshape_7": (2, 16, 16),
    }.items():
        constant = ov.constant(np.zeros(shape, np.float32))
        constant.set_friendly_name(name)
        result = ov.matmul(result, constant, False, False)
    model = openvino.Model([result], [given])
    openvino.save_model(model, tmp_path / "openvino_model.xml", compress_to_fp16=False)
    assert _elements(str(tmp_path)) == {"f32": 3 * 256}


def test_weights_are_matrices_of_at_least_256_numbers(tmp_path: Path) -> None:
    """No vectors, no positions and masks, no sums; and not those of the tokenizer's IR."""
    import numpy as np
    import openvino
    from openvino import opset13 as ov

    given = ov.parameter([16, 16], np.float32, name="x")
    results = [ov.add(given, ov.constant(np.zeros((16, 16), np.float32)))]
    for shape, kind in (
        ((16, 16), np.uint8),
        ((15, 17), np.float32),
        ((256,), np.float32),
        ((16, 16), np.int64),
        ((16, 16), np.int32),
        ((16, 16), np.bool_),
    ):
        results.append(ov.constant(np.zeros(shape, kind)))
    model = openvino.Model(results, [given])
    for name in ("encoder_model", "decoder_model", "tokenizer"):
        openvino.save_model(model, tmp_path / f"openvino_{name}.xml", compress_to_fp16=False)
    assert _elements(str(tmp_path)) == {"f32": 2 * 256, "u8": 2 * 256}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("task", TASKS)
def test_agreement_is_held_to_the_bound_of_its_precision(task: str, precision: str) -> None:
    """The bound itself is kept; a little worse is not, nor is NaN."""
    bound = TASKS[task].questions().agreement[precision]
    worse = bound * (1.01 if TASKS[task].measure.at_most else 0.99)
    right = replace(
        RIGHT,
        task=task,
        elements={WEIGHTS[precision][0]: 1},
        agreement=Agreement(finite=True, value=bound),
    )
    assert right.problems(precision, bound) == {}
    for agreement in (worse, float("nan")):
        wrong = replace(right, agreement=Agreement(finite=True, value=agreement))
        assert list(wrong.problems(precision, bound)) == ["agreement"]
