"""The libraries of this interpreter: what is here, what is broken, and what that rules out."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback

PACKAGES = (
    *("torch", "transformers", "sentence-transformers", "optimum-intel", "optimum", "openvino"),
    *("nncf", "huggingface-hub", "tokenizers", "safetensors"),
)
# Each with the names that it imports lazily and that loads will need: taken before any fork.
MODULES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "transformers": (
        *("AutoModel", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM"),
        *("AutoTokenizer", "PreTrainedModel"),
    ),
    "sentence_transformers": ("SentenceTransformer", "CrossEncoder"),
    "sentence_transformers.models": (),
    "optimum.intel": (
        *("OVModelForFeatureExtraction", "OVModelForSequenceClassification"),
        *("OVModelForSeq2SeqLM", "OVWeightQuantizationConfig"),
    ),
    "openvino": (),
}
NEEDED = {
    "transformers": ("torch", "transformers"),
    "transformers-slow": ("torch", "transformers"),
    "sentence-transformers": ("sentence_transformers",),
    "optimum-intel": ("optimum.intel", "openvino"),
    "sentence-transformers-openvino": ("sentence_transformers", "optimum.intel", "openvino"),
}


def import_all() -> dict[str, str]:
    """Import what is here; gives what is here and cannot be imported, each with its error."""
    tried = {name: _error_of(name) for name in MODULES if is_here(name)}
    return {name: error for name, error in tried.items() if error is not None}


def _error_of(name: str) -> str | None:
    """Import a module and its lazy names; the loads that need a broken module fail with it too."""
    try:
        module = importlib.import_module(name)
        _ = [getattr(module, lazy, None) for lazy in MODULES[name]]
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def versions() -> dict[str, str]:
    """The versions of the libraries that are here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def lacking(task: str, consumer: str) -> str | None:
    """Why this interpreter cannot be such a consumer, None where it can."""
    absent = [name for name in NEEDED[consumer] if not is_here(name)]
    found = versions()
    if consumer == "transformers-slow" and _major(found.get("transformers", "0")) < 5:
        absent += [name for name in ("sentencepiece",) if not is_here(name)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if (task, consumer) == ("reranker", "sentence-transformers-openvino"):
        package = sys.modules.get("sentence_transformers")  # absent where its import failed
        encoder = getattr(package, "CrossEncoder", None)
        if encoder and "backend" not in inspect.signature(encoder).parameters:
            return f"not offered by sentence-transformers {found['sentence-transformers']}"
    return None


def is_here(module: str) -> bool:
    """Whether it is installed, broken or not."""
    package, _, inner = module.partition(".")
    found = importlib.util.find_spec(package)
    if found is None or not inner:
        return found is not None
    # Not find_spec of the whole name: that imports the package, and whatever is wrong with it.
    where = found.submodule_search_locations
    return importlib.machinery.PathFinder.find_spec(module, where) is not None


def _major(version: str) -> int:
    return int(version.partition(".")[0])
