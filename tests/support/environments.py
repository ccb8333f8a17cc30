"""The environments in which a verdict must stay the same, and homes to judge.

`make test` tries some of them at once, a proof each by itself and on every home.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.catalogue.lock import read_lock
from prep.home.layout import Home
from tests.support.paths import ROOT
from tests.support.restricted import AS_USER, BECOME, EXEC, HERE, MOUNTS, OPENED, USER, open_folder
from tests.support.runs import SAMPLE, TINY, Run, sample
from tests.support.small_homes import flip

LOCKED = read_lock(SAMPLE.with_name("models.lock.toml")).models[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """How a run is started: variables set and unset, its folder, umask, options and user."""

    env: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    cwd: Path = ROOT
    umask: str = "022"
    args: tuple[str, ...] = ()
    on: str = HERE

    @property
    def prefix(self) -> tuple[str, ...]:
        """The commands in front that make the environment."""
        unset = [word for name in self.without for word in ("-u", name)]
        return ("env", *unset, "sh", "-c", f'umask {self.umask}; exec "$@"', "sh")


def shuffled(seed: int, *args: str) -> Environment:
    return Environment(args=("-p", "tests.support.shuffle", "--shuffle", str(seed), *args))


def threads(count: int) -> Environment:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return Environment(env={"OMP_WAIT_POLICY": "ACTIVE", **dict.fromkeys(names, str(count))})


# pytest.ini's own place of tests counts in its folder alone: elsewhere it has to be said.
ELSEWHERE = Environment(cwd=Path("/"), args=(str(ROOT / "model_tests"),))
ENVIRONMENTS: dict[str, Environment] = {
    "as it is": Environment(),
    **{f"shuffled by {seed}": shuffled(seed) for seed in (1, 2, 3)},
    "side by side": Environment(args=("-n", "2")),
    "side by side, shuffled": shuffled(4, "-n", "2"),
    "as an ordinary user": Environment(on=AS_USER),
    "in no language": Environment(env={"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
    "in a language that is not here": Environment(env={"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"}),
    "far in the east": Environment(env={"TZ": "Pacific/Kiritimati"}),
    "in no time zone": Environment(env={"TZ": "Nowhere/At_All"}),
    "without HOME": Environment(without=("HOME",)),
    "HOME that is not there": Environment(env={"HOME": "/nonexistent"}),
    "HOME that nobody can write": Environment(env={"HOME": "/proc"}),
    "one thread": threads(1),
    "more threads than cores": threads(5),
    "umask 077": Environment(umask="077"),
    "hash seed 0": Environment(env={"PYTHONHASHSEED": "0"}),
    "hash seed 4294967295": Environment(env={"PYTHONHASHSEED": "4294967295"}),
    "no bytecode": Environment(env={"PYTHONDONTWRITEBYTECODE": "1"}),
    "no terminal": Environment(without=("TERM",)),
    "from another folder": ELSEWHERE,
}
ALL_AT_ONCE = Environment(
    env={
        **ENVIRONMENTS["in a language that is not here"].env,
        **ENVIRONMENTS["far in the east"].env,
        **ENVIRONMENTS["HOME that nobody can write"].env,
        **ENVIRONMENTS["one thread"].env,
        "PYTHONHASHSEED": "7",
    },
    without=("TERM",),
    cwd=ELSEWHERE.cwd,
    umask="077",
    args=(*shuffled(5).args, *ELSEWHERE.args),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A home and what must be said of it: status, and how each problem begins."""

    damage: Callable[[Home], object]
    status: str
    problems: tuple[str, ...] = ()


def damage_source(home: Home) -> None:
    """Three damages, each of an aspect of its own."""
    snapshot = home.snapshot(LOCKED.repo, LOCKED.commit)
    flip((snapshot / "model.safetensors").resolve())
    home.ref(LOCKED.repo).write_text(f"{LOCKED.commit}\n")
    (snapshot / "adapter_config.json").write_text("{}")


def damage_conversion(home: Home) -> None:
    flip(home.stable(LOCKED.repo, "int8").resolve() / "openvino_model.bin")


CONDITIONS: dict[str, Condition] = {
    "valid": Condition(damage=lambda home: None, status="ready"),
    "damaged source": Condition(
        damage=damage_source,
        status="failed",
        problems=(
            f"{TINY} cannot be loaded by name as the locked commit (1 problem):",
            f"{TINY} has unlocked files in hub/models--model-prep-samples--{TINY}/snapshots/",
            f"{TINY} is not what the lock says in hub/models--model-prep-samples--{TINY}/",
        ),
    ),
    "damaged conversion": Condition(
        damage=damage_conversion,
        status="failed",
        problems=(f"{TINY}: the int8 conversion is not what its receipt says in openvino/",),
    ),
}


@contextmanager
def home_of(condition: str, prepared: Path, on: str = HERE) -> Iterator[Path]:
    """A copy of the prepared home, damaged; its owner is who will look at it."""
    with open_folder(on) as folder:
        root = folder / "models"
        shutil.copytree(prepared, root, symlinks=True)
        CONDITIONS[condition].damage(Home(root))
        for path in (root, *root.rglob("*")) if on == AS_USER else ():
            os.chown(path, USER, USER, follow_symlinks=False)
        yield root


def verdict(home: Path, environment: Environment, *args: str) -> tuple[Run, dict[str, Any]]:
    """What a run in this environment says of the model, by its summary."""
    summary = home.parent / "summary.json"
    summary.unlink(missing_ok=True)
    prefix = environment.prefix
    if environment.on != HERE:  # the last command in front; an interpreter follows
        become = MOUNTS + OPENED + BECOME[environment.on] + EXEC.replace("argv[2:]", "argv[3:]")
        prefix = (*prefix, sys.executable, "-c", become, str(home.parent / "x"))
    run = sample(
        home,
        "--offline",
        f"--summary={summary}",
        *environment.args,
        *args,
        env={"PYTHONPATH": str(ROOT), **environment.env},
        cwd=environment.cwd,
        prefix=prefix,
        timeout=900,
    )
    assert summary.exists(), run.out
    entry: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))["models"][TINY]
    return run, entry


def differs(condition: str, run: Run, entry: Mapping[str, Any]) -> list[str]:
    """How the verdict is another than that home's."""
    wanted = CONDITIONS[condition]
    problems = sorted(cause["text"] for cause in entry["causes"])
    same = len(problems) == len(wanted.problems) and all(
        got.startswith(begin) for got, begin in zip(problems, wanted.problems, strict=False)
    )
    code = 0 if wanted.status == "ready" else 1
    return [
        *([] if run.code == code else [f"exit {run.code}, wanted {code}"]),
        *([] if entry["status"] == wanted.status else [f"{entry['status']}, not {wanted.status}"]),
        *([] if same else problems or ["no problem"]),
    ]
