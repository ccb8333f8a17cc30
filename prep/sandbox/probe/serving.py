"""As a service runs a model: requests side by side, and OpenVINO computing as it does by itself."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Facts = dict[str, Any]
REQUESTS = 4  # at once


class PerThread:
    """A model of optimum-intel of which each other thread has its own infer requests.

    Two threads that share one would get each other's answers, or an error that it is busy. Another
    thing with another `duplicate` of its own for each thread.
    """

    def __init__(self, model: Any, duplicate: Callable[[Any], Any] | None = None) -> None:
        own = threading.local()
        duplicate = duplicate or _with_own_requests
        self.__dict__.update(
            _model=model, _duplicate=duplicate, _main=threading.get_ident(), _own=own
        )

    def _of_thread(self) -> Any:
        if threading.get_ident() == self._main:
            return self._model
        if not hasattr(self._own, "model"):
            self._own.model = self._duplicate(self._model)
        return self._own.model

    def __call__(self, *args: Any, **more: Any) -> Any:
        """As the model, by this thread's infer requests."""
        return self._of_thread()(*args, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_thread(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._of_thread(), name, value)


def _with_own_requests(model: Any) -> Any:
    """A shallow copy, which shares the compiled networks."""
    own = copy.copy(model)
    parts = getattr(model, "components", None) or {}
    for name, part in parts.items():
        setattr(own, name, _with_own_request(part))
    return own if parts else _with_own_request(own)


def _with_own_request(part: Any) -> Any:
    from openvino import CompiledModel

    own = copy.copy(part)
    if _keeps_state(part.request):
        # Requests of one compiled network that keeps state get in each other's way in openvino
        # 2026.4: 1 of 60 answers of four threads ended in "Eltwise shape infer input shapes dim
        # index: 3 mismatch".
        own.request = None
        own.compile()
    elif isinstance(part.request, CompiledModel):
        own.request = CompiledModel(part.request)
    elif part.request is not None:
        own.request = part.request.get_compiled_model().create_infer_request()
    return own


def _keeps_state(request: Any) -> bool:
    """Whether it is a request that remembers something from answer to answer."""
    return bool(getattr(request, "query_state", list)())


def at_once(answer: Callable[[], Facts]) -> list[Facts]:
    """The answers of `REQUESTS` threads that begin together; an error in place of an answer.

    A first answer sets the tokenizer's limits: several threads that change them are "Already
    borrowed", which a service meets in its first moment at most.
    """
    answer()
    together = threading.Barrier(REQUESTS)

    def request(number: int) -> Facts:
        together.wait()
        try:
            return answer()
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(request, range(REQUESTS)))


def compile_as_served(model: PerThread, config: dict[str, str]) -> str:
    """Compile again without settings of ours: openvino 2026.4 crashes when it compiles a qwen3 for
    a single thread in bfloat16, which a service with more cores never sees.

    Gives the type that it computes in then: ``f32``, ``bf16`` or ``f16``.
    """
    parts = list((getattr(model, "components", None) or {}).values())
    for part in parts or [model]:
        part.ov_config = {
            "PERFORMANCE_HINT": "LATENCY",  # as optimum-intel has it by default
            **config,
        }
    model.clear_requests()
    model.compile()
    request = (parts or [model])[0].request
    compiled = getattr(request, "get_compiled_model", lambda: request)()
    return type_name(compiled.get_property("INFERENCE_PRECISION_HINT"))


def type_name(kind: Any) -> str:
    """What OpenVINO computes in, as its documents call it."""
    names = {"float": "f32", "float16": "f16", "bfloat16": "bf16"}
    name = getattr(kind, "get_type_name", lambda: str(kind))()
    return names.get(name, name)
