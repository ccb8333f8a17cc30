"""Train a model like one of the samples of the embedded hub.

python -m tools.train_samples embedding --out DIR
"""

import importlib
import sys

from tools.samples import run

TASKS = ("embedding", "reranker", "seq2seq")

if __name__ == "__main__":
    task, *arguments = sys.argv[1:] or [""]
    if task not in TASKS:
        sys.exit(f"usage: python -m tools.train_samples {{{','.join(TASKS)}}} [--out DIR]")
    sys.exit(run(importlib.import_module(f"tools.samples.{task}").TRAINER, arguments))
