"""What all consumers share: how a model is named to them, and what is recorded of every load."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from prep.sandbox.probe.serving import PerThread, type_name

Facts = dict[str, Any]

# Their positions begin behind the padding's, so that as many fewer tokens fit.
POSITIONS_AFTER_PADDING = (
    *("camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
LIMIT = 512  # tokens of a text, where the tokenizer names no limit of its own
UNLIMITED = 1 << 20  # what transformers gives a tokenizer without one is far above
BATCH = 8  # texts in a batch, and in the one that is compared with texts alone
LONG = 300  # characters: a longer text would pad a whole batch to its length, and prove no more


class Way:
    """How a load names the model: `target` is a repository's name or a path.

    `hub` are the arguments of every load of it: ``revision`` (a commit), ``cache_dir``. Of a
    translator, `languages` are ``source`` and ``target``, by the tokenizer's own codes.
    """

    def __init__(
        self,
        *,
        target: str,
        revision: str | None = None,
        below: str | None = None,
        cache_dir: str | None = None,
        home: str | None = None,
        shown: str | None = None,
        languages: dict[str, str] | None = None,
    ) -> None:
        """`below` and `cache_dir` are paths below the home, which is `shown` to this process."""
        self.home, self.shown = home, shown
        self.converted: PerThread | None = None  # what `load_converted` loaded
        self.languages = languages or {}
        self.target = os.path.join(shown, below) if shown and below is not None else target
        self.hub: Facts = {"revision": revision, "trust_remote_code": False}
        if cache_dir is not None and shown is not None:
            self.hub["cache_dir"] = os.path.join(shown, cache_dir)

    def real(self, path: Any) -> str:
        """A path in the shown home as it is called in the real one."""
        text = str(path)
        if self.shown and self.home and f"{text}/".startswith(f"{self.shown}/"):
            return self.home + text[len(self.shown) :]
        return text


def float32() -> Facts:
    """The argument of a load that computes in float32, whatever the weights are published in."""
    import torch
    import transformers

    name = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
    return {name: torch.float32}


def load_original(
    kind: Any, way: Way, tokenizing: Facts | None = None, **how: Any
) -> tuple[Any, Any, Facts]:
    """Tokenizer and model by an auto class of transformers, and what it says of the weights."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(way.target, **way.hub, **(tokenizing or {}))
    model, loading = kind.from_pretrained(way.target, output_loading_info=True, **way.hub, **how)
    model.eval()
    return (
        tokenizer,
        model,
        {
            "dtype": str(model.dtype).replace("torch.", ""),
            "missing": sorted(map(str, loading["missing_keys"])),
            "unexpected": sorted(map(str, loading["unexpected_keys"])),
        },
    )


def ov_config(**more: str) -> Facts:
    """How OpenVINO computes: in float32, and in as many threads as PyTorch.

    Newer CPUs compute in bfloat16 by default, which is too coarse for published goldens.
    """
    import torch

    threads = str(torch.get_num_threads())
    return {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, **more}


def load_converted(kind: Any, way: Way, **config: str) -> tuple[Any, Any, Facts]:
    """Tokenizer and model by a class of optimum-intel, and `openvino_facts`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(way.target, trust_remote_code=False)
    model = kind.from_pretrained(way.target, ov_config=ov_config(**config), trust_remote_code=False)
    way.converted = PerThread(model)
    return tokenizer, way.converted, openvino_facts(model, way)


def openvino_facts(model: Any, way: Way) -> Facts:
    """Which folder an OpenVINO model was read from, and how this CPU computes by default."""
    from openvino import Core

    default = Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return {"read_from": way.real(model.model_save_dir), "cpu_default": type_name(default)}


def dtype_of(model: Any) -> str:
    """What most of a model's weights are computed in, as PyTorch calls it."""
    weights = max(model.parameters(), key=lambda weight: weight.numel(), default=None)
    return str(weights.dtype).replace("torch.", "") if weights is not None else "float32"


def ids_of(tokenizer: Any, texts: Sequence[str], limit: int) -> dict[str, Facts]:
    """Per text its tokens as ids and as pieces, with special ones and without; cut at `limit`."""
    how = {"padding": False, "truncation": True, "max_length": limit}
    found = {}
    for text in texts:
        ids = tokenizer(text, **how)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False, **how)["input_ids"]
        found[text] = {
            "ids": ids,
            "pieces": tokenizer.convert_ids_to_tokens(ids),
            "plain-ids": plain,
            "plain-pieces": tokenizer.convert_ids_to_tokens(plain),
        }
    return found


def limit_of(tokenizer: Any, config: Any = None) -> int:
    """How many tokens a text may have: for the tokenizer, and for the model of this `config`.

    `LIMIT` where neither names a number.
    """
    limits = [named] if (named := tokenizer.model_max_length) < UNLIMITED else []
    if positions := getattr(config, "max_position_embeddings", None):
        after = config.model_type in POSITIONS_AFTER_PADDING
        limits.append(positions - (config.pad_token_id + 1 if after else 0))
    return min(limits, default=LIMIT)


def each_alone(ask: Callable[[Any], Any], questions: Sequence[Any]) -> tuple[list[Any], float]:
    """The answer to each question asked alone, and the median seconds of an answer."""
    answers, seconds = [], []
    for question in questions:
        began = time.perf_counter()
        answers.append(ask(question))
        seconds.append(time.perf_counter() - began)
    return answers, statistics.median(seconds) if seconds else 0.0


def each(
    ask: Callable[[list[Any]], list[Any]], questions: Sequence[Any], together: Sequence[Any]
) -> tuple[list[Any], float]:
    """The answer to each question, and the median seconds of one that is asked alone.

    Those of `together` come in batches of `BATCH`, in their order, but for long ones. Alone they
    would take two or three times as long; whether a batch answers otherwise, the others tell.
    """
    batched = [each for each in questions if each in together and len("".join(each)) <= LONG]
    single = [each for each in questions if each not in batched]
    answers, latency = each_alone(lambda question: ask([question])[0], single)
    for first in range(0, len(batched), BATCH):
        batch = batched[first : first + BATCH]
        answers += (got := ask(batch))
        if len(got) != len(batch):
            raise ValueError(f"a batch of {len(batch)} questions got {len(got)} answers")
    asked = [*single, *batched]
    return [answers[asked.index(question)] for question in questions], latency


def batch_of(lengths: Sequence[int]) -> list[int]:
    """Which texts of such lengths (characters) stand in a batch: `BATCH`, from short to long.

    Others would show nothing more: what moves an answer is that it is padded. Where all are long,
    the two shortest.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    short = [number for number in order if lengths[number] <= LONG] or order[:2]
    if len(short) <= BATCH:
        return short
    return [short[place * (len(short) - 1) // (BATCH - 1)] for place in range(BATCH)]


def largest_gap(some: Sequence[float], others: Sequence[float]) -> float:
    """The greatest difference of two rows of numbers; NaN, or another length, is infinitely far."""
    if len(some) != len(others):
        return math.inf
    gaps = [abs(a - b) for a, b in zip(some, others)]
    return math.inf if any(math.isnan(gap) for gap in gaps) else max(gaps)
