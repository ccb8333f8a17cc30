"""What the libraries say of an architecture and of a tokenizer, before anything is fetched.

``python -m prep.convert.gates``, one order on stdin: optimum-intel is imported, nothing is loaded.
"""

import sys
from typing import Any

from prep.process.child import Emit, Event, serve_one
from prep.tasks.registry import TASKS


def main(order: Event, emit: Emit) -> Event:
    """For each ``[model type, task]`` of ``order["types"]``: whether it is exported, and
    whether the version of transformers that is here is too new for that. For each of
    ``order["tokenizers"]``, a class or a model type: the codes of languages that it must be told.
    """
    languages = {name: _languages(name) for name in order["tokenizers"]}
    return {"types": _types(order["types"]) if order["types"] else {}, "languages": languages}


def _types(types: list[list[str]]) -> dict[str, Any]:
    import optimum.exporters.openvino.model_configs  # noqa: F401  # registers what it exports
    import transformers
    from optimum.exporters.tasks import TasksManager
    from packaging.version import Version

    found: dict[str, Any] = {}
    for kind, task in types:
        try:
            known = TasksManager.get_supported_tasks_for_model_type(
                kind, exporter="openvino", library_name="transformers"
            )
            config = known[TASKS[task].export_task]
        except KeyError:
            found[f"{kind} {task}"] = {"exported": False, "too-new": False}
            continue
        config = getattr(config, "func", config)
        most = getattr(config, "MAX_TRANSFORMERS_VERSION", None)
        newer = most is not None and Version(transformers.__version__) > Version(str(most))
        found[f"{kind} {task}"] = {"exported": True, "too-new": newer}
    return found


def _languages(name: str) -> list[str]:
    """Empty for a tokenizer that knows no languages. All that do name them in their module."""
    import transformers
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    kind = getattr(transformers, TOKENIZER_MAPPING_NAMES.get(name) or name, None)
    codes = getattr(sys.modules.get(getattr(kind, "__module__", "")), "FAIRSEQ_LANGUAGE_CODES", [])
    if isinstance(codes, dict):  # of several generations, the tokenizer's default
        codes = next(iter(codes.values()))
    return [str(code).strip("_") for code in codes]


if __name__ == "__main__":
    serve_one(main)
