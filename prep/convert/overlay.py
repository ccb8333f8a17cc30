"""The second converter: the same libraries with an older transformers in front.

optimum-intel exports some architectures only below some version of transformers. That version lies
in a folder of its own, first on the path of a process that converts; what is converted there is
loaded by the usual libraries. ``python -m prep.convert.overlay`` installs it.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prep.catalogue.lock import CONVERTER
from prep.errors import ConverterMissing

PINS = Path(__file__).with_suffix(".txt")
REQUIREMENTS = tuple(line for line in PINS.read_text().splitlines() if not line.startswith("#"))
WANTED = dict(line.split("==") for line in REQUIREMENTS)
VERSION = WANTED["transformers"]
COMMAND = "python -m prep.convert.overlay"


def folder() -> Path:
    """Where it is installed: in this environment."""
    return Path(sys.prefix) / "share" / "model-prep" / CONVERTER


def versions(at: Path | None = None) -> dict[str, str]:
    """What lies there, by the names of packages; empty where nothing is installed."""
    found = importlib.metadata.distributions(path=[str(at or folder())])
    return {package.name.replace("_", "-"): package.version for package in found}


def missing() -> str | None:
    """Why it cannot convert, and what to do; None where exactly the pinned versions lie there.

    Others would make other conversions than the recipe says.
    """
    found = versions()
    if all(found.get(name) == version for name, version in WANTED.items()):
        return None
    there = ", ".join(f"{name}=={version}" for name, version in sorted(found.items()))
    return (
        f"it is converted with {', '.join(REQUIREMENTS)}, and {folder()} has {there or 'nothing'}. "
        f"Install it (133 MB): {COMMAND}"
    )


def needed(model: str) -> Path:
    """The folder; raises `ConverterMissing` where it is not installed."""
    if why := missing():
        raise ConverterMissing(f"{model}: {why}")
    return folder()


def install() -> int:
    """Install it by pip beside, without what the environment has already, and rename it.

    Does nothing where it is installed. Gives pip's exit code.
    """
    if missing() is None:
        return 0
    folder().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder().parent, prefix=".installing.") as parent:
        fresh = Path(parent) / CONVERTER
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["install", "--no-deps", "--target", str(fresh), "-r", str(PINS)]
        if code := subprocess.run(command, check=False).returncode:
            return code
        shutil.rmtree(folder(), ignore_errors=True)
        fresh.rename(folder())
    return 0


if __name__ == "__main__":
    sys.exit(install())
