"""The conversion itself, in a forked child of the import server: optimum-intel on local files.

The exporter by itself does much of its work twice: it loads all tokenizers only to write them, it
traces every model three times to compare the traces, and it writes an IR in float32 that it reads
again for 8 bits. All that is left out here; what is written was compared and is the same.
"""

import ctypes
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from prep.errors import ConversionError
from prep.files.patterns import is_weights
from prep.machine.disk import hidden_full
from prep.tasks.registry import TASKS

LARGE_WEIGHT = 1 << 22  # elements: as float32, 16 MiB
# mallopt(3): M_MMAP_THRESHOLD of glibc's malloc.h, in bytes. Set, it stays: else it grows with what
# is freed, and weights that are freed stay with the process.
MMAP_THRESHOLD = (-3, 1 << 20)


def make(order: dict[str, Any]) -> dict[str, Any]:
    """Write the IR and everything its consumers read into ``order["folder"]``.

    A full disk is reported as such, whatever error the libraries raise: before anybody cleans up.
    """
    try:
        return _make(order)
    except Exception as error:
        if full := hidden_full(error, Path(order["folder"]), Path(tempfile.gettempdir())):
            raise full from error
        raise


def _make(order: dict[str, Any]) -> dict[str, Any]:
    source, folder = Path(order["source"]), Path(order["folder"])
    _export(source, folder, order["task"], order["options"]["weights"])
    # The originals' own tokenizer and configuration, byte for byte: the exporter writes them anew,
    # in a form that older consumers do not read.
    for name in order["files"]:
        if is_weights(name):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    if not list(folder.glob("openvino_*.xml")):
        raise ConversionError(f"optimum-intel wrote no IR into {folder.name}")
    return {}


def _export(source: Path, folder: Path, task: str, weights: Any) -> None:
    """Write each model of `source` as an IR, with its weights as they are to be stored.

    `weights` is ``f32``, ``f16`` or what optimum-intel takes as quantisation of weights.
    """
    import optimum.intel
    import torch
    from optimum.exporters.openvino import main_export
    from optimum.intel.openvino.configuration import OVConfig, OVPipelineQuantizationConfig

    ctypes.CDLL(None).mallopt(*MMAP_THRESHOLD)
    kind = getattr(optimum.intel, TASKS[task].export_class)
    quantized = isinstance(weights, Mapping)
    compression = optimum.intel.OVWeightQuantizationConfig(**weights) if quantized else None
    _leave_out_repetition(compression)
    main_export(
        str(source),
        folder,
        task=kind.export_feature + ("-with-past" if TASKS[task].generates else ""),
        ov_config=OVConfig(dtype="fp16" if weights == "f16" else "fp32"),
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
        # By itself it traces 16-bit weights in 16 bits: masks overflow (DeBERTa), and the constants
        # stay in 16 bits, whatever precision is asked for.
        model_loading_kwargs={"torch_dtype": torch.float32},
    )
    if compression is not None:  # as optimum-intel describes to consumers what it compressed
        pipeline = OVPipelineQuantizationConfig({}, default_config=compression)
        OVConfig(quantization_config=pipeline).save_pretrained(folder)


def _leave_out_repetition(compression: Any) -> None:
    """Change the exporter in this process, which ends with this conversion.

    Weights are compressed in memory and saved once. Traces are not compared with each other: the
    check of the content compares answers of what was written with those of the original.
    """
    # By full name: the package has a function that is called like one of its modules.
    exporter = import_module("optimum.exporters.openvino.__main__")
    convert = import_module("optimum.exporters.openvino.convert")
    save = convert.save_model
    if compression is not None:
        _compile_once()

    def compress_and_save(model: Any, path: Path, *how: Any) -> None:
        if compression is not None:
            model = _compressed(model, compression)
        save(model, path, *how)

    _replace(convert, "save_model", compress_and_save)
    _replace(convert, "allow_skip_tracing_check", lambda *_: True)
    _replace(exporter, "load_preprocessors", lambda *_, **__: [])


def _compressed(model: Any, compression: Any) -> Any:
    """The model with compressed weights; written and read before, where nncf cannot follow what is
    computed of constants alone (DeBERTa's positions): openvino folds that as it writes."""
    import openvino
    from nncf.errors import InternalError
    from optimum.intel.openvino.quantization import _weight_only_quantization

    try:
        return _weight_only_quantization(model, compression)
    except InternalError:
        path = Path(tempfile.mkdtemp()) / "folded.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return _weight_only_quantization(openvino.Core().read_model(path), compression)


def _compile_once() -> None:
    """Have nncf keep what it compiles to compress weights of one kind, not one for each weight.

    The results are copied then, as the next weight is written over them. A large weight gets one of
    its own, and no copy: memory counts more there.
    """
    backend = import_module("nncf.quantization.algorithms.weight_compression.openvino_backend")
    functions = import_module("nncf.openvino.optimized_functions.functions")
    compress, apart = backend.compress_weight, backend.disable_results_caching
    shared = functions.OVModelParameters
    copied = partial(shared, share_outputs=False)

    def compress_weight(weight: Any, *how: Any) -> Any:
        large = weight.size > LARGE_WEIGHT
        _replace(backend, "disable_results_caching", apart if large else nullcontext)
        _replace(functions, "OVModelParameters", shared if large else copied)
        return compress(weight, *how)

    _replace(backend, "compress_weight", compress_weight)


def _replace(module: ModuleType, name: str, value: Any) -> None:
    """Set what the module has under that name; AttributeError where a version has no such name."""
    getattr(module, name)
    setattr(module, name, value)
