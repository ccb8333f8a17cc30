"""A home is carried to where no network is, in each way of docs/air-gap.md, and proven there."""

import io
import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.runs import TINY, TINY_REPO, listing, process, run, sample
from tests.unit.deploy.test_ready import gate

DOCUMENT = (ROOT / "docs" / "air-gap.md").read_text(encoding="utf-8")
NOT_A_COMMAND = "layers of an image"
PROOF = ("--offline", "-m", "pins or layout")


def ways() -> dict[str, list[str]]:
    """The rows of the table of ways, by their first cell."""
    table = DOCUMENT.split("\nway |", 1)[1].split("\n\n", 1)[0]
    cells = [re.split(r" *(?<!\\)\| *", row) for row in table.splitlines()[2:]]
    return {way.strip("`").replace("\\|", "|"): rest for way, *rest in cells}


WAYS = ways()
GREEN = [way for way, cells in WAYS.items() if cells[-1].startswith("green")]
RESOLVED = "cp -rL FROM/. TO"  # green too, proven by a test of its own
# What each way that loses something is told to have lost, and the level that tells it.
LOST = {
    "rsync -r FROM/ TO/": ("pins", "model.safetensors"),
    "umask 077; cp -r FROM/. TO": ("layout", "cannot be read by other users"),
    "cp -r FROM/hub FROM/model-prep TO": (
        "pins",
        "openvino/model-prep-samples--tiny-embedding/int8 never converted",
    ),
}


def carry(way: str, home: Path, to: Path) -> Path:
    to.mkdir()
    if way == NOT_A_COMMAND:
        return through_layers(home, to)
    if way.startswith("rsync") and not shutil.which("rsync"):
        pytest.skip("needs rsync")
    command = way.replace("FROM", str(home)).replace("TO", str(to))
    shell(f"umask 022; {command}")
    return to


def through_layers(home: Path, to: Path) -> Path:
    """As a builder stores it and an engine unpacks it: the later layer hides a file of the first.

    Owners are root, times are gone, and what the later layer hides is named by a whiteout.
    """
    stray = f"hub/models--{TINY_REPO.replace('/', '--')}/snapshots"
    [commit] = (home / stray).iterdir()
    hidden = f"{stray}/{commit.name}/adapter_config.json"  # a failure, where it is left

    def as_builders_do(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        return entry

    layers = []
    for number in (0, 1):
        layer = to.parent / f"layer{number}.tar"
        with tarfile.open(layer, "w") as tar:
            if number:
                tar.add(home, arcname=".", filter=as_builders_do)
            name = hidden if not number else hidden.replace("adapter", ".wh.adapter")
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o644, 2
            tar.addfile(entry, io.BytesIO(b"{}"))
        layers.append(layer)
    for layer in layers:
        with tarfile.open(layer) as tar:
            for entry in tar:
                path = to / entry.name
                if path.name.startswith(".wh."):
                    path.with_name(path.name.removeprefix(".wh.")).unlink()
                else:
                    tar.extract(entry, to, filter="tar")
    return to


@pytest.mark.parametrize("way", [way for way in GREEN if way != RESOLVED])
def test_home_survives(way: str, tmp_path: Path, prepared: Path) -> None:
    there = carry(way, prepared, tmp_path / "there")
    before = listing(there)
    done = sample(there, *PROOF)
    assert done.code == 0, done.out
    assert listing(there) == before
    assert gate(there)[0] == 0


@pytest.mark.parametrize("way", LOST)
def test_what_is_lost_is_told(way: str, tmp_path: Path, prepared: Path) -> None:
    there = carry(way, prepared, tmp_path / "there")
    level, words = LOST[way]
    done = sample(there, "--offline", "-m", level)
    assert done.code == 1, done.out
    assert words in done.said
    assert gate(there)[0] == (0 if level == "layout" else 1), (
        "it asks whether its own user can read"
    )


def test_table_names_each_way_once_and_what_it_comes_to() -> None:
    assert {*GREEN} | {*LOST} == {*WAYS} and RESOLVED in GREEN
    assert all(WAYS[way][-1].startswith("failed: ") for way in LOST)


def test_home_with_its_links_resolved_is_proven_whole_and_as_large_as_told(
    tmp_path: Path, prepared: Path
) -> None:
    there = carry(RESOLVED, prepared, tmp_path / "there")
    assert not [path for path in there.rglob("*") if path.is_symlink()]
    for room in ("hub", "openvino"):
        was, now = (size(home / room) for home in (prepared, there))
        assert 1.9 * was < now < 2.1 * was
    before = listing(there)
    done = sample(there, "--offline", f"--summary={tmp_path / 'summary.json'}")
    assert done.code == 0, done.out
    assert f"{TINY} ready" in done.said
    assert listing(there) == before
    assert gate(there)[0] == 0


def size(folder: Path) -> int:
    return sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and not_link(path)
    )


def not_link(path: Path) -> bool:
    return not any(part.is_symlink() for part in (path, *path.parents))


def test_commands_of_the_document_pack_unpack_and_prove(tmp_path: Path, prepared: Path) -> None:
    """Run as they stand there, with other folders; the proof with fewer checks."""
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(prepared, here / "models", symlinks=True)
    (here / "models" / "model-prep" / "partial" / "left").write_text("half")
    pack, unpack = (
        re.findall(r"^\$ (.+)$", DOCUMENT.split(f"## {part}\n", 1)[1].split("\n## ")[0], re.M)
        for part in ("Pack", "Unpack and prove")
    )
    for command in pack:
        made = command.replace("make bundle", f"make -C {ROOT} bundle PYTHON={sys.executable}")
        shell(made.replace("/srv/", f"{here}/").replace("OUT=", f"OUT={tmp_path}/"), tmp_path)
    *unpack, proof = unpack
    there.mkdir()
    for command in unpack:
        shell(f"umask 077; {command.replace('/srv/', f'{there}/')}", tmp_path)
    there.chmod(0o755)
    assert not (there / "models" / "model-prep" / "partial").exists()
    args = proof.removeprefix("pytest ").replace("/srv/", f"{there}/").split()
    args = [arg.replace("/var/tmp/", f"{tmp_path}/") for arg in args]
    done = run("--hub", "sample", "--models", TINY, "-m", "pins or layout", *args)
    assert done.code == 0, done.out
    assert (tmp_path / "summary.json").is_file() and (tmp_path / "report.html").is_file()


def shell(command: str, cwd: Path = ROOT) -> None:
    done = process("bash", "-c", command, cwd=cwd)
    assert done.code == 0, done.out
