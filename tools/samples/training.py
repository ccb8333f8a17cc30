"""What all trainers share: a run of a library's trainer, and how the weights are written.

A sample's configuration and vocabulary are written by hand, and committed: a new model takes them
as they are. So only weights are made here, and files that save_pretrained of one generation of
transformers would write in another way stay as every consumer reads them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

SEED = 0
TRAINERS: Mapping[str, tuple[Any, Any]] = {
    "vectors": (SentenceTransformerTrainer, SentenceTransformerTrainingArguments),
    "pairs": (CrossEncoderTrainer, CrossEncoderTrainingArguments),
    "texts": (Seq2SeqTrainer, Seq2SeqTrainingArguments),
}


class Measured(NamedTuple):
    """What a model can do with texts that were not in its training, and the least wanted."""

    what: str
    value: float
    least: float


def fit(
    kind: str,
    model: Any,
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    batch: int,
    rate: float,
    parts: Mapping[str, Any],
    **others: object,
) -> None:
    """Train on `rows`, each once: `parts` are the trainer's, `others` further arguments of it."""
    trainer, arguments = TRAINERS[kind]
    if kind != "texts":
        others["batch_sampler"] = _in_order
    common: dict[str, object] = {
        "output_dir": str(folder.parent / "trainer"),
        "max_steps": len(rows) // batch,
        "per_device_train_batch_size": batch,
        "learning_rate": rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.3,  # the share of them
        "weight_decay": 0.01,
        "seed": SEED,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "logging_steps": 50,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    args = arguments(**common | others)
    trainer(model=model, args=args, train_dataset=Dataset.from_list(rows), **parts).train()


def _in_order(dataset: Any, batch_size: int, drop_last: bool, **_: object) -> Any:
    """For the rows as they are drawn: shuffled, a concept could be a negative of its own."""
    return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)


def write_weights(model: Any, folder: Path) -> None:
    """model.safetensors, where a tensor that has two names is written once, under its first."""
    named = {value.data_ptr(): name for name, value in reversed(model.state_dict().items())}
    weights = {name: model.state_dict()[name].contiguous() for name in named.values()}
    path = folder / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)


def begin() -> None:
    """The same first weights in every run, and one thread: at this size two take ten times as
    long, waiting for each other."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
