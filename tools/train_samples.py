"""Train a model of the form of a committed sample, or judge one.

    python -m venv .venv-tools && .venv-tools/bin/pip install -r tools/requirements.txt
    .venv-tools/bin/python -m tools.train_samples embedding --out DIR
    .venv-tools/bin/python -m tools.train_samples embedding --judge DIR

A model is written only if it has the skill that its card claims, on sentences that were not in its
training; else the exit code is 1. The committed samples (sample_hub/repos) were trained by loops of
our own, before these; a new model has their files and their skill, but other weights, and needs
goldens of its own. None of this runs in the suite or in its tests.
"""

import argparse
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prep.tasks.registry import TASKS

log = logging.getLogger("tools.train_samples")

SAMPLES = Path(__file__).resolve().parents[1] / "sample_hub" / "repos" / "model-prep-samples"


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
    trainer = importlib.import_module(f"tools.samples.{options.task}")
    trainer.training.begin()
    if options.judge:
        return 0 if _is_skilled(trainer, options.judge) else 1

    out: Path = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        made = Path(scratch) / out.name
        # All but the weights is the sample's own: its configuration, its vocabulary and its card.
        weights = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(SAMPLES / f"tiny-{options.task}", made, ignore=weights)
        trainer.train(made, options.steps or trainer.STEPS)
        if not _is_skilled(trainer, made):
            log.error("%s is not written: the model lacks the skill", out)
            return 1
        made.rename(out)
    log.info("wrote %s", out)
    return 0


def _is_skilled(trainer: object, folder: Path) -> bool:
    skills = trainer.judge(folder)  # type: ignore[attr-defined]
    for what, value, least in skills:
        log.info("%s: %.3f, wanted at least %s", what, value, least)
    return all(value >= least for _, value, least in skills)  # NaN is never enough


if __name__ == "__main__":
    sys.exit(main())
