"""Scripts in processes of their own, on machines that allow them less than this one does.

Shown are an ordinary user's process, and root's and a user's in a container that Docker started by
its default rules.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

USER = 12345  # no user of this machine

HERE, AS_USER = "as whoever runs the tests", "as an ordinary user"
IN_DOCKER, IN_DOCKER_AS_USER = "as root in a container", "as a user in a container"
BY_ROOT_ONLY = (AS_USER, IN_DOCKER, IN_DOCKER_AS_USER)

PRELUDE = """
import ctypes, encodings.ascii, errno, json, os, select, shutil, socket, subprocess, sys, tempfile
import threading, time
from pathlib import Path
from prep.sandbox import network_cut
from prep.sandbox.probe import isolation, serve
from prep.sandbox.probe.guard import Guard

def errno_of(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0

def tell(**facts):
    print(json.dumps(facts))
"""

# Where the interpreter lies in root's closed folder it is shown to all, in this process's mounts.
MOUNTS = """
import os, sys
from prep.sandbox.probe import isolation
check, libc, mount = isolation.check, isolation.libc, isolation._mount
if libc.unshare(isolation.CLONE_NEWNS) == 0:
    mount(None, "/", isolation.MS_REC | isolation.MS_PRIVATE)
"""
OPENED = """
    os.environ["HF_HOME"] = sys.argv[1]
    isolation._uncover(isolation._libraries())
    del os.environ["HF_HOME"]
"""
BECOME_USER = f"""
os.setgroups([])
os.setgid({USER})
os.setuid({USER})
"""
# Root keeps the fourteen capabilities of Docker's default, and Docker's seccomp profile lets nobody
# without CAP_SYS_ADMIN make namespaces or mounts: https://docs.docker.com/engine/security/seccomp/
BECOME_CONTAINER = """
import ctypes, errno, platform, struct
KEPT = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
arch, clone, clone3, refused = {
    "x86_64": (0xC000003E, 56, 435, (272, 308, 165, 166, 155)),
    "aarch64": (0xC00000B7, 220, 435, (97, 268, 40, 39, 41)),
}[platform.machine()]  # unshare, setns, mount, umount2, pivot_root
allow, no, unknown = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
load, equal, any_of, ret = 0x20, 0x15, 0x45, 0x06
steps = [(load, 0, 0, 4), (equal, 1, 0, arch), (ret, 0, 0, allow), (load, 0, 0, 0)]
for number in refused:
    steps += [(equal, 0, 1, number), (ret, 0, 0, no)]
steps += [(equal, 0, 1, clone3), (ret, 0, 0, unknown), (equal, 0, 3, clone), (load, 0, 0, 16)]
steps += [(any_of, 0, 1, 0x7E020000), (ret, 0, 0, no), (ret, 0, 0, allow)]
program = b"".join(struct.pack("HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(program, len(program))
class Filter(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("program", ctypes.c_void_p))
wanted = Filter(len(steps), ctypes.cast(buffer, ctypes.c_void_p))
if libc.prctl(22, 2, ctypes.byref(wanted), 0, 0) != 0:  # no CAP_SYS_ADMIN even now
    libc.prctl(38, 1, 0, 0, 0)
    check(libc.prctl(22, 2, ctypes.byref(wanted), 0, 0), "install Docker's filter")
for capability in set(range(64)) - set(KEPT):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: holds from the next exec on
"""
BECOME = {
    AS_USER: BECOME_USER,
    IN_DOCKER: BECOME_CONTAINER,
    IN_DOCKER_AS_USER: BECOME_CONTAINER + BECOME_USER,
}
EXEC = "\nos.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


def python(script: str, *args: object, on: str = HERE, first: str = "", **env: str) -> Any:
    """Run a script in a process of its own, on such a machine; gives what it reported.

    `first` is done before, while all is still allowed; it can call ``mount``.
    """
    command = ["-c", PRELUDE + (MOUNTS + first if first else "") + script, *map(str, args)]
    with open_folder() as folder:
        if on != HERE:
            become = MOUNTS + OPENED + first + BECOME[on] + EXEC
            command = ["-c", become, str(folder / "hf-home"), "-c", PRELUDE + script]
            command += map(str, args)
        return told_by([sys.executable, *command], **env)


def told_by(command: list[str], **env: str) -> Any:
    """The last line that a process prints, as JSON."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def open_folder(on: str = HERE) -> Iterator[Path]:
    """A new folder that everybody can enter, which pytest's are not; owned by who runs there."""
    with tempfile.TemporaryDirectory(prefix="open-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        if on in (AS_USER, IN_DOCKER_AS_USER):
            os.chown(folder, USER, USER)
        yield folder


# The folders of an import server, and a home: ``weights`` for all, ``key`` for its owner alone.
# `shown` does a job there as the server does it: in a forked child, in such a sandbox.
SERVER = """
base, job = Path(sys.argv[1]), "__main__:look"
home, private = base / "models", base / "private"
for folder in (home, private / "hf-home", private / "home", private / "tmp"):
    folder.mkdir(parents=True)
for folder in (private, private / "tmp"):
    folder.chmod(0o711)
(home / "weights").write_text("1.5")
(home / "key").write_text("2.5")
(home / "key").chmod(0o600)
os.environ["HF_HOME"], tempfile.tempdir = str(private / "hf-home"), str(private / "tmp")

def shown(place="HF_HOME", user="owner", mount="read-write", timeout=20):
    sandbox = {"home": str(home), "as": place, "user": user, "mount": mount}
    order = {"call": job, "args": {}, "may_write": [], "threads": None, "timeout": timeout}
    forked = serve.Job({**order, "sandbox": sandbox, "order": 1})
    is_over = False
    while not is_over and (left := forked.ends - time.monotonic()) > 0:
        is_over = bool(select.select([forked.handle], [], [], left)[0]) and forked.is_over()
    message = forked.message() if is_over else forked.late()
    isolation.empty_home_mounts()
    return message

def write(path):
    return errno_of(lambda: path.open("a").close())

def read(path):
    return errno_of(path.read_text)

def names(folder):
    return sorted(path.name for path in folder.iterdir())
"""


def in_sandbox(script: str, *args: object, on: str = HERE, first: str = "") -> Any:
    """Run a script that defines the job ``look`` and orders it by ``shown``; gives its report."""
    with open_folder(on) as base:
        return python(SERVER + script, base, *args, on=on, first=first)


@functools.cache
def may_have_namespaces(on: str = HERE) -> bool:
    """Whether a process on such a machine may have a network and mounts of its own."""
    if on in (IN_DOCKER, IN_DOCKER_AS_USER):
        return False
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    root = os.geteuid() == 0 and on == HERE
    more = [] if root else ["--user", "--map-current-user"]
    command = ["unshare", *more, "--net", "--mount", "true"]
    done = subprocess.run(
        [*(become if on == AS_USER else []), *command], capture_output=True, check=False
    )
    return done.returncode == 0


def bare_python(at: Path) -> Path:
    """Somebody's environment with no library in it; gives its interpreter."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", str(at)], check=True, timeout=60)
    return at / "bin" / "python"


def libraries_of(python: Path) -> Path:
    """Where such an interpreter looks for its libraries."""
    return next((python.parent.parent / "lib").glob("python3*/site-packages"))
