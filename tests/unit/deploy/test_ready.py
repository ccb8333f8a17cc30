"""The readiness gate says no to every kind of damage, and yes to what is merely elsewhere."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prep.catalogue.lock import Lock, render
from prep.report.ready_file import write_for_consumers
from prep.report.verdict import Status
from prep.tasks.loaders import a_loader_takes
from tests.support.paths import ROOT
from tests.support.restricted import open_folder
from tests.support.runs import SAMPLE, TINY, copy_home, in_namespace, listing
from tests.support.small_homes import (
    CONVERTED,
    NOBODY,
    SOURCE,
    Tiny,
    flip,
    lead,
    leave,
    locked_model,
    replace_by_folder,
    replace_by_pipe,
    sha256,
    tiny,
    write_bytes,
)
from tests.support.small_settings import settings_for

GATE = ROOT / "deploy" / "ready.py"
LONG_AGO = 1_600_000_000


def gate(*args: str | Path, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit code and all that the gate prints, in a Python that sees nothing of this project."""
    done = subprocess.run(
        [*prefix, sys.executable, "-I", str(GATE), *map(str, args)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def proven(root: Path, status: Status = "ready") -> Tiny:
    """A home with one model, as a run that ended so leaves it."""
    made = tiny(root)
    for path in root.rglob("*"):  # the run that proved it is long over
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    assert write_for_consumers(settings_for(root, made.locked), {"tiny": status}, 0) == []
    return made


def in_place(path: Path) -> None:
    """Other bytes, the same size, the same time: only a digest can tell."""
    then = path.stat()
    flip(path)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))


def weights(made: Tiny) -> Path:
    return made.snapshot / "model.safetensors"


def digests(files: Mapping[str, bytes], name: str) -> str:
    """As a flipped bit changes the sha256 of a file."""
    content = bytearray(files[name])
    content[len(content) // 2] ^= 1
    return f"sha256 {sha256(bytes(content))[:12]}…, proven {sha256(files[name])[:12]}…"


SNAPSHOT = "hub/models--acme--tiny/snapshots/c0ffee0000000000000000000000000000000000"
REF = "hub/models--acme--tiny/refs/main"
INT8 = "openvino/acme--tiny/int8"
WEIGHTS = f"{SNAPSHOT}/model.safetensors"
BIN = "openvino_model.bin"
GONE = "No such file or directory"
NEW = "is new, and a loader would take it"
PROVEN = f"proven 'c0ffee{'0' * 34}'"
DAMAGE: dict[str, tuple[Callable[[Tiny], object], str]] = {
    "flipped": (
        lambda made: flip(weights(made)),
        f"{WEIGHTS} has {digests(SOURCE, 'model.safetensors')}",
    ),
    "truncated": (
        lambda made: os.truncate(weights(made), 100),
        f"{WEIGHTS} has 100 bytes, proven 1280",
    ),
    "link gone": (
        lambda made: (made.snapshot / "vocab.txt").unlink(),
        f"{SNAPSHOT}/vocab.txt: {GONE}",
    ),
    "blob gone": (lambda made: weights(made).resolve().unlink(), f"{WEIGHTS}: {GONE}"),
    "outside": (lambda made: leave(weights(made), made.home), f"{WEIGHTS} leads out of the home"),
    "a folder": (lambda made: replace_by_folder(weights(made)), f"{WEIGHTS} is not a file"),
    "a pipe": (lambda made: replace_by_pipe(weights(made)), f"{WEIGHTS} is not a file"),
    "adapter": (
        lambda made: write_bytes(made.snapshot / "adapter_config.json", b"{}"),
        f"{SNAPSHOT}/adapter_config.json {NEW}",
    ),
    "another pooling": (
        lambda made: write_bytes(made.snapshot / "2_Dense" / "config.json", b"{}"),
        f"{SNAPSHOT}/2_Dense/config.json {NEW}",
    ),
    "a second model": (
        lambda made: write_bytes(made.folder / "openvino_model_2.xml", b"<net/>"),
        f"{INT8}/openvino_model_2.xml {NEW}",
    ),
    "converted flipped": (
        lambda made: flip(made.folder / BIN),
        f"{INT8}/{BIN} has {digests(CONVERTED, BIN)}",
    ),
    "receipt flipped": (
        lambda made: flip(made.folder / "receipt.json"),
        f"{INT8}/receipt.json has sha256 ",
    ),
    "stable link gone": (
        lambda made: made.stable.unlink(),
        (
            f"{INT8}/1_Pooling/config.json: {GONE}; {INT8}/config.json: {GONE}; "
            f"{INT8}/modules.json: {GONE}; and 5 more"
        ),
    ),
    "stable link astray": (
        lambda made: lead(made.stable, "/tmp"),
        f"{INT8}/1_Pooling/config.json leads out of the home; ",
    ),
    "name gone": (lambda made: made.ref.unlink(), f"{REF}: {GONE}"),
    "name moved": (
        lambda made: made.ref.write_text("decade" + "0" * 34),
        f"{REF} is 'decade{'0' * 34}', {PROVEN}",
    ),
    "name with newline": (
        lambda made: made.ref.write_text("c0ffee" + "0" * 34 + "\n"),
        f"{REF} is 'c0ffee{'0' * 34}\\n', {PROVEN}",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_never_ready(tmp_path: Path, name: str) -> None:
    spoil, words = DAMAGE[name]
    made = proven(tmp_path / "home")
    spoil(made)
    code, out = gate(tmp_path / "home")
    assert code == 1
    assert out.startswith(f"tiny: NOT READY: {words}"), out
    assert out.endswith(
        f". Prepare it again: pytest --models tiny --model-home={tmp_path / 'home'}\n"
    )


def test_what_keeps_size_and_time_is_seen_by_deep_alone(tmp_path: Path) -> None:
    made = proven(tmp_path / "home")
    in_place(weights(made).resolve())
    assert gate(tmp_path / "home")[0] == 0
    code, out = gate(tmp_path / "home", "--deep")
    assert (code, "has sha256" in out) == (1, True)


def test_a_whole_home_is_ready_wherever_it_lies(tmp_path: Path) -> None:
    proven(tmp_path / "home")
    said = "original + int8 at c0ffee000000, 14 files, 0.0 MB"
    code, out = gate(tmp_path / "home", "tiny")
    assert code == 0
    assert out.startswith("tiny: ready, proven 2")
    assert out.endswith(f": {said}, 0 digested now\n")
    assert gate(tmp_path / "home", "--deep")[1].endswith(f"{said}, 14 digested now\n")

    shutil.copytree(tmp_path / "home", tmp_path / "resolved", copy_function=shutil.copyfile)
    code, out = gate(tmp_path / "resolved")
    assert (code, out.endswith(f"{said}, 14 digested now\n")) == (0, True), out
    (tmp_path / "home").rename(tmp_path / "moved")
    write_bytes(next((tmp_path / "moved" / "hub").rglob("snapshots/*")) / "README.md", b"hello")
    assert gate(tmp_path / "moved")[1].endswith(f"{said}, 0 digested now\n")


def test_a_read_only_mount_and_another_user_are_served() -> None:
    with open_folder() as folder:
        made = proven(folder / "home")
        before = listing(made.home.root)
        script = 'mount -t tmpfs none /mnt && mkdir /mnt/m && mount --bind "$0" /mnt/m && '
        script += 'mount -o remount,ro,bind /mnt/m && exec "$@"'
        mounted = (*in_namespace("--mount"), "sh", "-c", script, str(made.home.root))
        assert gate("/mnt/m", prefix=mounted)[0] == 0
        assert listing(made.home.root) == before
        if os.geteuid() == 0:
            nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            assert gate(made.home.root, prefix=nobody)[0] == 0
            weights(made).resolve().chmod(0o600)
            code, out = gate(made.home.root, prefix=nobody)
            assert code == 1
            assert f"NOT READY: {SNAPSHOT}/model.safetensors: Permission denied." in out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[:-9], "cannot be read: run pytest --model-home="),
        (lambda text: text.replace('"size": 1280', '"size": 1281'), "was changed after it was"),
        (lambda text: text.replace('"failed"', '"ready"'), "was changed after it was written"),
        (lambda text: text.replace('-version": 2', '-version": 3'), "is not of version 1 or 2"),
        (lambda text: "[]", "is not of version 1 or 2"),
    ],
    ids=["torn", "another size", "another verdict", "another version", "no table"],
)
def test_a_manifest_that_was_changed_proves_nothing(
    tmp_path: Path, spoil: Callable[[str], str], words: str
) -> None:
    made = proven(tmp_path / "home")
    settings = settings_for(made.home.root, made.locked)
    path = made.home.state / "ready.json"
    if "verdict" in os.environ["PYTEST_CURRENT_TEST"]:
        write_for_consumers(settings, {"tiny": "failed"}, 0)
    path.write_text(spoil(path.read_text()))
    code, out = gate(made.home.root)
    assert (code, words in out) == (1, True), out
    # The next green run writes it anew.
    assert write_for_consumers(settings, {"tiny": "ready"}, 0) == []
    assert gate(made.home.root)[0] == 0


@pytest.mark.parametrize("status", ["failed", "transient", "unchecked"])
def test_only_green_is_ready(tmp_path: Path, status: Status) -> None:
    made = proven(tmp_path / "home", status)
    code, out = gate(made.home.root)
    assert (code, f"tiny: NOT READY: its last verdict is {status} (2" in out) == (1, True)
    assert "MODEL_" not in (made.home.state / "consumer.env").read_text()


def test_the_lock_says_which_entry_must_be_proven(tmp_path: Path) -> None:
    made = proven(tmp_path / "home")
    lock = tmp_path / "models.lock.toml"

    def asked(*models: object, name: str | None = None) -> tuple[int, str]:
        lock.write_text(render(Lock(models=tuple(models))))  # type: ignore[arg-type]
        return gate(made.home.root, "--lock", lock, *([name] if name else []))

    assert asked(made.locked)[0] == 0
    lock.write_bytes(lock.read_bytes().replace(b"\n", b"\r\n"))  # as git may check it out
    assert gate(made.home.root, "--lock", lock)[0] == 0
    other = locked_model({**SOURCE, "config.json": b"{}"})
    code, out = asked(other)
    assert code == 1
    assert out.startswith(
        f"tiny: NOT READY: proven for another lock entry ({made.locked.digest[:12]}, the lock has "
        f"{other.digest[:12]}). Prepare"
    )
    assert asked(made.locked, name="big")[1].startswith(
        "big: NOT READY: no run has ever proven it in this home."
    )
    assert asked()[1] == f"NOT READY: the lock {lock} names no model\n"
    assert asked(made.locked, name="tiny")[0] == 0
    assert gate(made.home.root, "--lock", "/no/lock")[1] == (
        "NOT READY: the lock /no/lock cannot be read: [Errno 2] No such file or directory: "
        "'/no/lock'\n"
    )


def test_a_home_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "model-prep" / "ready.json"
    said = f"NOT READY: {path}: {GONE}. No run of model-prep has ended green in this home: "
    said += f"is it the right one, and mounted? Else: pytest --model-home={tmp_path}\n"
    assert gate(tmp_path) == (1, said)
    assert gate()[0] == 2
    assert gate(tmp_path, "--depe")[0] == 2


def test_a_real_run_leaves_what_the_gate_needs(prepared: Path, tmp_path: Path) -> None:
    lock = SAMPLE.with_name("models.lock.toml")
    home = copy_home(prepared, tmp_path / "home")
    code, out = gate(home, TINY, "--lock", lock)
    assert code == 0, out
    assert out.endswith(", 0.7 MB, 0 digested now\n")
    code, out = gate(home, "--lock", lock)  # the other two of the catalogue
    assert (code, out.count("\n"), out.count("no run has ever proven it")) == (1, 3, 2)
    flip(next(home.glob("openvino/*/int8/openvino_model.bin")))
    assert gate(home, TINY)[0] == 1


def test_gate_reads_globs_as_the_suite_does() -> None:
    space: dict[str, object] = {"__name__": "ready"}
    exec(compile(GATE.read_text(), GATE, "exec"), space)
    matches = space["_matches"]
    assert callable(matches)
    from prep.tasks.loaders import outranked, taken_beside

    paths = ["model.safetensors", "model.safetensors.index.json", "tekken.json", "README.md"]
    paths += ["1_Dense/pytorch_model.bin", "1_Dense/model.safetensors", "1_Dense/x/y.json"]
    paths += ["openvino_model.xml", "tokenizer.v2.json", "onnx/model.onnx", ".hidden"]
    for known in ((), ("model.safetensors",), ("tokenizer.json",), ("1_Dense/model.safetensors",)):
        for converted in (False, True):
            globs = taken_beside(known, converted=converted)
            for path in paths:
                expected = matches(path, globs) and path not in outranked(known)
                assert expected == a_loader_takes(path, known, converted=converted), path


def test_gate_is_written_for_old_pythons_and_needs_no_library() -> None:
    nodes = [*ast.walk(ast.parse(GATE.read_text(), feature_version=(3, 8)))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
