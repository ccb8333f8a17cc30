"""No network means none, by the kernel's word, whatever the machine allows."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.restricted import (
    BY_ROOT_ONLY,
    HERE,
    IN_DOCKER,
    USER,
    bare_python,
    libraries_of,
    may_have_namespaces,
    open_folder,
    python,
)

NO_NETWORK = errno.ENETUNREACH
by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can show another machine")
everywhere = pytest.mark.parametrize(
    "on", [HERE, *(pytest.param(on, marks=by_root) for on in BY_ROOT_ONLY)]
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Something on this machine that can be reached, until one is cut off."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def tier_of(on: str) -> str:
    return "network namespace" if may_have_namespaces(on) else "seccomp filter"


REACH = """
port = int(sys.argv[1])
namespace = os.readlink("/proc/self/ns/net")
before = errno_of(lambda: socket.create_connection(("127.0.0.1", port), 5).close())
tier = network_cut.cut()
def connect():
    socket.create_connection(("127.0.0.1", port), 5).close()
def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(b"x")
child = '''
import socket, sys
try:
    socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)
except OSError as error:
    sys.exit(error.errno)
'''
seen = []
thread = threading.Thread(target=lambda: seen.append(errno_of(connect)))
thread.start()
thread.join()
tell(
    tier=tier,
    ids=[os.getuid(), os.getgid()],
    own_namespace=os.readlink("/proc/self/ns/net") != namespace,
    before=before,
    after=errno_of(connect),
    thread=seen[0],
    child=subprocess.run([sys.executable, "-c", child, str(port)]).returncode,
    datagram=errno_of(lambda: send(socket.AF_INET, ("127.0.0.1", port))),
    version_6=errno_of(lambda: send(socket.AF_INET6, ("::1", port))) != 0,
    name=errno_of(lambda: socket.getaddrinfo("localhost.example", 443)) != 0,
)
"""


@everywhere
def test_a_process_that_is_cut_off_cannot_reach_even_its_own_machine_and_stays_its_user(
    listener: socket.socket, on: str
) -> None:
    got = python(REACH, listener.getsockname()[1], on=on)
    here = [os.getuid(), os.getgid()]
    assert got == {
        "tier": tier_of(on),
        "ids": {HERE: here, IN_DOCKER: [0, 0]}.get(on, [USER, USER]),
        "own_namespace": may_have_namespaces(on),
        "before": 0,
        "after": NO_NETWORK,
        "thread": NO_NETWORK,
        "child": NO_NETWORK,
        "datagram": NO_NETWORK,
        "version_6": True,
        "name": True,
    }


@by_root
def test_a_container_refuses_what_docker_refuses() -> None:
    """Or the tests that start one would prove nothing."""
    script = """
before = Path("/proc/self/status").read_text()
acts = {
    "unshare": lambda: isolation.check(isolation.libc.unshare(isolation.CLONE_NEWNS), ""),
    "user": lambda: isolation.enter_user_namespace(0),
    "mount": lambda: isolation._mount("/tmp", "/tmp", isolation.MS_BIND),
}
tell(codes={name: errno_of(act) for name, act in acts.items()}, capabilities=[
    line.split()[1].lstrip("0") for line in before.splitlines() if line.startswith("CapEff")])
"""
    got = python(script, on=IN_DOCKER)
    assert got == {
        "codes": dict.fromkeys(("unshare", "user", "mount"), errno.EPERM),
        "capabilities": ["a80425fb"],  # as `docker run --rm alpine grep CapEff /proc/self/status`
    }


def test_this_process_is_not_taken_for_cut_off() -> None:
    """Or every tier would look like one that works."""
    assert python("tell(cut=network_cut._is_cut())") == {"cut": False}


REFUSE = """
def refuse():
    raise OSError(errno.EPERM, "not here")
"""


@pytest.mark.parametrize(
    ("refused", "tier"),
    [
        ("network_cut._namespace = refuse", "seccomp filter"),
        ("network_cut._namespace = network_cut._seccomp = refuse", "Python guard only"),
        ("network_cut._namespace = lambda: None", "seccomp filter"),  # it says so, but it is not
    ],
    ids=["no namespaces", "nothing allowed", "a namespace that cuts nothing"],
)
def test_the_next_tier_stands_in_where_the_machine_refuses(refused: str, tier: str) -> None:
    got = python(f"{REFUSE}\n{refused}\ntell(tier=network_cut.cut(), cut=network_cut._is_cut())")
    assert got == {"tier": tier, "cut": tier != "Python guard only"}


def test_the_filter_refuses_every_socket_but_unix_ones(tmp_path: Path) -> None:
    script = """
network_cut._seccomp()
families = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET")
codes = {name: errno_of(lambda: socket.socket(getattr(socket, name))) for name in families}
first, second = socket.socketpair()
first.sendall(b"pair")
path = sys.argv[1]
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(path)
    server.listen()
    client.connect(path)
    accepted, _ = server.accept()
    client.sendall(b"path")
    received = accepted.recv(9).decode()
status = dict(line.split(":\\t") for line in open("/proc/self/status") if ":\\t" in line)
tell(codes=codes, pair=second.recv(9).decode(), path=received, mode=int(status["Seccomp"]))
"""
    assert python(script, tmp_path / "s") == {
        "codes": dict.fromkeys(["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"], NO_NETWORK),
        "pair": "pair",
        "path": "path",
        "mode": 2,
    }


XET = """
import hf_xet
if sys.argv[2] != "none":
    getattr(network_cut, sys.argv[2])()
def fetch():
    hf_xet.download_files(
        [hf_xet.PyXetDownloadInfo(sys.argv[3], "a" * 64, 100)],
        endpoint=f"http://127.0.0.1:{sys.argv[1]}",
        token_info=("token", 9999999999),
        token_refresher=lambda: ("token", 9999999999),
        progress_updater=[None],
    )
thread = threading.Thread(target=fetch, daemon=True)
thread.start()
thread.join(1)
tell(done=True)
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("cut", ["none", "_seccomp"])
def test_a_client_in_rust_is_cut_off_like_any_other(
    listener: socket.socket, tmp_path: Path, cut: str
) -> None:
    """The hub's Xet client opens its sockets below Python: the guard alone would not see it."""
    python(XET, listener.getsockname()[1], cut, tmp_path / "file")
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
        came = True
    except BlockingIOError:
        came = False
    assert came == (cut == "none")  # where nothing is cut it comes through, or nothing was shown


# What a service's environment holds beside the probe: it asks in a process that no guard watches.
JOB = """
import os, subprocess, sys

ASK = '''
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
except OSError as error:
    sys.exit(error.errno)
'''

def look(order):
    file = os.path.join(order["shown"], "weights")
    try:
        open(file, "a").close()
    except OSError as error:
        refused = error.errno
    else:
        refused = 0
    return {
        "child": subprocess.run([sys.executable, "-c", ASK, str(order["port"])]).returncode,
        "user": os.getuid(),
        "read": open(file).read(),
        "write": refused,
        "linked": os.path.islink(order["shown"]),
    }
"""
SERVED = """
from prep.tasks.consumers import Case, Interpreter
from prep.errors import NotTried
from prep.sandbox.import_server import ImportServer
base, service, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
home, scratch = base / "models", base / "scratch"
home.mkdir()
scratch.mkdir()
(home / "weights").write_text("1.5")
reached = errno_of(lambda: socket.create_connection(("127.0.0.1", port), 5).close())
server = ImportServer(scratch, Interpreter(python=service, label="service"))
def look(**case):
    case = Case(way="name", cache="HF_HOME", **case)
    try:
        doing = "looking"
        return server.run("job:look", {"port": port}, doing=doing, home=home, case=case).value
    except NotTried as reason:
        return str(reason)
try:
    cut = server.ready()["cut"]
    loads = [look(), look(mount="read-only"), look(user="other")]
finally:
    server.stop()
places = sorted(path for path in scratch.glob("offline-*/h*") if path.name in ("home", "hf-home"))
tell(cut=cut, before=reached, loads=loads, links=[path.is_symlink() for path in places])
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Path]:
    """Somebody's interpreter, where everybody can run it."""
    with open_folder() as folder:
        found = bare_python(folder / "service")
        (libraries_of(found) / "job.py").write_text(JOB, encoding="utf-8")
        yield found


@everywhere
def test_each_tier_holds_for_loads_from_the_server_to_the_last_child(
    listener: socket.socket, service: Path, on: str
) -> None:
    with open_folder(on) as folder:
        got = python(SERVED, folder, service, listener.getsockname()[1], on=on)
    mounts, root = may_have_namespaces(on), on in (HERE, IN_DOCKER) and os.geteuid() == 0
    me = {HERE: os.getuid(), IN_DOCKER: 0}.get(on, USER)
    seen = {"child": NO_NETWORK, "user": me, "read": "1.5", "write": 0, "linked": not mounts}
    not_tried = "needs root"
    assert got == {
        "cut": tier_of(on),
        "before": 0,
        "loads": [
            seen,
            {**seen, "write": errno.EROFS} if mounts else not_tried,
            {**seen, "user": 65534, "write": errno.EACCES} if root else not_tried,
        ],
        "links": [False, False],
    }
