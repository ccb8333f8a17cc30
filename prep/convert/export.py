"""The conversion itself, in a forked child of the import server: optimum-intel on local files."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from prep.errors import ConversionError
from prep.files.patterns import is_weights
from prep.machine.disk import hidden_full
from prep.tasks.registry import TASKS


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
    import optimum.intel

    source, folder = Path(order["source"]), Path(order["folder"])
    options = order["options"]
    model = getattr(optimum.intel, TASKS[order["task"]].export_class).from_pretrained(
        source,
        export=True,
        compile=False,
        local_files_only=True,
        trust_remote_code=False,
        **_weights(options["weights"]),
    )
    if options["weights"] == "f16":
        model.half()
    model.save_pretrained(folder)
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


def _weights(stored: Any) -> dict[str, Any]:
    if stored in ("f32", "f16"):
        return {"load_in_8bit": False}
    from optimum.intel import OVWeightQuantizationConfig

    return {"quantization_config": OVWeightQuantizationConfig(**stored)}
