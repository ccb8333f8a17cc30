"""The whole suite on a healthy home, again and again.

A verdict that is right nineteen times is a coin that somebody will toss again. Each run is a
user's, ``pytest --offline -n 2``, on all three sample models; the first prepares the home.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sample_hub.server import Hub, sample_repos
from tests.support.runs import Run, sample

SHOWN = 40  # lines of a run that was not green
READY = ("tiny-embedding  ready", "tiny-reranker   ready", "tiny-seq2seq    ready")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, tell each, and tell how many were green; 1 unless all were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--home", type=Path, help="prepare here, or use what is there")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="steady-") as scratch:
        home = wanted.home or Path(scratch) / "home"
        with Hub(sample_repos()) as hub:
            if not tell("prepared", sample(home, "-q", models=None, hub=hub.url, timeout=1800)):
                return 1
        green = sum(
            tell(
                f"{number} of {wanted.times}",
                sample(home, "-q", "--offline", "-n", "2", models=None, timeout=1800),
            )
            for number in range(1, wanted.times + 1)
        )
    say(f"{green}/{wanted.times} green")
    return int(green < wanted.times)


def tell(which: str, run: Run) -> bool:
    """Whether the run was green, and all three verdicts with it."""
    lines = run.out.splitlines()
    green = run.code == 0 and all(any(line.startswith(one) for line in lines) for one in READY)
    say(f"{which}: exit {run.code}, {lines[-1] if lines else 'nothing said'}")
    if not green:
        say("\n".join(lines[-SHOWN:]))
    return green


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
