"""The libraries of this interpreter: what is here, what is broken, and what that rules out."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable

PACKAGES = (
    *("torch", "transformers", "sentence-transformers", "optimum-intel", "optimum", "openvino"),
    *("openvino-tokenizers", "openvino-genai"),
    *("nncf", "huggingface-hub", "tokenizers", "safetensors"),
)
# Each with names that it imports lazily and that all loads need; a task's module has its own.
MODULES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "transformers": ("AutoTokenizer", "PreTrainedModel"),
    "sentence_transformers": (),
    "sentence_transformers.models": (),
    "optimum.intel": ("OVWeightQuantizationConfig",),
    "openvino": (),
    "openvino_genai": (),
}
NEEDED = {
    "transformers": ("torch", "transformers"),
    "transformers-slow": ("torch", "transformers"),
    "sentence-transformers": ("sentence_transformers",),
    "optimum-intel": ("optimum.intel", "openvino"),
    "sentence-transformers-openvino": ("sentence_transformers", "optimum.intel", "openvino"),
    "openvino-genai": ("torch", "transformers", "openvino_genai"),
}


def import_all(classes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Import what is here, with these `classes` of modules, before any fork.

    Gives what is here and cannot be imported, each with its error.
    """
    lazy = {module: list(names) for module, names in MODULES.items()}
    for module, name in classes:
        lazy[module].append(name)
    tried = {module: _error_of(module, lazy[module]) for module in MODULES if is_here(module)}
    return {module: error for module, error in tried.items() if error is not None}


def _error_of(name: str, lazy: list[str]) -> str | None:
    """Import a module and its lazy names; the loads that need a broken module fail with it too."""
    try:
        module = importlib.import_module(name)
        _ = [getattr(module, attribute, None) for attribute in lazy]
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


def lacking(consumer: str) -> str | None:
    """Why this interpreter cannot be such a consumer, None where it can."""
    absent = [name for name in NEEDED[consumer] if not is_here(name)]
    found = versions()
    if consumer == "transformers-slow":
        transformers = found.get("transformers", "0")
        if int(transformers.partition(".")[0]) >= 5:
            return f"not offered by transformers {transformers}"
        absent += [] if is_here("sentencepiece") else ["sentencepiece"]
    return f"not installed: {', '.join(absent)}" if absent else None


def use_threads(count: int) -> None:
    """Compute in so many threads, in this process and in what it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def is_here(module: str) -> bool:
    """Whether it is installed, broken or not."""
    package, _, inner = module.partition(".")
    found = importlib.util.find_spec(package)
    if found is None or not inner:
        return found is not None
    # Not find_spec of the whole name: that imports the package, and whatever is wrong with it.
    where = found.submodule_search_locations
    return importlib.machinery.PathFinder.find_spec(module, where) is not None
