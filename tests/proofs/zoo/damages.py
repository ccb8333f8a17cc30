"""What only these models can suffer, done to a home in which they are ready."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.home.layout import Home
from tests.proofs.zoo.rows import ROWS, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """`do` is given a file of the row's model; the verdict then names that file."""

    name: str
    row: Row
    file: str
    converted: bool
    do: Callable[[Path], object]

    def to(self, root: Path) -> None:
        """Do it to this home."""
        home = Home(root)
        if self.converted:
            self.do(home.stable(self.row.repo, "int8").resolve() / self.file)
            return
        [snapshot] = (home.repo(self.row.repo) / "snapshots").iterdir()
        self.do(snapshot / self.file)


def _unlink(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    """Half of the blob's bytes are others, as many as before."""
    blob = path.resolve()
    content = blob.read_bytes()
    _replace(blob, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        data = json.loads(path.read_bytes())
        change(data)
        _replace(path, json.dumps(data).encode())

    return do


def _mean(pooling: Any) -> None:
    pooling |= {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def _sigmoid(config: Any) -> None:
    config["activation_fn"] = "torch.nn.modules.activation.Sigmoid"


def _swap_languages(tokenizer: Any) -> None:
    names = {"eng_Latn": "deu_Latn", "deu_Latn": "eng_Latn"}
    for token in tokenizer["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])


def _damage(
    name: str, row: str, file: str, do: Callable[[Path], object], converted: bool = True
) -> Damage:
    return Damage(name=name, row=ROWS[row], file=file, do=do, converted=converted)


_DENSE, _PIPELINE = "2_Dense/model.safetensors", "config_sentence_transformers.json"
DAMAGES = (
    _damage("dense lost", "distiluse", _DENSE, _unlink),
    _damage("dense lost by the hub's cache", "distiluse", _DENSE, _unlink, converted=False),
    _damage("activation lost", "cross-encoder-saved-by-6", _PIPELINE, _unlink, converted=False),
    _damage("another activation", "cross-encoder-saved-by-6", _PIPELINE, _edit(_sigmoid)),
    _damage("another pooling", "bge-small", "1_Pooling/config.json", _edit(_mean)),
    _damage("languages swapped", "nllb-pull-request", "tokenizer.json", _edit(_swap_languages)),
    _damage("spm corrupt", "opus-mt-pull-request", "source.spm", _flip, converted=False),
    _damage("spm of deberta lost", "deberta-spm-only", "spm.model", _unlink, converted=False),
)
