"""The engine of these proofs: podman, or docker where there is none; ENGINE= chooses."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.paths import ROOT

HERE = Path(__file__).parent
ENGINE = os.environ.get("ENGINE") or ("podman" if shutil.which("podman") else "docker")


@functools.cache
def environment() -> dict[str, str]:
    """podman's own settings for a machine without systemd, where this is one.

    Its own default runtime, where that runs here; else crun or runc: crun refuses some machines'
    control groups.
    """
    env = dict(os.environ)
    if ENGINE != "podman" or Path("/run/systemd/system").exists() or "CONTAINERS_CONF" in env:
        return env
    text = (HERE / "containers.conf").read_text(encoding="utf-8")
    refusals = []
    for runtime in (None, "crun", "runc"):
        chosen = f'runtime = "{runtime}"' if runtime else ""
        conf = Path(tempfile.mkdtemp(prefix="containers-")) / "containers.conf"
        conf.write_text(text.replace("[engine]", f"[engine]\n{chosen}"), encoding="utf-8")
        env["CONTAINERS_CONF"] = str(conf)
        command = ["podman", "run", "--rm", "--network", "none", "--rootfs", "/:O", "/bin/true"]
        tried = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return env
        refusals.append(f"{runtime or 'the default runtime'}: {tried.stderr.strip()}")
    raise RuntimeError("podman runs nothing here:\n" + "\n".join(refusals))


def engine(*args: str | Path, cwd: Path = ROOT, check: bool = True) -> tuple[int, str]:
    """Run the engine; gives its exit code and all it printed."""
    done = subprocess.run(
        [ENGINE, *map(str, args)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0 or not check, done.stdout
    return done.returncode, done.stdout


def python_image() -> str:
    """The image that the Dockerfile begins with; a stand-in where no registry is reached."""
    [version] = re.findall(r"^ARG PYTHON_VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.M)
    base = f"docker.io/library/python:{version}-slim"
    if engine("image", "inspect", base, check=False)[0] and engine("pull", base, check=False)[0]:
        made = [HERE / "base.sh", version]
        subprocess.run(made, env=environment() | {"PYTHON": sys.executable}, check=True)
    return base
