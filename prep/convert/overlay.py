"""The second converter: the same libraries with an older transformers in front.

optimum-intel exports some architectures only below some version of transformers. That version lies
in a folder of its own, first on the path of a process that converts; what is converted there is
loaded by the usual libraries. ``python -m prep.convert.overlay`` installs it.
"""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from prep.catalogue.lock import CONVERTER
from prep.errors import ConverterMissing

VERSION = "4.57.6"
REQUIREMENTS = (f"transformers=={VERSION}", "huggingface-hub==0.36.2")
COMMAND = "python -m prep.convert.overlay"


def folder() -> Path:
    """Where it is installed: in this environment."""
    return Path(sys.prefix) / "share" / "model-prep" / CONVERTER


def versions(at: Path | None = None) -> dict[str, str]:
    """What lies there, by the names of packages; empty where nothing is installed."""
    found = importlib.metadata.distributions(path=[str(at or folder())])
    return {package.name: package.version for package in found}


def needed(model: str) -> Path:
    """The folder; raises `ConverterMissing` where it is not installed."""
    if "transformers" not in versions():
        raise ConverterMissing(
            f"{model}: it is converted with {REQUIREMENTS[0]}, which is not installed in "
            f"{folder()}. Install it: {COMMAND}"
        )
    return folder()


def install() -> int:
    """Install it by pip, without what the environment has already; gives pip's exit code."""
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade"]
    return subprocess.run(
        [*command, "--target", str(folder()), *REQUIREMENTS], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(install())
