"""A catalogue dealt to several processes: who has what, and that together they are one run."""

import json
import re
import subprocess
import time
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.lock import Lock, render
from prep.errors import LockError, WrongRequest
from prep.plugin.options import _shard
from prep.settings import GivenOptions, Settings, Shard, resolve_settings
from sample_hub.server import Hub, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, command, environment, run, sample, summary
from tests.support.small_homes import locked_model

ENTRY = """
[[models]]
name = "{}"
repo = "acme/{}"
revision = "main"
task = "embedding"
precisions = ["int8"]
why = "for tests"
"""
ENTRIES = (("a", "one"), ("b", "two"), ("c", "one"), ("d", "three"), ("e", "two"), ("f", "four"))
INDEX = "JOB_COMPLETION_INDEX"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with six locked models of four repositories."""
    entries = "".join(ENTRY.format(name, repo) for name, repo in ENTRIES)
    (tmp_path / "models.toml").write_text(f"catalogue-version = 1\n{entries}", encoding="utf-8")
    locked = [replace(locked_model(), name=name, repo=f"acme/{repo}") for name, repo in ENTRIES]
    lock = render(Lock(models=tuple(locked)))
    (tmp_path / "models.lock.toml").write_text(lock, encoding="utf-8")
    return tmp_path


def settled(root: Path, shard: str, environ: Mapping[str, str] | None = None, **w: Any) -> Settings:
    return resolve_settings(GivenOptions(shard=_shard(shard), **w), environ or {}, root)


def share(root: Path, shard: str, environ: Mapping[str, str] | None = None, **given: Any) -> str:
    return " ".join(spec.name for spec in settled(root, shard, environ, **given).models)


def refusal(root: Path, shard: str, environ: Mapping[str, str] | None = None, **w: Any) -> str:
    with pytest.raises(WrongRequest) as caught:
        settled(root, shard, environ, **w)
    return str(caught.value)


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (1, ["a b c d e f"]),
        (2, ["a c d", "b e f"]),
        (3, ["a c f", "b e", "d"]),
        (4, ["a c", "b e", "d", "f"]),
        (6, ["a c", "b e", "d", "f", "", ""]),
    ],
)
def test_repositories_are_dealt_in_catalogue_order_and_stay_whole(
    root: Path, count: int, shares: list[str]
) -> None:
    assert [share(root, f"{index}/{count}") for index in range(count)] == shares


def test_only_the_chosen_are_dealt(root: Path) -> None:
    assert [share(root, f"{n}/2", models=["f", "b", "d"]) for n in (0, 1)] == ["b f", "d"]


def test_auto_takes_the_number_of_the_pod(root: Path) -> None:
    settings = settled(root, "auto/3", {INDEX: "1"})
    assert settings.shard == Shard(index=1, count=3)
    assert str(settings.shard) == "1/3"
    assert share(root, "auto/3", {INDEX: "1"}) == "b e"
    assert share(root, "2/3", {INDEX: "1"}) == "d", "what is said beats the environment"


def test_refuses_a_number_that_is_not_there_or_not_one_of_the_shares(root: Path) -> None:
    assert refusal(root, "auto/3") == refusal(root, "auto/3", {INDEX: ""})
    assert refusal(root, "auto/3") == (
        "--shard auto/3 takes its number from JOB_COMPLETION_INDEX, which is not set: Kubernetes "
        "sets it in the pods of an Indexed Job. Elsewhere say which: --shard 0/3."
    )
    for wrong in ("3", "-1", "one", "²"):
        assert refusal(root, "auto/3", {INDEX: wrong}) == (
            f"JOB_COMPLETION_INDEX is {wrong!r}, but --shard auto/3 has shares from 0 to 2: the "
            "Job's completions and the number after the slash must be one."
        )


def test_refuses_to_write_one_lock_from_several_processes(root: Path) -> None:
    assert refusal(root, "0/2", relock=True) == (
        "--relock writes one lock for the whole catalogue: leave --shard out, or choose with "
        "--models."
    )


def test_refuses_to_clean_up_from_several_processes(root: Path) -> None:
    assert refusal(root, "0/2", cleanup=True) == (
        "--cleanup works on the whole home: leave --shard out."
    )


def test_every_share_refuses_a_lock_that_does_not_answer_a_model_of_another(root: Path) -> None:
    path = root / "models.lock.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('name = "d"', 'name = "x"'))
    for index in range(4):
        with pytest.raises(LockError, match="d: has no entry"):
            settled(root, f"{index}/4")


@pytest.mark.parametrize(
    "text", ["", "2", "/2", "2/2", "-1/2", "0/0", "auto", "auto/0", "a/2", "1/²", "1/2/3"]
)
def test_refuses_what_is_no_share(text: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        _shard(text)
    assert str(caught.value) == (
        f"must be I/N, I from 0 and below N, or auto/N, got {text!r}: the shares of three are "
        "0/3, 1/3 and 2/3"
    )


def test_header_names_the_share_and_only_its_models_are_collected() -> None:
    chosen = ("--catalogue", SAMPLE, "--shard", "auto/2")
    shown = run(*chosen, "--collect-only", env={INDEX: "1"})
    assert shown.code == 0, shown.out
    assert f"catalogue: {SAMPLE} (tiny-reranker), share 1/2, lock models.lock.toml" in shown.said
    assert "[tiny-embedding" not in shown.out


@pytest.mark.parametrize("how", [(), ("-n", "2"), ("--dry-run",)], ids=["alone", "workers", "plan"])
def test_share_without_models_says_so_and_is_no_failure(tmp_path: Path, how: tuple[str]) -> None:
    done = sample(tmp_path / "home", "--shard", "3/4", *how, models=None)
    assert done.code == 0, done.out
    assert "model-prep: share 3/4 has no models: nothing was to be done" in done.out.splitlines()
    assert not (tmp_path / "home").exists()


def test_nothing_collected_for_another_reason_is_still_told(tmp_path: Path) -> None:
    done = sample(tmp_path / "home", "--shard", "0/4", "-k", "nothing_is_named_so", models=None)
    assert done.code == 5, done.out


def test_shares_come_to_what_one_run_comes_to_though_one_was_killed(
    tmp_path: Path, prepared_all: Path
) -> None:
    """As an Indexed Job starts them: all at once on one volume, a lost one once more."""
    home = tmp_path / "home"
    with Hub(sample_repos(), rate=200_000) as hub:
        args = command("--catalogue", SAMPLE, "--hub", hub.url, "--model-home", home)
        args += ["-m", "conversion", "--shard", "auto/2"]

        def pod(index: int, attempt: int) -> subprocess.Popen[bytes]:
            with (tmp_path / f"{index}.{attempt}.log").open("wb") as log:
                env = environment(**{INDEX: str(index)})
                return subprocess.Popen(args, cwd=ROOT, env=env, stdout=log, stderr=log)

        pods = [pod(index, 1) for index in range(2)]
        first = tmp_path / "0.1.log"
        while b"fetching 10 files" not in first.read_bytes() and pods[0].poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        pods[0].kill()
        assert pods[0].wait() == -9, first.read_text()
        pods[0] = pod(0, 2)
        codes = [pod.wait(timeout=300) for pod in pods]
    logs = "\n".join(log.read_text() for log in sorted(tmp_path.glob("*.log")))
    assert codes == [0, 0], logs
    assert files(home) == files(prepared_all)
    assert placed(home) == placed(prepared_all)
    assert facts(home) == facts(prepared_all)


# What tells one run from another of the same models. The converter writes the path of the source
# and the order of constants as it comes, so no two conversions are the same bytes.
OWN = {"at", "home", "seconds", "timeline", "made", "path", "fetched-bytes", "peak-bytes"}


def facts(home: Path) -> dict[str, Any]:
    """The summary's entries without what is each run's own."""
    found: dict[str, Any] = without_own(summary(home)["models"])
    for entry in found.values():
        assert entry["precisions"]["int8"].pop("bytes") > 100_000
    return found


def without_own(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_own(nested) for key, nested in value.items() if key not in OWN}
    return round(value, 5) if isinstance(value, float) else value


def files(home: Path) -> dict[str, str]:
    """Links by where they lead, the hub's files by digest, conversions by recipe and file names."""
    found = {}
    for path in (path for room in ("hub", "openvino") for path in (home / room).rglob("*")):
        name = str(path.relative_to(home))
        if path.is_symlink():
            found[name] = f"→ {path.readlink()}"
        elif name.startswith("hub") and path.is_file():
            found[name] = sha256(path.read_bytes()).hexdigest()
        elif path.name == "receipt.json":
            receipt = json.loads(path.read_text(encoding="utf-8"))
            found[name] = receipt["recipe-digest"]
        else:
            found[name] = "there"
    return found


def placed(home: Path) -> set[tuple[str, str]]:
    """What the ledger says was placed, but for drafts, each of which has a name of its own, and for
    small blobs: those are noted when all files are there, which a kill may prevent. They stay.
    """
    lines = (home / "model-prep" / "placed.jsonl").read_text(encoding="utf-8").splitlines()
    found = {(line["what"], line["path"]) for line in map(json.loads, lines)}
    return {
        (what, path)
        for what, path in found
        if what != "draft" and not re.fullmatch("blobs/[0-9a-f]{40}", path[-46:])
    }
