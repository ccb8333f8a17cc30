"""What prevents a run is reported before the first byte, all of it in one list."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from prep.catalogue.lock import CONVERTER
from prep.errors import HubRefused, HubUnreachable, PreflightFailed, PreflightTransient
from prep.machine.disk import Disk
from prep.machine.memory import Memory
from prep.stages.estimates import Make
from prep.stages.preflight import Findings, Need, Preflight, find_obstacles
from sample_hub.server import Fault, Hub, sample_repos
from tests.support.runs import TINY, copy_home, in_namespace, sample, summary

GB = 10**9
ROOMY = Findings(
    home=Disk(place="/srv", free=100 * GB, files=None),
    temporary=Disk(place="/", free=100 * GB, files=10**6),
    memory=Memory(free=64 * GB, limit=64 * GB, bound="this machine"),
)
INT8 = Make(precision="int8", bytes=GB // 4, temporary=GB, memory=2 * GB)
FP32 = Make(precision="fp32", bytes=GB, temporary=GB, memory=3 * GB)


def need(model: str = "one", fetch: int = GB, make: tuple[Make, ...] = (INT8,)) -> Need:
    return Need(
        model=model,
        repo=f"org/{model}",
        commit="c0ffee" + "0" * 34,
        files=10,
        fetch=fetch,
        adopt=0,
        path="config.json",
        folders=("/srv/models",),
        make=make,
    )


def obstacles(findings: Findings, *needs: Need, workers: int = 1) -> str:
    """All obstacles, one a line."""
    return "\n".join(map(str, find_obstacles(needs or (need(),), findings, workers)))


def test_a_large_machine_has_no_obstacle() -> None:
    assert obstacles(ROOMY) == ""


def test_the_disk_must_hold_the_whole_set_and_temporary_files() -> None:
    small = Disk(place="/srv", free=2 * GB, files=None)
    two = need(), need("two", fetch=0, make=(FP32, INT8))
    assert obstacles(replace(ROOMY, home=small), *two) == (
        "one, two: no space left: /srv has 2000000000 bytes free, 2501048576 are needed "
        "(1000000000 to fetch, 1500000000 for conversions). Free some, or prepare "
        "fewer models (--models)."
    )
    assert obstacles(replace(ROOMY, home=small, temporary=small)) == (
        "one: no space left: /srv has 2000000000 bytes free, 2251048576 are needed "
        "(1000000000 to fetch, 250000000 for conversions, 1000000000 while converting). Free "
        "some, or prepare fewer models (--models)."
    )


def test_the_disk_of_temporary_files_must_hold_them() -> None:
    small = Disk(place="/tmp", free=GB - 1, files=None)
    assert obstacles(replace(ROOMY, temporary=small)) == (
        "one: no space left: /tmp has 999999999 bytes free, 1000000000 are needed there while "
        "converting. Free some, or set TMPDIR to a folder on a larger disk."
    )
    assert obstacles(replace(ROOMY, temporary=small), need(make=())) == ""


def test_inodes_count_where_the_disk_has_a_limit() -> None:
    full = Disk(place="/srv", free=100 * GB, files=51)
    assert obstacles(replace(ROOMY, home=full)) == (
        "one: no space left: /srv can take 51 more files (inodes), 52 are needed. Remove files "
        "there that nobody needs, or give another --model-home."
    )
    assert obstacles(replace(ROOMY, home=replace(full, files=52))) == ""


def test_memory_must_hold_as_many_conversions_as_run_at_once() -> None:
    bound = Memory(free=3 * GB, limit=4 * GB, bound="the control group /sys/fs/cgroup/job")
    findings = replace(ROOMY, memory=bound)
    two = need(make=(INT8, FP32)), need("two")
    assert obstacles(findings, *two) == ""
    assert obstacles(findings, *two, workers=2) == (
        "one, two: out of memory: the control group /sys/fs/cgroup/job has 3000000000 of "
        "4000000000 bytes of memory free, 5000000000 are needed while converting. Raise the "
        "limit, end other processes, or prepare fewer models at once (-n); --precision "
        "none prepares the original weights alone."
    )


def test_only_what_the_second_converter_makes_needs_it() -> None:
    """Found before the first byte, and of no other model."""
    lacking = replace(ROOMY, converter="Install it.")
    marian = replace(need("marian"), converter=CONVERTER)
    prepared = replace(need("made", make=()), converter=CONVERTER)
    assert obstacles(lacking, need(), marian, prepared) == (
        "marian: converter not installed: Install it."
    )
    assert obstacles(ROOMY, marian) == ""


def test_a_model_reports_all_its_obstacles_and_no_others() -> None:
    gone, gated = HubUnreachable("The hub is not there."), HubRefused("org/two is gated.")
    findings = replace(
        ROOMY,
        memory=Memory(free=0, limit=GB, bound="this machine"),
        unwritable={"/srv/models": "Read-only file system"},
        refusals={"one": gone, "two": gated, "three": gone},
    )
    needs = need(), need("two", make=()), need("three", make=())
    preflight = Preflight(needs=needs, findings=findings)
    closed = (
        "not writable: /srv/models cannot be written (Read-only file system). Give a home that "
        "this user may write (--model-home), or check this one as it is with --offline."
    )
    assert str(preflight.refusal("one")) == (
        "preflight failed: one cannot be prepared (3 problems):\n"
        "  hub unreachable: The hub is not there.\n"
        f"  {closed}\n"
        "  out of memory: this machine has 0 of 1000000000 bytes of memory free, 2000000000 "
        "are needed while converting. Raise the limit, end other processes; --precision none "
        "prepares the original weights alone."
    )
    assert str(preflight.refusal("two")) == (
        "preflight failed: two cannot be prepared (2 problems):\n"
        "  refused by the hub: org/two is gated.\n"
        f"  {closed}"
    )
    assert preflight.refusal("whole") is None


def test_transient_and_permanent_obstacles_are_different_errors() -> None:
    findings = replace(ROOMY, refusals={"one": HubUnreachable("gone"), "two": HubRefused("gated")})
    preflight = Preflight(needs=(need(), need("two")), findings=findings)
    assert [type(preflight.refusal(name)) for name in ("one", "two")] == [
        PreflightTransient,
        PreflightFailed,
    ]
    assert str(preflight.refusal("one")) == "preflight failed: one: hub unreachable: gone"


def test_a_preflight_is_the_same_in_another_process_and_can_be_narrowed() -> None:
    findings = replace(ROOMY, refusals={"one": HubUnreachable("gone")}, unwritable={"/srv": "no"})
    preflight = Preflight(
        needs=(need(make=(INT8, FP32)), need("two")), findings=findings, workers=2
    )
    again = Preflight.load(preflight.dump())
    assert again.dump() == preflight.dump()
    assert again.needs == preflight.needs
    assert isinstance(again.findings.refusals["one"], HubUnreachable)
    narrowed = preflight.only({"one": {"fp32"}})
    assert narrowed.needs == (need(make=(FP32,)),)
    assert preflight.only({"two": ()}).needs == (need("two", make=()),)
    assert preflight.only({}).needs == ()


def gated(method: str, path: str) -> Fault | None:
    """The reranker is gated, and we have no access."""
    return Fault(status=403, code="GatedRepo") if "reranker" in path else None


def small_home(tmp_path: Path, size: str) -> tuple[Path, tuple[str, ...]]:
    """A home on a file system of that size, and what to put before a run that uses it."""
    home = tmp_path / "small"
    script = f'mkdir "$0" && mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    return home, (*in_namespace("--mount"), "sh", "-c", script, str(home))


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
def test_a_run_reports_all_obstacles_before_the_first_byte(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    home, prefix = small_home(tmp_path, "300k")
    with Hub(sample_repos(), faults=gated) as hub:
        done = sample(home, "-m", "pins", *workers, models=None, hub=hub.url, prefix=prefix)
        asked = [(request.method, request.path.split("/")[2]) for request in hub.requests]
    assert done.code == 1, done.out  # one of the two stays
    names = ("tiny-embedding", "tiny-reranker", "tiny-seq2seq")  # several are asked at once
    assert sorted(asked) == [("HEAD", name) for name in names]
    assert "preflight failed: tiny-reranker cannot be prepared (2 problems):" in done.out
    assert re.search(r"  refused by the hub: \S+/tiny-reranker is gated", done.out)
    for name in ("tiny-embedding", "tiny-seq2seq"):
        assert f"preflight failed: {name}: no space left: {home} has " in done.said
    assert " 3 errors, " in done.out and " not reached in " in done.out


def test_a_complete_model_is_tested_where_others_cannot_be_prepared(
    prepared: Path, tmp_path: Path
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    done = sample(home, "-m", "pins", models=None)  # a hub that is not there
    assert done.code == 75, done.out
    assert done.said.count("connection refused. Check the network") >= 1
    models = summary(home)["models"]
    assert [model["status"] for model in models.values()] == [
        "unchecked",  # the pins alone, and the verdict before was of another home
        "transient",
        "transient",
    ]
    assert models[TINY]["tests"]["failed"] == 0
    assert models[TINY]["tests"]["passed"] > 0
