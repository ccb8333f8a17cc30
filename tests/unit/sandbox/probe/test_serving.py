"""Requests at once, on a small network of OpenVINO: each thread has its own infer requests."""

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import pytest

from prep.sandbox.probe.serving import (
    REQUESTS,
    Facts,
    PerThread,
    at_once,
    compile_as_served,
    type_name,
)

SIZE = 1 << 20  # numbers: large enough that requests overlap


class Doubling:
    """As a model of optimum-intel: one network, or as parts of several."""

    def __init__(self, *, parts: bool) -> None:
        from openvino import opset15

        given = opset15.parameter([SIZE], np.float32)
        self.model = openvino.Model([opset15.add(given, given)], [given])
        self.ov_config: dict[str, str] = {}
        self.components: dict[str, Any] = {}
        self.request: Any = None
        self.compile()
        if parts:
            self.part = copy.copy(self)
            self.part.request = self.request.create_infer_request()
            self.components = {"part": self.part}

    def compile(self) -> None:
        if self.request is None:
            self.request = openvino.Core().compile_model(self.model, "CPU", self.ov_config)

    def clear_requests(self) -> None:
        self.request = None

    def __call__(self, number: float) -> float:
        request = (self.part if self.components else self).request
        given = np.full(SIZE, number, np.float32)
        if self.components:
            request.infer([given])
            return float(request.get_output_tensor().data.max())
        return float(request([given])[0].max())


def answers(model: Any) -> list[dict[str, Any]]:
    return at_once(lambda: {str(n): model(n) for n in range(20)})


@pytest.mark.parametrize("parts", [False, True])
def test_each_thread_is_answered_for_itself(parts: bool) -> None:
    right = {str(number): 2.0 * number for number in range(20)}
    model = PerThread(Doubling(parts=parts))
    assert model(3) == 6
    assert answers(model) == [right] * REQUESTS
    # What the check is for: a service that shares one infer request.
    shared = answers(Doubling(parts=parts))
    assert shared != [right] * REQUESTS
    assert any("error" in answer for answer in shared)


def test_each_thread_sets_a_translators_tokenizer_for_itself() -> None:
    class Translator:
        """As mBART's: each call sets what another thread may be reading."""

        busy = False

        def __call__(self, text: str) -> str:
            if self.busy:
                raise RuntimeError("Already borrowed")
            self.busy = True
            time.sleep(0.05)
            self.busy = False
            return text.upper()

    assert {"error": "RuntimeError: Already borrowed"} in at_once(used(Translator()))
    own = PerThread(Translator(), copy.deepcopy)
    assert at_once(used(own)) == [{"text": "A"}] * REQUESTS


def used(tokenizer: Callable[[str], str]) -> Callable[[], Facts]:
    return lambda: {"text": tokenizer("a")}


def test_it_is_compiled_again_as_a_service_has_it() -> None:
    model = PerThread(Doubling(parts=False))
    before = model.request
    assert compile_as_served(model, {"INFERENCE_PRECISION_HINT": "f32"}) == "f32"
    assert model.request is not before
    assert model.ov_config["INFERENCE_PRECISION_HINT"] == "f32"
    assert model(3) == 6
    default = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    assert compile_as_served(model, {}) == type_name(default)
    assert "INFERENCE_NUM_THREADS" not in model.ov_config
    with pytest.raises(RuntimeError, match="NO_SUCH_THING"):
        compile_as_served(model, {"NO_SUCH_THING": "1"})
