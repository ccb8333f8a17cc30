"""Nothing of a load's surroundings leaks or stays, and it removes nothing but its own."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.restricted import (
    BY_ROOT_ONLY,
    HERE,
    IN_DOCKER,
    bare_python,
    in_sandbox,
    libraries_of,
    may_have_namespaces,
    open_folder,
    python,
)

by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can show another user or machine")
by_mounts = pytest.mark.skipif(not may_have_namespaces(), reason="this machine allows no mounts")
everywhere = pytest.mark.parametrize(
    "on", [HERE, *(pytest.param(on, marks=by_root) for on in BY_ROOT_ONLY)]
)

MOUNTED = """
def look(args):
    def points(who):
        return sorted(line.split()[4] for line in open(f"/proc/{who}/mountinfo"))
    return {
        "outside": points(os.getppid()) if os.getuid() == 0 else [],
        "inside": points("self"),
        "scratch": os.path.realpath(tempfile.gettempdir()),
    }
"""
ALL_ORDERS = """
orders = [{"place": place, "user": user, "mount": mount} for place in ("HF_HOME", "path")
    for user in ("owner", "other") for mount in ("read-write", "read-only")]
"""


@by_root
@by_mounts
def test_mounts_are_seen_by_the_job_alone() -> None:
    """Even where mounts of this machine spread to others' namespaces, as systemd has it."""
    tail = """
isolation.check(isolation.libc.unshare(isolation.CLONE_NEWNS), "have own mounts")
isolation._mount(None, "/", isolation.MS_REC | isolation.MS_PRIVATE)
isolation._mount(None, "/", isolation.MS_REC | 1 << 20)  # MS_SHARED
before = Path("/proc/self/mounts").read_text()
told = [shown(**order)["result"] for order in orders]
after = Path("/proc/self/mounts").read_text()
tell(told=told, same=before == after, places=isolation.home_mounts())
"""
    reported = in_sandbox(MOUNTED + ALL_ORDERS + tail)
    assert reported["same"]
    for order in reported["told"]:
        assert set(reported["places"]) & set(order["inside"])
        assert not set(reported["places"]) & set(order["outside"])


@by_mounts
def test_nothing_is_mounted_where_the_job_removes_its_files() -> None:
    """What is mounted in the scratch folder would be removed with it: the home, the libraries."""
    tail = """
libraries = base / "closed" / "libraries"
libraries.mkdir(parents=True)
libraries.parent.chmod(0o700)
sys.path.append(str(libraries))
told = [one["result"] for order in orders if "result" in (one := shown(**order))]
tell(told=told, left=[str(path) for path in private.rglob("*") if not path.is_dir()])
"""
    reported = in_sandbox(MOUNTED + ALL_ORDERS + tail)
    assert len(reported["told"]) == (8 if os.geteuid() == 0 else 4)
    for order in reported["told"]:
        assert order["inside"]
        assert [at for at in order["inside"] if f"{at}/".startswith(f"{order['scratch']}/")] == []
    assert reported["left"] == []


@everywhere
def test_removing_a_jobs_files_follows_no_link_out_of_them(on: str) -> None:
    """As a library links to what it found in the cache."""
    script = """
def look(args):
    scratch = Path(tempfile.gettempdir())
    (scratch / "home").symlink_to(args["shown"])
    (scratch / "files").mkdir()
    for name in ("weights", "key"):
        (scratch / "files" / name).symlink_to(home / name)
    return {"scratch": str(scratch)}
scratch = shown()["result"]["scratch"]
tell(gone=not os.path.lexists(scratch), home=names(home), read=read(home / "weights"))
"""
    reported = in_sandbox(script, on=on)
    assert reported == {"gone": True, "home": ["key", "weights"], "read": 0}


@everywhere
def test_the_end_of_a_run_in_the_middle_of_a_job_removes_nothing_of_the_home(on: str) -> None:
    """The folder with both places is removed while one of them still shows the home."""
    script = """
import time
def look(args):
    (Path(args["shown"]) / "seen").touch()
    time.sleep(60)
server = os.fork()
if server == 0:
    shown()
while not (home / "seen").exists():
    time.sleep(0.01)
link = [Path(place).is_symlink() for place in isolation.home_mounts()]
shutil.rmtree(private)
os.kill(server, 9)
tell(gone=not private.exists(), home=names(home), link=any(link))
"""
    reported = in_sandbox(script, on=on)
    linked = not may_have_namespaces(on)
    assert reported == {"gone": True, "home": ["key", "seen", "weights"], "link": linked}


@by_root
@pytest.mark.parametrize("on", [HERE, IN_DOCKER])
@pytest.mark.parametrize("user", ["owner", "other"])
def test_a_job_ends_with_its_server_as_whichever_user_it_runs(user: str, on: str) -> None:
    script = """
import time
def look(args):
    Path(tempfile.gettempdir(), "pid").write_text(str(os.getpid()))
    time.sleep(60)
server = os.fork()
if server == 0:
    shown(user=sys.argv[2])
def wait(condition):
    ends = time.monotonic() + 10
    while not (seen := condition()) and time.monotonic() < ends:
        time.sleep(0.01)
    return seen
pid = wait(lambda: "".join(file.read_text() for file in private.glob("tmp/job-*/pid")))
def state():
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"
before = state()
os.kill(server, 9)
tell(before=before in "SR", gone=wait(lambda: state() in "XZ"))
"""
    assert in_sandbox(script, user, on=on) == {"before": True, "gone": True}


SERVICE = """
import os, subprocess, sys

def look(order):
    try:
        open(order["secret"]).close()
    except OSError as error:
        secret = error.errno
    else:
        secret = 0
    facts = {"user": os.getuid(), "secret": secret}
    import late
    import wave
    again = subprocess.run([sys.executable, "-c", "import late"]).returncode
    return {**facts, "late": late.WORD, "again": again}
"""
SERVED = """
from prep.tasks.consumers import Case, Interpreter
from prep.sandbox.import_server import ImportServer
base, service = Path(sys.argv[1]), Path(sys.argv[2])
(base / "models").mkdir()
server = ImportServer(base, Interpreter(python=service, label="service"))
def look(user):
    case = Case(way="path", cache=None, user=user)
    args = {"secret": sys.argv[3]}
    return server.run("job:look", args, doing="", home=base / "models", case=case).value
try:
    tell(owner=look("owner"), other=look("other"))
finally:
    server.stop()
"""


@by_root
@by_mounts
def test_somebody_elses_interpreter_in_a_closed_folder_serves_another_user(tmp_path: Path) -> None:
    service = bare_python(tmp_path / "service")
    (libraries_of(service) / "job.py").write_text(SERVICE, encoding="utf-8")
    (libraries_of(service) / "late.py").write_text("WORD = 'imported'", encoding="utf-8")
    secret = tmp_path / "secret"
    secret.touch()
    tmp_path.chmod(0o700)
    with open_folder() as base:
        reported = python(SERVED, base, service, secret)
    seen = {"late": "imported", "again": 0}
    assert reported["owner"] == {"user": 0, "secret": 0, **seen}
    assert reported["other"] == {"user": 65534, "secret": errno.ENOENT, **seen}
    assert secret.exists()
