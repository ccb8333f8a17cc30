"""What keeps a set from being prepared is told before the first byte, all of it in one list."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from prep.errors import HubRefused, HubUnreachable, PreflightFailed, PreflightTransient
from prep.machine.disk import Disk, why_not_writable
from prep.machine.memory import Memory, memory
from prep.stages.estimates import Make
from prep.stages.preflight import Facts, Need, Preflight, judge
from sample_hub.server import Fault, Hub, sample_repos
from tests.support.runs import TINY, copy_home, in_namespace, sample, summary
from tests.support.small_homes import write_bytes

GB = 10**9
ROOMY = Facts(
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


def told(facts: Facts, *needs: Need, workers: int = 1) -> str:
    """All obstacles, one a line."""
    return "\n".join(map(str, judge(needs or (need(),), facts, workers)))


def test_nothing_stands_in_the_way_where_there_is_room() -> None:
    assert told(ROOMY) == ""


def test_disk_is_asked_for_the_whole_set_and_for_what_is_there_meanwhile() -> None:
    small = Disk(place="/srv", free=2 * GB, files=None)
    two = need(), need("two", fetch=0, make=(FP32, INT8))
    assert told(replace(ROOMY, home=small), *two) == (
        "one, two: /srv has 2000000000 bytes free, 2501048576 are needed (1000000000 to fetch, "
        "1500000000 for conversions). Make room there, or prepare fewer models (--models)."
    )
    assert told(replace(ROOMY, home=small, temporary=small)) == (
        "one: /srv has 2000000000 bytes free, 2251048576 are needed (1000000000 to fetch, "
        "250000000 for conversions, 1000000000 while converting). Make room there, or prepare "
        "fewer models (--models)."
    )


def test_a_small_folder_for_temporary_files_is_told() -> None:
    small = Disk(place="/tmp", free=GB - 1, files=None)
    assert told(replace(ROOMY, temporary=small)) == (
        "one: /tmp has 999999999 bytes free, 1000000000 are needed there while converting. Make "
        "room there, or set TMPDIR to a folder on a larger disk."
    )
    assert told(replace(ROOMY, temporary=small), need(make=())) == ""


def test_files_count_where_the_disk_counts_them() -> None:
    full = Disk(place="/srv", free=100 * GB, files=51)
    assert told(replace(ROOMY, home=full)) == (
        "one: /srv has room for 51 more files (inodes), 52 are needed. Remove files there that "
        "nobody needs, or give another --model-home."
    )
    assert told(replace(ROOMY, home=replace(full, files=52))) == ""


def test_memory_is_asked_for_as_many_models_as_are_converted_side_by_side() -> None:
    bound = Memory(free=3 * GB, limit=4 * GB, bound="the control group /sys/fs/cgroup/job")
    facts = replace(ROOMY, memory=bound)
    two = need(make=(INT8, FP32)), need("two")
    assert told(facts, *two) == ""
    assert told(facts, *two, workers=2) == (
        "one, two: the control group /sys/fs/cgroup/job has 3000000000 of 4000000000 bytes of "
        "memory free, 5000000000 are needed while converting. Raise the limit, end other "
        "processes, or prepare fewer models at once (-n); --precision none prepares the original "
        "weights alone."
    )


def test_one_list_holds_everything_and_is_told_once() -> None:
    gone, gated = HubUnreachable("The hub is not there."), HubRefused("org/two is gated.")
    facts = replace(
        ROOMY,
        memory=Memory(free=0, limit=GB, bound="this machine"),
        closed={"/srv/models": "Read-only file system"},
        refusals={"one": gone, "two": gated, "three": gone},
    )
    needs = need(), need("two", make=()), need("three", make=())
    flight = Preflight(needs=needs, facts=facts)
    first = flight.refusal("one")
    assert first is not None
    assert str(first[0]) == (
        "The preparation cannot begin (4 problems):\n"
        "  one, three: The hub is not there.\n"
        "  two: org/two is gated.\n"
        "  one, two, three: /srv/models cannot be written (Read-only file system). Give a home "
        "that this user may write (--model-home), or check this one as it is with --offline.\n"
        "  one: this machine has 0 of 1000000000 bytes of memory free, 2000000000 are needed while "
        "converting. Raise the limit, end other processes; --precision none prepares the original "
        "weights alone."
    )
    assert [flight.refusal(name)[1] for name in ("one", "two", "three")] == [True, False, False]  # type: ignore[index]
    assert flight.refusal("whole") is None


def test_what_can_pass_is_told_from_what_stays() -> None:
    facts = replace(ROOMY, refusals={"one": HubUnreachable("gone"), "two": HubRefused("gated")})
    flight = Preflight(needs=(need(), need("two")), facts=facts)
    assert [type(flight.refusal(name)[0]) for name in ("one", "two")] == [
        PreflightTransient,
        PreflightFailed,
    ]  # type: ignore[index]


def test_a_look_is_the_same_in_another_process_and_narrowed_to_what_was_chosen() -> None:
    facts = replace(ROOMY, refusals={"one": HubUnreachable("gone")}, closed={"/srv": "no"})
    flight = Preflight(needs=(need(make=(INT8, FP32)), need("two")), facts=facts, workers=2)
    again = Preflight.load(flight.dump())
    assert again.dump() == flight.dump()
    assert again.needs == flight.needs
    assert isinstance(again.facts.refusals["one"], HubUnreachable)
    narrowed = flight.only({"one": {"fp32"}})
    assert narrowed.needs == (need(make=(FP32,)),)
    assert flight.only({"two": ()}).needs == (need("two", make=()),)
    assert flight.only({}).needs == ()


def machine(root: Path, **files: str) -> Memory:
    """What is told of a machine whose /proc and /sys/fs/cgroup hold these files."""
    write_bytes(
        root / "proc/meminfo", b"MemTotal: 8000 kB\nMemAvailable: 6000 kB\nSwapFree: 0 kB\n"
    )
    for path, text in files.items():
        write_bytes(root / path, text.encode())
    return memory(root / "proc", root / "cgroup")


def test_memory_without_a_control_group_is_the_machines(tmp_path: Path) -> None:
    assert machine(tmp_path, **{"proc/vmstat": "oom_kill 2\n"}) == Memory(
        free=6000 << 10, limit=8000 << 10, bound="this machine", kills=2
    )


def test_memory_is_bound_by_the_narrowest_group_above(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/jobs/one\n",
            "cgroup/jobs/one/memory.max": "max\n",
            "cgroup/jobs/memory.max": "5000000\n",
            "cgroup/jobs/memory.current": "4000000\n",
            "cgroup/jobs/memory.stat": "anon 1\ninactive_file 500000\n",
            "cgroup/jobs/memory.peak": "4500000\n",
            "cgroup/jobs/memory.events": "oom 3\noom_kill 1\n",
        },
    )
    bound = f"the control group {tmp_path}/cgroup/jobs"
    assert found == Memory(free=1500000, limit=5000000, bound=bound, peak=4500000, kills=1)


def test_memory_of_version_1_in_a_container_is_told_by_its_root(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        **{
            "proc/self/cgroup": "4:cpu,memory:/docker/abc\n1:cpu:/x\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": "3000000\n",
            "cgroup/memory/memory.usage_in_bytes": "2000000\n",
            "cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000\n",
            "cgroup/memory/memory.max_usage_in_bytes": "2900000\n",
            "cgroup/memory/memory.oom_control": "oom_kill_disable 0\noom_kill 4\n",
        },
    )
    bound = f"the control group {tmp_path}/cgroup/memory"
    assert found == Memory(free=1100000, limit=3000000, bound=bound, peak=2900000, kills=4)
    no_limit = {"cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine(tmp_path, **no_limit).bound == "this machine"


def test_trying_to_write_leaves_no_trace(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    assert why_not_writable(tmp_path) is None
    assert (tmp_path.stat().st_mtime_ns, list(tmp_path.iterdir())) == (before, [])


def gated(method: str, path: str) -> Fault | None:
    """The reranker is gated, and we have no access."""
    return Fault(status=403, code="GatedRepo") if "reranker" in path else None


def small_home(tmp_path: Path, size: str) -> tuple[Path, tuple[str, ...]]:
    """A home on a file system of that size, and what to put before a run that uses it."""
    home = tmp_path / "small"
    script = f'mkdir "$0" && mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    return home, (*in_namespace("--mount"), "sh", "-c", script, str(home))


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
def test_everything_is_told_once_before_the_first_byte(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    home, prefix = small_home(tmp_path, "300k")
    with Hub(sample_repos(), faults=gated) as hub:
        done = sample(home, "-m", "pins", *workers, models=None, hub=hub.url, prefix=prefix)
        asked = [(request.method, request.path.split("/")[2]) for request in hub.requests]
    assert done.code == 1, done.out  # one of the two stays
    assert asked == [("HEAD", name) for name in ("tiny-embedding", "tiny-reranker", "tiny-seq2seq")]
    assert done.out.count("The preparation cannot begin (2 problems):") == 1
    assert re.search(r"tiny-reranker: \S+/tiny-reranker is gated", done.said)
    assert f"tiny-embedding, tiny-reranker, tiny-seq2seq: {home} has " in done.said
    assert "1 error, " in done.out and " not reached in " in done.out


def test_what_is_whole_is_judged_where_others_cannot_begin(prepared: Path, tmp_path: Path) -> None:
    home = copy_home(prepared, tmp_path / "home")
    done = sample(home, "-m", "pins", models=None)  # a hub that is not there
    assert done.code == 75, done.out
    assert done.said.count("cannot be reached (connection refused)") >= 1
    models = summary(home)["models"]
    assert [model["status"] for model in models.values()] == [
        "unchecked",  # the pins alone, and the verdict before was of another home
        "transient",
        "transient",
    ]
    assert models[TINY]["tests"]["failed"] == 0
    assert models[TINY]["tests"]["passed"] > 0
