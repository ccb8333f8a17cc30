"""modules.json and what belongs to it, as sentence-transformers 2 and 3 wrote it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
_LATER_POOLINGS = ("weightedmean_tokens", "lasttoken")


def write_json(path: Path, data: object) -> None:
    """Two blanks deep, as the libraries do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The data of a file."""
    return json.loads(path.read_bytes())


def write_modules(folder: Path, row: Mapping[str, Any], width: int) -> None:
    """All but the weights of a Dense module."""
    prefix = "sentence_transformers.models."
    kinds = ["Transformer", "Pooling", *["Dense"] * len(row.get("dense", ()))]
    kinds += ["Normalize"] if row.get("normalize", True) else []
    lines = []
    for number, kind in enumerate(kinds):
        path = f"{number}_{kind}" if number else ""
        lines.append({"idx": number, "name": str(number), "path": path, "type": prefix + kind})
    write_json(folder / "modules.json", lines)

    pooling, modern = row.get("pooling", "mean"), bool(row.get("prompts"))
    modes = (*_POOLINGS, *_LATER_POOLINGS) if modern or pooling == "lasttoken" else _POOLINGS
    named = {"cls": "cls_token", "mean": "mean_tokens"}.get(pooling, pooling)
    config = {f"pooling_mode_{mode}": mode == named for mode in modes}
    config = {"word_embedding_dimension": width, **config}
    write_json(folder / "1_Pooling" / "config.json", config)

    for number, (wide, out, activation) in enumerate(row.get("dense", ()), start=2):
        function = f"torch.nn.modules.{activation}"
        given = {"in_features": wide, "out_features": out, "bias": row.get("bias", True)}
        given["activation_function"] = function
        write_json(folder / f"{number}_Dense" / "config.json", given)

    length = {"max_seq_length": row.get("length", 64), "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", length | row.get("sentence-bert", {}))
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
    about: dict[str, Any] = {"__version__": versions}
    if row.get("prompts"):
        versions |= {"sentence_transformers": "3.0.1", "transformers": "4.41.2"}
        default = row.get("default-prompt")
        about |= {"prompts": row["prompts"], "default_prompt_name": default}
        about |= {"similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", about)
