"""The surroundings in which a verdict must stay the same, and homes to have one of.

`make test` tries some of them at once, `make steady` each by itself and on every home.
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
class Around:
    """What is around a run: variables set and unset, its folder, umask, options and user."""

    env: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    cwd: Path = ROOT
    umask: str = "022"
    args: tuple[str, ...] = ()
    on: str = HERE

    @property
    def prefix(self) -> tuple[str, ...]:
        """The commands that make the surroundings."""
        unset = [word for name in self.without for word in ("-u", name)]
        return ("env", *unset, "sh", "-c", f'umask {self.umask}; exec "$@"', "sh")


def shuffled(seed: int, *args: str) -> Around:
    return Around(args=("-p", "tests.support.shuffle", "--shuffle", str(seed), *args))


def threads(count: int) -> Around:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return Around(env={"OMP_WAIT_POLICY": "ACTIVE", **dict.fromkeys(names, str(count))})


# pytest.ini's own place of tests counts in its folder alone: elsewhere it has to be said.
ELSEWHERE = Around(cwd=Path("/"), args=(str(ROOT / "model_tests"),))
AROUND: dict[str, Around] = {
    "as it is": Around(),
    **{f"shuffled by {seed}": shuffled(seed) for seed in (1, 2, 3)},
    "side by side": Around(args=("-n", "2")),
    "side by side, shuffled": shuffled(4, "-n", "2"),
    "as an ordinary user": Around(on=AS_USER),
    "in no language": Around(env={"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
    "in a language that is not here": Around(env={"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"}),
    "far in the east": Around(env={"TZ": "Pacific/Kiritimati"}),
    "in no time zone": Around(env={"TZ": "Nowhere/At_All"}),
    "without HOME": Around(without=("HOME",)),
    "HOME that is not there": Around(env={"HOME": "/nonexistent"}),
    "HOME that nobody can write": Around(env={"HOME": "/proc"}),
    "one thread": threads(1),
    "more threads than cores": threads(5),
    "umask 077": Around(umask="077"),
    "hash seed 0": Around(env={"PYTHONHASHSEED": "0"}),
    "hash seed 4294967295": Around(env={"PYTHONHASHSEED": "4294967295"}),
    "no bytecode": Around(env={"PYTHONDONTWRITEBYTECODE": "1"}),
    "no terminal": Around(without=("TERM",)),
    "from another folder": ELSEWHERE,
}
ALL_AT_ONCE = Around(
    env={
        **AROUND["in a language that is not here"].env,
        **AROUND["far in the east"].env,
        **AROUND["HOME that nobody can write"].env,
        **AROUND["one thread"].env,
        "PYTHONHASHSEED": "7",
    },
    without=("TERM",),
    cwd=ELSEWHERE.cwd,
    umask="077",
    args=(*shuffled(5).args, *ELSEWHERE.args),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A home and what must be said of it: status, and how each problem begins."""

    spoil: Callable[[Home], object]
    status: str
    problems: tuple[str, ...] = ()


def spoil_source(home: Home) -> None:
    """Three damages, each of an aspect of its own."""
    snapshot = home.snapshot(LOCKED.repo, LOCKED.commit)
    flip((snapshot / "model.safetensors").resolve())
    home.ref(LOCKED.repo).write_text(f"{LOCKED.commit}\n")
    (snapshot / "adapter_config.json").write_text("{}")


def spoil_conversion(home: Home) -> None:
    flip(home.stable(LOCKED.repo, "int8").resolve() / "openvino_model.bin")


PATIENTS: dict[str, Patient] = {
    "healthy": Patient(spoil=lambda home: None, status="ready"),
    "spoiled source": Patient(
        spoil=spoil_source,
        status="failed",
        problems=(
            f"{TINY} cannot be loaded by name as the locked commit (1 problem):",
            f"{TINY} has unlocked files in hub/models--model-prep-samples--{TINY}/snapshots/",
            f"{TINY} is not what the lock says in hub/models--model-prep-samples--{TINY}/",
        ),
    ),
    "spoiled conversion": Patient(
        spoil=spoil_conversion,
        status="failed",
        problems=(f"{TINY}: the int8 conversion is not what its receipt says in openvino/",),
    ),
}


@contextmanager
def home_of(patient: str, prepared: Path, on: str = HERE) -> Iterator[Path]:
    """A copy of the prepared home, spoiled; its owner is who will look at it."""
    with open_folder(on) as folder:
        root = folder / "models"
        shutil.copytree(prepared, root, symlinks=True)
        PATIENTS[patient].spoil(Home(root))
        for path in (root, *root.rglob("*")) if on == AS_USER else ():
            os.chown(path, USER, USER, follow_symlinks=False)
        yield root


def verdict(home: Path, around: Around, *args: str) -> tuple[Run, dict[str, Any]]:
    """What a run in these surroundings says of the model, as its summary tells."""
    told = home.parent / "summary.json"
    told.unlink(missing_ok=True)
    prefix = around.prefix
    if around.on != HERE:  # the last of the commands in front, whose next word is an interpreter
        become = MOUNTS + OPENED + BECOME[around.on] + EXEC.replace("argv[2:]", "argv[3:]")
        prefix = (*prefix, sys.executable, "-c", become, str(home.parent / "x"))
    run = sample(
        home,
        "--offline",
        f"--summary={told}",
        *around.args,
        *args,
        env={"PYTHONPATH": str(ROOT), **around.env},
        cwd=around.cwd,
        prefix=prefix,
        timeout=900,
    )
    assert told.exists(), run.out
    entry: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))["models"][TINY]
    return run, entry


def differs(patient: str, run: Run, entry: Mapping[str, Any]) -> list[str]:
    """How the verdict is another than that home's."""
    wanted = PATIENTS[patient]
    problems = sorted(entry["problems"])
    same = len(problems) == len(wanted.problems) and all(
        got.startswith(begin) for got, begin in zip(problems, wanted.problems, strict=False)
    )
    code = 0 if wanted.status == "ready" else 1
    return [
        *([] if run.code == code else [f"exit {run.code}, wanted {code}"]),
        *([] if entry["status"] == wanted.status else [f"{entry['status']}, not {wanted.status}"]),
        *([] if same else problems or ["no problem"]),
    ]
