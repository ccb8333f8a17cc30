"""The last steps: types of numbers, shards, pickles and pull requests, files that are not there."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tools.zoo.files import read_json, write_json
from tools.zoo.rows import Row

CODE = "# Code of the repository's own, which nothing may run.\nraise SystemExit('it was run')\n"


def revisions(whole: Path, out: Path, row: Row) -> None:
    """`whole` as the row's repository has it: one folder for every revision."""
    for name in row.get("lacks", ()):
        (whole / name).unlink()
    _cast(whole, row.get("dtype", "float32"))
    if "code" in row:
        _add_code(whole, row)
    if "shards" in row:
        _shard(whole, int(row["shards"].removesuffix("KB")) * 1000)
    if row.get("dense-bin"):
        for dense in whole.glob("*_Dense"):
            _pickle(dense)
    for name in row.get("also", ()):
        torch.save({"weight": torch.zeros(1, 64)}, whole / name)
    _card(whole, row)
    if "pickle" in row:
        main = out / "main"
        shutil.copytree(whole, main)
        _pickle(main)
        if row["pickle"]:
            whole.rename(out / f"refs-pr-{row['pickle']}")
    else:
        out.mkdir()
        whole.rename(out / "main")


def revision_of(folder: Path) -> str:
    """The name that the hub gives to such a folder: main, or refs/pr/N."""
    return folder.name.replace("refs-pr-", "refs/pr/")


def _cast(folder: Path, dtype: str) -> None:
    for path in (folder / "model.safetensors", *folder.glob("*_Dense/model.safetensors")):
        if path.exists() and (dtype != "float32" and path.parent == folder):
            weights = {n: t.to(getattr(torch, dtype)) for n, t in load_file(path).items()}
            save_file(weights, path, metadata={"format": "pt"})
    config = folder / "config.json"
    if dtype != "float32":
        data = read_json(config)
        data["dtype" if "dtype" in data else "torch_dtype"] = dtype
        write_json(config, data)


def _shard(folder: Path, limit: int) -> None:
    """model-0000N-of-0000M.safetensors, each up to `limit` bytes, and their index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: list[dict[str, torch.Tensor]] = [{}]
    for name, tensor in weights.items():
        if shards[-1] and sum(map(_size, shards[-1].values())) + _size(tensor) > limit:
            shards.append({})
        shards[-1][name] = tensor
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    total = sum(map(_size, weights.values()))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_json(folder / "model.safetensors.index.json", index)


def _size(tensor: torch.Tensor) -> int:
    return int(tensor.nbytes)


def _pickle(folder: Path) -> None:
    """pytorch_model.bin in place of model.safetensors."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _add_code(folder: Path, row: Row) -> None:
    """auto_map in config.json, and the file where the code is the repository's own."""
    config = read_json(folder / "config.json")
    names: Mapping[str, str] = {
        "AutoConfig": "configuration.Config",
        "AutoModel": "modeling.Model",
    }
    config["auto_map"] = {key: row["code"] + name for key, name in names.items()}
    config["model_type"] = row.get("type", config["model_type"])
    write_json(folder / "config.json", config)
    if not row["code"].endswith("--"):
        config["auto_map"] = dict(names)
        write_json(folder / "config.json", config)
        for name in names.values():
            (folder / f"{name.partition('.')[0]}.py").write_text(CODE)
    if "module" in row:
        modules = read_json(folder / "modules.json")
        modules[0]["type"] = row["module"]
        write_json(folder / "modules.json", modules)
        (folder / "custom_st.py").write_text(CODE)


def _card(folder: Path, row: Row) -> None:
    license = row.get("license", "apache-2.0")
    text = f"---\nlicense: {license}\n---\n\nA stand-in of {row['of']}, for tests of model-prep.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def save_again(folder: Path, model: Any) -> None:
    """As the installed sentence-transformers saves it, and nothing that was there before."""
    for path in [*folder.iterdir()]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    model.save_pretrained(str(folder), create_model_card=False)


def add_logit_score(folder: Path) -> None:
    """modules.json of a causal model whose answer is "yes" or "no"."""
    vocabulary = json.loads((folder / "vocab.json").read_bytes())
    prefix = "sentence_transformers."
    kinds = {"": "base.modules.transformer.Transformer"}
    kinds["1_LogitScore"] = "cross_encoder.modules.logit_score.LogitScore"
    lines = [
        {"idx": number, "name": str(number), "path": path, "type": prefix + kind}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    write_json(folder / "modules.json", lines)
    score = {"true_token_id": vocabulary["on"], "false_token_id": vocabulary["off"]}
    write_json(folder / "1_LogitScore" / "config.json", score)
    write_json(folder / "sentence_bert_config.json", {"transformer_task": "text-generation"})
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"},
    )
