"""Train a model of the form of a committed sample, or judge one.

    python -m venv .venv-tools && .venv-tools/bin/pip install -r tools/requirements.txt
    .venv-tools/bin/python -m tools.train_samples embedding --out DIR
    .venv-tools/bin/python -m tools.train_samples embedding --judge DIR

A model is written only if it has the skill that its card tells of, on sentences that it has never
met; else the exit code is 1. The committed samples (sample_hub/repos) were trained by loops of our
own, before these; a new model has their files and their skill, but other weights, and goldens of
its own to be recorded. None of this runs in the suite or in its tests.
"""

import argparse
import importlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.samples.training import Measured

log = logging.getLogger("tools.train_samples")

SAMPLES = Path(__file__).resolve().parents[1] / "sample_hub" / "repos" / "model-prep-samples"
TASKS = ("embedding", "reranker", "seq2seq")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the model has the skill, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train_samples", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("task", choices=TASKS)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="DIR", help="train, and write the model here")
    what.add_argument("--judge", type=Path, metavar="DIR", help="only judge this model")
    parser.add_argument("--steps", type=int, help="train for so many steps, for a trial")
    options = parser.parse_args(arguments)
    if options.out and options.out.exists():
        parser.error(f"{options.out} exists; name a folder that does not")

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # tokenizers would start threads of its own, and warn when something forks after that.
        "TOKENIZERS_PARALLELISM": "false",
    }
    log.info("loading the libraries")
    trainer = importlib.import_module(f"tools.samples.{options.task}")
    importlib.import_module("tools.samples.training").begin()
    if options.judge:
        return 0 if _skilled(trainer.judge(options.judge)) else 1

    started = time.monotonic()
    out: Path = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        made = Path(scratch) / out.name
        # All but the weights is the sample's own: its configuration, its vocabulary and its card.
        weights = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(SAMPLES / f"tiny-{options.task}", made, ignore=weights)
        trainer.train(made, options.steps or trainer.STEPS)
        log.info("trained in %.0f s", time.monotonic() - started)
        if not _skilled(trainer.judge(made)):
            log.error("%s is not written: the model has not the skill that is wanted", out)
            return 1
        made.rename(out)
    log.info("wrote %s", out)
    return 0


def _skilled(measured: "Sequence[Measured]") -> bool:
    for one in measured:
        log.log(logging.INFO if one.enough else logging.ERROR, "%s", one)
    return all(one.enough for one in measured)


if __name__ == "__main__":
    sys.exit(main())
