"""Build the stand-ins: `python -m tools.zoo.build [NAME ...]`.

They are kept below a folder of the user's cache whose name is the content of this package, the
samples, the questions and the versions of the libraries; what is there is not built again. Training
takes what tools/requirements.txt names; rows without `steps` need the suite's own environment only.
"""

import argparse
import hashlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from tools.zoo.rows import needs, rows

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers")


def folder() -> Path:
    """Where the stand-ins of this content and these versions are."""
    digest = hashlib.sha256()
    places = ("tools/zoo", "tools/samples", "sample_hub/repos", "prep/tasks/questions")
    files = sorted(
        path
        for place in places
        for path in (ROOT / place).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    digest.update(" ".join(version(name) for name in LIBRARIES).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "model-prep-zoo" / digest.hexdigest()[:16]


def missing(place: Path, names: Iterable[str]) -> list[str]:
    """Those that are to be built, each after the one whose weights it begins with."""
    found: list[str] = []
    for name in names:
        source = needs(name)
        for wanted in (source, name) if source else (name,):
            if wanted not in found and not (place / wanted).exists():
                found.append(wanted)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all have their skill, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo.build", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--out", type=Path, default=None, help="another folder than the cache's")
    options = parser.parse_args(arguments)
    place: Path = options.out or folder()
    place.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
    }
    logging.disable(logging.WARNING)
    wanted = missing(place, options.names or rows())
    if not wanted:
        return 0

    from tools.zoo.model import make

    failed = 0
    for name in wanted:
        began = time.monotonic()
        source = needs(name)
        try:
            share = make(rows()[name], place / name, _weights(place / source) if source else None)
            text = f"built, {share:.0%} of its answers are right"
        except Exception:  # the others are built all the same
            failed, text = 1, f"not built\n{traceback.format_exc()}"
        sys.stdout.write(f"{name}: {text}, {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    return failed


def _weights(stand_in: Path) -> Path:
    """The revision with safetensors."""
    return next(path.parent for path in sorted(stand_in.glob("*/model.safetensors")))


if __name__ == "__main__":
    sys.exit(main())
