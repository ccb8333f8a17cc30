"""What a load is shown: a home at a place, to a user, on a mount."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.restricted import (
    AS_USER,
    BY_ROOT_ONLY,
    HERE,
    IN_DOCKER,
    IN_DOCKER_AS_USER,
    SERVER,
    in_sandbox,
    may_have_namespaces,
    open_folder,
    python,
)

by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can show another user or machine")
by_mounts = pytest.mark.skipif(not may_have_namespaces(), reason="this machine allows no mounts")
everywhere = pytest.mark.parametrize(
    "on", [HERE, *(pytest.param(on, marks=by_root) for on in BY_ROOT_ONLY)]
)

LOOK = """
def look(args):
    at = Path(args["shown"])
    other = next(Path(mount) for mount in isolation.home_mounts() if mount != str(at))
    return {
        "at": at.name,
        "is HF_HOME": str(at) == os.environ["HF_HOME"],
        "names": names(at),
        "linked": at.is_symlink(),
        "the other place": names(other),
    }
"""


@everywhere
def test_a_home_is_shown_where_the_order_says_and_there_alone(on: str) -> None:
    script = LOOK + 'tell(told=[shown(place)["result"] for place in ("HF_HOME", "path")])'
    seen = {"names": ["key", "weights"], "linked": not may_have_namespaces(on)}
    assert in_sandbox(script, on=on)["told"] == [
        {"at": "hf-home", "is HF_HOME": True, "the other place": [], **seen},
        {"at": "home", "is HF_HOME": False, "the other place": [], **seen},
    ]


@pytest.mark.parametrize("on", [HERE, pytest.param(IN_DOCKER, marks=by_root)])
@pytest.mark.parametrize(
    "ends", ["", "time.sleep(30)", "os._exit(3)"], ids=["done", "late", "died"]
)
def test_both_places_are_empty_folders_again_whatever_became_of_the_job(ends: str, on: str) -> None:
    look = f"""
import time
def look(args):
    Path(tempfile.gettempdir(), "was").touch()
    {ends}
"""
    tail = """
done = [sorted(shown(place, timeout=0.3)) for place in ("HF_HOME", "path")]
state = [[path.is_symlink(), names(path)] for path in map(Path, isolation.home_mounts())]
tell(done=done, state=state, home=names(home))
"""
    reported = in_sandbox(look + tail, on=on)
    kinds = {"": ["network", "peak", "result", "seconds", "writes"], "os._exit(3)": ["died"]}
    assert reported == {
        "done": [kinds.get(ends, ["late"])] * 2,
        "state": [[False, []]] * 2,
        "home": ["key", "weights"],
    }


READ_ONLY = """
def look(args):
    at = Path(args["shown"])
    return {
        "read": read(at / "weights"),
        "write": write(at / "weights"),
        "make": errno_of((at / "new").mkdir),
        "remove": errno_of((at / "weights").unlink),
        "mode": errno_of(lambda: (at / "weights").chmod(0o600)),
        "below": write(at / "hub" / "new"),
        "original": write(home / "weights"),
    }
"""
REFUSED = dict.fromkeys(("write", "make", "remove", "mode", "below"), errno.EROFS)


@pytest.mark.parametrize("on", [HERE, pytest.param(AS_USER, marks=by_root)])
def test_a_read_only_home_refuses_every_change_and_the_original_takes_it(on: str) -> None:
    if not may_have_namespaces(on):
        pytest.skip("this machine allows no mounts")
    tail = """
(home / "hub").mkdir()
tell(told=[shown(place, mount="read-only")["result"] for place in ("HF_HOME", "path")])
"""
    reported = in_sandbox(READ_ONLY + tail, on=on)["told"]
    assert reported == [{"read": 0, **REFUSED, "original": 0}] * 2


@by_root
@by_mounts
def test_a_read_only_home_is_so_below_its_own_mounts_too() -> None:
    """As where the hub's folder is a volume of its own."""
    tail = """
(home / "hub").mkdir()
isolation.check(isolation.libc.unshare(isolation.CLONE_NEWNS), "have own mounts")
isolation._mount(None, "/", isolation.MS_REC | isolation.MS_PRIVATE)
isolation._mount("tmpfs", str(home / "hub"), 0, kind="tmpfs")
tell(before=write(home / "hub" / "new"), **shown(mount="read-only"))
"""
    reported = in_sandbox(READ_ONLY + tail)
    assert (reported["before"], reported["result"]) == (0, {"read": 0, **REFUSED, "original": 0})


BOUND_READ_ONLY = """
for flags in (isolation.MS_BIND, isolation.MS_BIND | isolation.MS_REMOUNT | isolation.MS_RDONLY):
    mount(sys.argv[-1], sys.argv[-1], flags)
"""


@by_root
@by_mounts
@pytest.mark.parametrize("on", [IN_DOCKER, IN_DOCKER_AS_USER])
def test_a_home_that_lies_on_a_read_only_mount_needs_no_other(on: str) -> None:
    """As ``docker run --volume /models:/models:ro`` gives it."""
    tail = 'home = Path(sys.argv[2]); tell(**shown(mount="read-only"))'
    with open_folder(on) as given:
        (given / "weights").touch()
        (given / "hub").mkdir()
        for path in given.iterdir():
            os.chown(path, given.stat().st_uid, -1)
        reported = in_sandbox(READ_ONLY + tail, given, on=on, first=BOUND_READ_ONLY)
    assert reported["result"] == {"read": 0, **REFUSED, "original": errno.EROFS}


WHO = """
def look(args):
    at, status = Path(args["shown"]), Path("/proc/self/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in status)
    return {
        "user": sorted(set(map(int, facts["Uid"].split()))),
        "group": sorted(set(map(int, facts["Gid"].split()))),
        "groups": os.getgroups(),
        "rights": int(facts["CapEff"], 16) | int(facts["CapPrm"], 16),
        "weights": read(at / "weights"),
        "key": read(at / "key"),
        "write": write(at / "weights"),
        "original": read(home / "key"),
        "scratch": write(Path(tempfile.gettempdir(), "file")),
    }
"""


@by_root
@pytest.mark.parametrize("on", [HERE, IN_DOCKER])
@pytest.mark.parametrize(("owner", "stranger"), [(0, 65534), (65534, 65533)])
def test_another_user_is_one_who_owns_nothing_there_and_is_in_no_group(
    owner: int, stranger: int, on: str
) -> None:
    tail = """
os.setgroups([4, 1000])
for path in (home, *home.iterdir()):
    os.chown(path, int(sys.argv[2]), int(sys.argv[2]))
tell(owner=shown()["result"], other=shown(user="other")["result"])
"""
    reported = in_sandbox(WHO + tail, owner, on=on)
    assert reported["other"] == {
        "user": [stranger],
        "group": [stranger],
        "groups": [],
        "rights": 0,
        "weights": 0,
        "key": errno.EACCES,
        "write": errno.EACCES,
        "original": errno.EACCES,
        "scratch": 0,
    }
    assert (reported["owner"]["groups"], reported["owner"]["key"]) == ([4, 1000], 0)


@everywhere
def test_what_a_machine_does_not_allow_is_not_tried_and_says_why(on: str) -> None:
    tail = """
tell(**{f"{user} {mount}": shown(user=user, mount=mount).get("not-tried")
    for user in ("owner", "other") for mount in ("read-write", "read-only")})
"""
    reported = in_sandbox("look = lambda args: None" + tail, on=on)
    mounts = may_have_namespaces(on)
    root = on == IN_DOCKER or (on == HERE and os.geteuid() == 0)
    assert reported == {
        "owner read-write": None,
        "owner read-only": None if mounts else "needs root",
        "other read-write": None if root else "needs root",
        "other read-only": None if root and mounts else "needs root",
    }


LAZY = """
def look(args):
    sys.path_importer_cache.clear()  # a folder that was read before would be known by heart
    facts = {"user": os.getuid(), "secret": read(closed / "secret")}
    import lazy
    return {**facts, "lazy": lazy.WORD}
"""
CLOSED = """
closed = Path(sys.argv[2])
(closed / "lib" / "lazy.py").write_text("WORD = 'imported'")
(closed / "secret").write_text("3.5")
(closed / "secret").chmod(0o644)
closed.chmod(0o700)
sys.path.append(str(closed / "lib"))
"""


@by_root
@by_mounts
def test_libraries_in_a_closed_folder_are_there_for_another_user_and_nothing_else_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "lib").mkdir()
    tail = CLOSED + 'tell(owner=shown()["result"], other=shown(user="other")["result"])'
    reported = in_sandbox(LAZY + tail, tmp_path)
    assert reported["owner"] == {"user": 0, "secret": 0, "lazy": "imported"}
    assert reported["other"] == {"user": 65534, "secret": errno.ENOENT, "lazy": "imported"}


NO_VERDICT = """
told = shown(user="other")
tell(owner="result" in shown(), other=sorted(told.keys() & {"result", "not-tried"}), told=told)
"""


@by_root
@by_mounts
def test_a_folder_of_libraries_that_is_itself_closed_says_nothing_of_the_model() -> None:
    """As an environment is that root made with umask 077."""
    job = """
look = lambda args: None
closed = base / "libraries"
closed.mkdir(0o700)
sys.path.append(str(closed))
"""
    reported = in_sandbox(job + NO_VERDICT)
    assert reported["owner"]
    assert reported["other"], reported["told"]


@by_root
@pytest.mark.parametrize("on", [HERE, IN_DOCKER])
def test_libraries_that_another_user_cannot_reach_say_nothing_of_the_model(on: str) -> None:
    """As where mounting is refused and an open environment's base lies in root's folder."""
    with open_folder() as folder:
        (folder / "lib").mkdir()
        reported = in_sandbox(LAZY + CLOSED + NO_VERDICT, folder, on=on)
    assert reported["owner"]
    assert reported["other"], reported["told"]


@by_root
@by_mounts
@pytest.mark.parametrize("beside", ["the interpreter", "nothing"])
def test_a_temporary_folder_that_is_closed_says_nothing_of_the_model(
    tmp_path: Path, beside: str
) -> None:
    """As ``TMPDIR=/tmp/user/0`` is, or one below root's home, where the interpreter may be too."""
    (tmp_path / "lib").mkdir()
    tmp_path.chmod(0o700)
    look = "def look(args):\n    return names(Path(args['shown']))\n"
    more = 'sys.path.append(str(base / "lib"))' if beside == "the interpreter" else ""
    reported = python(SERVER + look + more + NO_VERDICT, tmp_path)
    assert reported["owner"]
    assert reported["other"], reported["told"]
