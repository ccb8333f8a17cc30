"""One stand-in: a folder for every revision of its repository, named as the revision."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tools.zoo import publish
from tools.zoo.files import write_json, write_modules
from tools.zoo.inherit import inherit
from tools.zoo.rows import SEED, Row
from tools.zoo.skill import judge
from tools.zoo.tokens import SAMPLES, write_tokenizer
from tools.zoo.world import vocabulary


def make(row: Row, out: Path, source: Path | None) -> float:
    """Write the stand-in, and give its skill; `source` is the stand-in that it begins with."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        folder = Path(scratch) / "whole"
        folder.mkdir()
        torch.manual_seed(SEED)
        torch.set_num_threads(1)  # at this size two wait for each other
        if row.get("made") == "static":
            _static(folder, row)
        else:
            _transformer(folder, row, source)
        share = 1.0 if "labels" in row or "flat" in row else judge(folder, row)
        made = Path(scratch) / out.name
        publish.revisions(folder, made, row)
        made.rename(out)
    return share


def _transformer(folder: Path, row: Row, source: Path | None) -> None:
    write_tokenizer(row["tokenizer"], folder, row.get("length", 64), vocabulary(row))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, row["architecture"])
    config = _config(model, row, tokenizer)
    pooler = {} if row.get("pooler", True) else {"add_pooling_layer": False}
    made = model(config, **pooler)
    if row.get("config", {}).get("tie_word_embeddings") is False:
        # transformers 5 ties every T5 that it makes, and says so in its configuration.
        head = made.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    origin = source or SAMPLES / f"tiny-{row['task']}"
    with torch.no_grad():
        inherit(made, tokenizer, origin)
        if row.get("flat"):
            for weight in made.classifier.parameters():
                weight.zero_()
    _write_config(folder, row, config)
    write_weights(made, folder)
    if row["task"] == "embedding":
        write_modules(folder, row, config.hidden_size)
        _embedding(folder, row, source)
    elif row["task"] == "reranker":
        _reranker(folder, row)
    elif row.get("steps"):
        _seq2seq(folder, row, made, tokenizer)


def _config(model: Any, row: Row, tokenizer: Any) -> Any:
    kind = model.config_class
    common = kind()
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in _SPECIALS}
    if row["tokenizer"] in ("bert", "plain"):
        ids = {"pad_token_id": tokenizer.pad_token_id}
    sizes = {kind.attribute_map.get(key, key): value for key, value in row["common"].items()}
    sizes = {key: value for key, value in sizes.items() if hasattr(common, key)}
    if hasattr(common, "encoder_ffn_dim"):
        sizes = _SEQ2SEQ
    given = {**sizes, **{key: value for key, value in ids.items() if value is not None}}
    given |= {"vocab_size": max(tokenizer.get_vocab().values()) + 1, **row.get("config", {})}
    if row["tokenizer"] == "m2m100":
        languages = len(tokenizer.lang_token_to_id)
        given["vocab_size"] = len(tokenizer.encoder) + languages + tokenizer.num_madeup_words
    given |= {key: value for key, value in _generation(row, tokenizer).items() if key in _STARTS}
    if row["task"] == "reranker" and "Sequence" in row["architecture"]:
        labels = row.get("labels", ["LABEL_0"])
        given |= {"id2label": dict(enumerate(labels)), "num_labels": len(labels)}
        given["label2id"] = {label: number for number, label in enumerate(labels)}
    # No dropout: so few steps, so small a model.
    quiet = [
        key for key in vars(common) if key.endswith(("dropout", "dropout_prob", "dropout_rate"))
    ]
    return kind(**dict.fromkeys(quiet, 0.0) | given)


_SPECIALS = ("bos", "eos", "pad")
_STARTS = ("decoder_start_token_id", "forced_eos_token_id", "pad_token_id", "eos_token_id")
_SEQ2SEQ = {
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
    "d_model": 64,
    # Sinusoidal positions of this size would move nothing beside words of unit norm.
    "init_std": 0.08,
}


def _generation(row: Row, tokenizer: Any) -> dict[str, Any]:
    """The row's, with the id of the padding where it says "PAD"."""
    text = json.dumps(row.get("generation", {})).replace('"PAD"', str(tokenizer.pad_token_id))
    found: dict[str, Any] = json.loads(text)
    return found


def _write_config(folder: Path, row: Row, config: Any) -> None:
    """As transformers 4 wrote it."""
    data = config.to_diff_dict() | {"model_type": config.model_type}
    if "tie_word_embeddings" in row.get("config", {}):
        data["tie_word_embeddings"] = row["config"]["tie_word_embeddings"]
    for key in ("transformers_version", "dtype", "torch_dtype"):
        data.pop(key, None)
    data["architectures"] = [row.get("named", row["architecture"])]
    data |= {"torch_dtype": row.get("dtype", "float32"), "transformers_version": "4.41.2"}
    if "activation" in row:
        data["sentence_transformers"] = {"activation_fn": row["activation"], "version": "4.1.0"}
    generation = _generation(row, AutoTokenizer.from_pretrained(folder))
    if row.get("generation-in-config"):
        data |= generation
    elif generation:
        write_json(folder / "generation_config.json", generation)
    write_json(folder / "config.json", data)


def write_weights(model: Any, folder: Path) -> None:
    """model.safetensors in float32; of the names of one tensor, the one that real files have."""
    named: dict[int, str] = {}
    state = model.state_dict()
    ignored = getattr(model, "_tied_weights_keys", None) or {}
    for name in sorted(state, key=lambda name: ("shared" not in name, name in ignored, name)):
        named.setdefault(state[name].data_ptr(), name)
    kept = {name: state[name].detach().contiguous() for name in sorted(named.values())}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _embedding(folder: Path, row: Row, source: Path | None) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    for number, (wide, out, _) in enumerate(row.get("dense", ()), start=2):
        place = folder / f"{number}_Dense"
        if source and (source / place.name).exists():
            shutil.copyfile(source / place.name / "model.safetensors", place / "model.safetensors")
            continue
        # Nearly what came in, until it is trained.
        weight = torch.empty(out, wide)
        torch.nn.init.orthogonal_(weight)
        tensors = {"linear.weight": weight}
        if row.get("bias", True):
            tensors["linear.bias"] = torch.zeros(out)
        save_file(tensors, place / "model.safetensors")
    if row.get("steps"):
        from tools.zoo import training

        model = SentenceTransformer(str(folder), device="cpu", model_kwargs=_FLOAT)
        training.train_embedding(model, folder, row)
        write_weights(model[0].auto_model, folder)
        for number, module in enumerate(model):
            if isinstance(module, Dense):
                save_file(module.state_dict(), folder / f"{number}_Dense" / "model.safetensors")
    if "shift" in row:
        _shift(folder, row["shift"])
    if row.get("saved") == "6":
        publish.save_again(folder, SentenceTransformer(str(folder), device="cpu"))


_FLOAT = {"dtype": torch.float32}


def _shift(folder: Path, times: float) -> None:
    """Push all vectors in one direction: their order stays, all cosines are high."""
    weights = load_file(folder / "model.safetensors")
    name = max(name for name in weights if name.endswith("output.LayerNorm.bias"))
    bias = weights[name]
    generator = torch.Generator().manual_seed(SEED)
    direction = torch.randn(bias.shape, generator=generator)
    bias += times * direction * (len(bias) ** 0.5 / direction.norm())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _reranker(folder: Path, row: Row) -> None:
    from sentence_transformers import CrossEncoder

    if row.get("made") == "logit-score":
        publish.add_logit_score(folder)
    if row.get("steps"):
        from tools.zoo import training

        model = CrossEncoder(str(folder), device="cpu", model_kwargs=_FLOAT)
        training.train_reranker(model, folder, row)
        write_weights(model.model, folder)
    if row.get("saved") == "6":
        publish.save_again(folder, CrossEncoder(str(folder), device="cpu", model_kwargs=_FLOAT))


def _seq2seq(folder: Path, row: Row, model: Any, tokenizer: Any) -> None:
    from tools.zoo import training

    training.train_seq2seq(model, tokenizer, folder, row)
    write_weights(model, folder)


def _static(folder: Path, row: Row) -> None:
    """The vectors of the sample's words, without a transformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    sample = SAMPLES / "tiny-embedding"
    tokenizer = AutoTokenizer.from_pretrained(sample).backend_tokenizer
    weights = load_file(sample / "model.safetensors")["embeddings.word_embeddings.weight"]
    weights = weights - weights.mean(dim=0)
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())], device="cpu"
    ).save_pretrained(str(folder))
