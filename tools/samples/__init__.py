"""The workshop: how the sample models of the embedded hub were made.

Nothing here runs when models are prepared or checked. The trained files are committed, pinned by
digest like any other model's; these scripts are kept so that anybody can see that they are honest,
and make them again. What every trainer needs is in this file; the world that the models know is in
``sentences``.

Weights and goldens are written together, and only when the new model has the skill that is asked
of it; otherwise what was there stays, and the exit code is 1.

torch and its friends are imported inside functions throughout: their import takes seconds, and a
run that is silent for seconds looks like one that hangs (see ``heartbeat``).
"""

import argparse
import json
import logging
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

log = logging.getLogger("tools.samples")

SAMPLE_HUB = Path(__file__).resolve().parents[2] / "sample_hub"
OWNER = "model-prep-samples"

BEAT_SECONDS = 1.5

THREADS = 1
"""Sums split over threads are added in another order, and so give other bytes."""

Say = Callable[[str], None]
"""Takes what is being done just now; see `heartbeat`."""


class Skill(Protocol):
    """What a trained model can do, measured."""

    def shortcomings(self) -> list[str]:
        """What is missing: got, wanted. Empty if the model is fit to be published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainer:
    """One sample model and the three things that are done for it.

    `make` trains for so many steps and writes the repo folder, which does not exist yet; `judge`
    and `record` load the written files as a consumer does, and give the skill and the text of the
    goldens.
    """

    name: str
    steps: int
    make: Callable[[Path, int, Say], None]
    judge: Callable[[Path], Skill]
    record: Callable[[Path], str]

    @property
    def repo(self) -> str:
        """The name that a catalogue knows it by."""
        return f"{OWNER}/{self.name}"

    @property
    def folder(self) -> Path:
        """Where its repo is committed."""
        return SAMPLE_HUB / "repos" / OWNER / self.name

    @property
    def goldens(self) -> Path:
        """Where its goldens are committed."""
        return SAMPLE_HUB / "goldens" / f"{self.name}.toml"


def run(trainer: Trainer, arguments: Sequence[str] | None = None) -> int:
    """Train, judge, publish. 0 if the new model has the skill, 1 if the old one stays."""
    parser = argparse.ArgumentParser(description=f"Train {trainer.repo}.")
    parser.add_argument("--out", type=Path, default=trainer.folder, help="the repo folder to write")
    parser.add_argument("--steps", type=int, default=trainer.steps, help="default: %(default)s")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    # Elsewhere the goldens lie beside the folder: a trial must not touch the committed ones.
    goldens = trainer.goldens if out == trainer.folder else out.with_name(f"{out.name}.toml")

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _cut_off()
    started = time.monotonic()
    for folder in (out.parent, goldens.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with heartbeat() as say, tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        made = Path(scratch) / out.name
        trainer.make(made, options.steps, say)
        say("judging")
        skill = trainer.judge(made)
        log.info("after %d steps: %s", options.steps, skill)
        if shortcomings := skill.shortcomings():
            log.error("%s is not written: %s", out, "; ".join(shortcomings))
            return 1
        text = trainer.record(made)
        publish(made, out)
        goldens.write_text(text, encoding="utf-8")
        goldens.chmod(0o644)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    log.info("%s: %d bytes, %.0f s", out, size, time.monotonic() - started)
    return 0


@contextmanager
def heartbeat() -> Iterator[Say]:
    """Say where we are at least every two seconds, whatever the work is busy with.

    Gives a function that takes the present state. A new state may be set as often as one likes;
    only what is current at a beat is logged.
    """
    state = "starting"
    over = threading.Event()

    def say(what: str) -> None:
        nonlocal state
        state = what

    def beat() -> None:
        log.info("%s", state)
        while not over.wait(BEAT_SECONDS):
            log.info("%s", state)

    painter = threading.Thread(target=beat, name="heartbeat", daemon=True)
    painter.start()
    try:
        yield say
    finally:
        over.set()
        painter.join()


@contextmanager
def repeatable(seed: int) -> Iterator[random.Random]:
    """Within: the same seed gives the same bytes, on one machine. Afterwards torch is as before."""
    import torch

    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(True)
        try:
            yield random.Random(seed)
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)


def _cut_off() -> None:
    """Tell the libraries to stay at home. To be called before any of them is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # tokenizers would start threads of its own, and warn when something forks after that.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def publish(made: Path, place: Path) -> None:
    """Put the finished folder `made` at `place`, readable by everybody under any umask.

    Both must be on one file system. What was at `place` is removed last.
    """
    for path in [made, *made.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    # A folder cannot be renamed onto one that is not empty, so the old one steps aside first.
    aside = place.with_name(f".{place.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if place.exists():
        place.rename(aside)
    made.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def rounded(value: float) -> float:
    """Eight significant digits: all that a float32 holds."""
    return float(f"{value:.8g}")


def toml_document(head: Mapping[str, object], tables: Mapping[str, list[dict[str, object]]]) -> str:
    """A TOML text: the plain keys of `head`, then every row of `tables` as a table of its own."""
    parts = [_toml_lines(head)]
    parts += [f"[[{name}]]\n{_toml_lines(row)}" for name, rows in tables.items() for row in rows]
    return "\n".join(parts)


def _toml_lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in table.items())


def _toml_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml_value(one)}' for key, one in value.items())} }}"
    # Strings, numbers, true and false are written alike in JSON and in TOML.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
