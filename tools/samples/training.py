"""What all trainers share: the arguments of a trainer, and how the weights are written.

A sample's configuration and vocabulary are written by hand, and committed: a new model takes them
as they are. So only weights are made here, and files that save_pretrained of one generation of
transformers would write in another way stay as every consumer reads them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch.utils.data import BatchSampler, SequentialSampler

SEED = 0


class Measured(NamedTuple):
    """What a model can do with texts that were not in its training, and the least wanted."""

    what: str
    value: float
    least: float


def arguments(
    kind: type[Any], folder: Path, *, steps: int, batch: int, rate: float, **others: object
) -> Any:
    """The arguments of a trainer of that kind."""
    common: dict[str, object] = {
        "output_dir": str(folder.parent / "trainer"),
        "max_steps": steps,
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
    return kind(**common | others)


def in_order(dataset: Any, batch_size: int, drop_last: bool, **_: object) -> Any:
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
