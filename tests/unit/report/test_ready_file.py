"""What consumers read of a run: what it proved and nothing else, taken back when it is not so."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedModel
from prep.home.layout import Home
from prep.report.ready_file import ReadyVerdict, environment, variable, write_for_consumers
from prep.report.verdict import Status
from tests.support.paths import ROOT
from tests.support.runs import in_namespace, sample
from tests.support.small_homes import SOURCE, locked_model, tiny
from tests.support.small_settings import settings_for
from tests.unit.deploy.test_ready import SNAPSHOT, gate, in_place, proven, weights


def test_a_failed_run_takes_a_proof_back_and_an_unchecked_one_does_not(tmp_path: Path) -> None:
    made = proven(tmp_path / "home")
    other = locked_model({**SOURCE, "config.json": b"{}"})
    runs: tuple[tuple[LockedModel, Status, int], ...] = (
        *((made.locked, "unchecked", 0), (other, "unchecked", 1)),
        *((made.locked, "repaired", 0), (made.locked, "transient", 1)),
    )
    for locked, status, code in runs:
        write_for_consumers(settings_for(made.home.root, locked), {"tiny": status}, 0)
        assert gate(made.home.root)[0] == code


def test_a_proof_of_other_questions_does_not_stand(tmp_path: Path) -> None:
    made = proven(tmp_path / "home")
    settings = settings_for(made.home.root, made.locked)
    [spec] = settings.models
    assert gate(made.home.root)[0] == 0
    other = replace(settings, models=(replace(spec, language="de"),))
    write_for_consumers(other, {"tiny": "unchecked"}, 0)
    assert gate(made.home.root)[0] == 1


FULL = """
import sys
from pathlib import Path
from tests.support.small_homes import tiny
from tests.support.small_settings import settings_for
from prep.report.ready_file import write_for_consumers
home = Path(sys.argv[1])
settings = settings_for(home, tiny(home).locked)
assert write_for_consumers(settings, {"tiny": "ready"}, 0) == []
assert (home / "model-prep" / "ready.json").is_file()
with (home / "rest").open("wb", buffering=0) as file:
    try:
        while file.write(b"0" * 4096):
            pass
    except OSError:
        pass
if sys.argv[2] == "changed":
    snapshot = next(home.glob("hub/*/snapshots/*/model.safetensors"))
    snapshot.unlink()
try:
    write_for_consumers(settings, {"tiny": sys.argv[2].replace("changed", "ready")}, 0)
except OSError as error:
    there = [(home / "model-prep" / name).exists() for name in ("ready.json", "consumer.env")]
    print(error.strerror, *there)
"""


@pytest.mark.parametrize(
    ("status", "stays"), [("failed", False), ("changed", False), ("ready", True)]
)
def test_a_full_disk_leaves_no_proof_that_was_taken_back(
    tmp_path: Path, status: str, stays: bool
) -> None:
    mount = 'mkdir "$0" && mount -t tmpfs -o size=400k none "$0" && exec "$@"'
    prefix = (*in_namespace("--mount"), "sh", "-c", mount, str(tmp_path / "home"))
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FULL, str(tmp_path / "home"), status],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"No space left on device {stays} {stays}\n"


def test_what_changed_while_it_was_judged_is_not_proven(tmp_path: Path) -> None:
    made = tiny(tmp_path / "home")
    in_place(weights(made).resolve())
    settings = settings_for(made.home.root, made.locked)
    assert write_for_consumers(settings, {"tiny": "ready"}, time.time()) == [
        f"tiny: changed {SNAPSHOT}/model.safetensors since it was judged"
    ]
    assert gate(made.home.root)[0] == 1
    weights(made).unlink()
    [problem] = write_for_consumers(settings, {"tiny": "ready"}, time.time())
    assert problem == "tiny: missing model.safetensors 1280 bytes"


def test_consumer_env_is_the_same_to_a_shell_and_to_docker(prepared: Path) -> None:
    path = prepared / "model-prep" / "consumer.env"
    script = 'set -a; . "$0"; exec env -0'
    said = subprocess.run(
        ["env", "-i", "sh", "-c", script, path], capture_output=True, text=True, check=True
    ).stdout
    shell = dict(line.split("=", 1) for line in said.split("\0") if line)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    docker = dict(line.split("=", 1) for line in lines)  # what follows the first = is the value
    assert docker == {
        "HF_HOME": str(prepared),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "MODEL_TINY_EMBEDDING_INT8": str(
            prepared / "openvino" / "model-prep-samples--tiny-embedding" / "int8"
        ),
    }
    assert docker.items() <= shell.items()


def test_consumer_env_says_nothing_that_is_read_in_two_ways(tmp_path: Path) -> None:
    made = proven(tmp_path / "two words")
    lines = (made.home.state / "consumer.env").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == []
    assert f"Nothing is set: docker, systemd and shells read {str(made.home.root)!r}" in lines[1]

    entry = ReadyVerdict(
        status="ready",
        at="2026-01-01T00:00:00+00:00",
        model_prep=None,
        entry="e" * 64,
        repo="a/b",
        commit="c" * 40,
        precisions=("int8",),
    )
    text = environment(Home(Path("/srv")), {"a.b": entry, "a-b": entry})
    assert "MODEL_A_B_INT8=" not in text
    assert "# MODEL_A_B_INT8 would be 2 paths: " in text
    assert variable("all-MiniLM-L6-v2", "int8") == "MODEL_ALL_MINILM_L6_V2_INT8"


def test_a_home_that_may_not_be_written_is_told_and_the_summary_is_there(
    prepared: Path, tmp_path: Path
) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    prefix = (*in_namespace("--mount"), "sh", "-c", script, str(prepared))
    options = (f"--summary={tmp_path / 'summary.json'}", f"--report={tmp_path / 'report.html'}")
    done = sample(prepared, "-k", "what_the_lock_says", *options, prefix=prefix)
    assert done.code == 1, done.out
    assert "what consumers read could not be written: " in done.said
    assert "(Read-only file system). Give a home that this user may write" in done.said
    assert (tmp_path / "summary.json").is_file()
