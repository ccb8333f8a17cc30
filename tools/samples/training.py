"""What all trainers share: how a model begins, with which arguments, and how its weights end.

A sample's configuration and vocabulary are written by hand, and committed: a new model takes them
as they are. So only weights are made here, and files that save_pretrained of one generation of
transformers would write in another way stay as every consumer reads them.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils.data import BatchSampler, SequentialSampler

PROJECT = Path(__file__).resolve().parents[2]
SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a model can do with texts that it has never met, and the least that is wanted."""

    what: str
    value: float
    wanted: float

    @property
    def enough(self) -> bool:
        """Not a number is never enough."""
        return self.value >= self.wanted

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.3f}, wanted {self.wanted} or more"


def begin() -> None:
    """The same first weights in every run, and one thread.

    At this size two threads only wait for each other, and take ten times as long.
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)


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
    weights: dict[str, torch.Tensor] = {}
    written = set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in written:
            written.add(value.data_ptr())
            weights[name] = value.contiguous()
    path = folder / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)


def questions(task: str) -> dict[str, Any]:
    """What every model of the task is asked by the suite."""
    path = PROJECT / "prep" / "questions" / f"{task}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
