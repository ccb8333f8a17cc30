"""No network means none, by the kernel's word; the guard in Python then says who asked for it."""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = errno.ENETUNREACH

PRELUDE = """
import ctypes, encodings.ascii, errno, json, os, socket, subprocess, sys, threading
from pathlib import Path
from prep.offline import netcut
from prep.offline.guard import Guard

def errno_of(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0

def tell(**facts):
    print(json.dumps(facts))
"""


def python(script: str, *args: object) -> dict[str, Any]:
    """Run a script in a process of its own; gives what it told."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def allowed(attempt: str) -> bool:
    """Whether this machine lets a process cut itself off in that way."""
    script = f"tell(code=errno_of(lambda: netcut.{attempt}()))"
    return bool(python(script)["code"] == 0)


@pytest.fixture(scope="module")
def namespaces() -> bool:
    """Whether a process may make a network namespace here: as root, or in a user namespace."""
    return allowed("_namespace")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Something on this machine that can be reached, until one is cut off."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


REACH = """
port = int(sys.argv[1])
before = errno_of(lambda: socket.create_connection(("127.0.0.1", port), 5).close())
tier = netcut.cut()
def connect():
    socket.create_connection(("127.0.0.1", port), 5).close()
def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect(address)
        one.send(b"x")
child = "import socket; socket.create_connection(('127.0.0.1', %d), 5)" % port
seen = []
thread = threading.Thread(target=lambda: seen.append(errno_of(connect)))
thread.start()
thread.join()
tell(
    tier=tier,
    before=before,
    after=errno_of(connect),
    thread=seen[0],
    child=subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL).returncode,
    datagram=errno_of(lambda: send(socket.AF_INET, ("127.0.0.1", port))),
    version_6=errno_of(lambda: send(socket.AF_INET6, ("::1", port))) != 0,
    name=errno_of(lambda: socket.getaddrinfo("localhost.example", 443)) != 0,
)
"""


def test_a_process_that_is_cut_off_cannot_reach_even_its_own_machine(
    listener: socket.socket, namespaces: bool
) -> None:
    told = python(REACH, listener.getsockname()[1])
    assert told == {
        "tier": "network namespace" if namespaces else "seccomp filter",
        "before": 0,
        "after": NO_NETWORK,
        "thread": NO_NETWORK,
        "child": 1,
        "datagram": NO_NETWORK,
        "version_6": True,
        "name": True,
    }


AS_NOBODY = """
address = ("127.0.0.1", int(sys.argv[1]))
how = getattr(netcut, sys.argv[2])
encodings.ascii  # what nobody may read must be there already
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as for any process that this user starts
before = errno_of(lambda: socket.socket().connect(address))
how()
after = errno_of(lambda: socket.socket().connect(address))
tell(before=before, after=after, user=os.getuid(), group=os.getgid())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("how", ["cut", "_seccomp"])
def test_a_user_without_rights_can_be_cut_off_as_well(listener: socket.socket, how: str) -> None:
    told = python(AS_NOBODY, listener.getsockname()[1], how)
    assert told == {"before": 0, "after": NO_NETWORK, "user": 12345, "group": 12345}


def test_this_process_is_not_taken_for_cut_off() -> None:
    """Or every tier would look like one that works."""
    assert python("tell(cut=netcut._is_cut())") == {"cut": False}


REFUSE = """
def refuse():
    raise OSError(errno.EPERM, "not here")
"""


@pytest.mark.parametrize(
    ("refused", "tier"),
    [
        ("netcut._namespace = refuse", "seccomp filter"),
        ("netcut._namespace = netcut._seccomp = refuse", "Python guard only"),
        ("netcut._namespace = lambda: None", "seccomp filter"),  # it says so, but it is not
    ],
    ids=["no namespaces", "nothing allowed", "a namespace that cuts nothing"],
)
def test_the_next_tier_stands_in_where_the_machine_refuses(refused: str, tier: str) -> None:
    told = python(f"{REFUSE}\n{refused}\ntell(tier=netcut.cut(), cut=netcut._is_cut())")
    assert told == {"tier": tier, "cut": tier != "Python guard only"}


def test_the_filter_refuses_every_socket_but_unix_ones(tmp_path: Path) -> None:
    script = """
netcut._seccomp()
families = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET")
codes = {name: errno_of(lambda: socket.socket(getattr(socket, name))) for name in families}
one, other = socket.socketpair()
one.sendall(b"pair")
path = sys.argv[1]
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(path)
    server.listen()
    client.connect(path)
    accepted, _ = server.accept()
    client.sendall(b"path")
    heard = accepted.recv(9).decode()
status = dict(line.split(":\\t") for line in open("/proc/self/status") if ":\\t" in line)
tell(codes=codes, pair=other.recv(9).decode(), path=heard, mode=int(status["Seccomp"]))
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
    getattr(netcut, sys.argv[2])()
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


BIND = """
home, empty = Path(sys.argv[1]), Path(sys.argv[2])
code = errno_of(lambda: netcut.bind(home, empty))
tell(code=code, shows=sorted(path.name for path in empty.iterdir()))
"""


def test_a_mounted_folder_is_seen_by_its_own_process_alone(tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    (home / "hub").touch()
    told = python(BIND, home, empty)
    if told["code"] == errno.EPERM:
        pytest.skip("this machine allows no mounts")
    assert told == {"code": 0, "shows": ["hub"]}
    assert list(empty.iterdir()) == []


# The guard. Its scripts are files, for it names the file that asked.

ASKING = """
import urllib.request

def connect():
    socket.socket().connect(("192.0.2.1", 443))

def resolve():
    socket.getaddrinfo("hub.example", 443)

def fetch():
    urllib.request.urlopen("http://deep.example:8080/x", timeout=5)

def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("192.0.2.7", 53))

def send_message():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.sendmsg([b"x"], [], 0, ("2001:db8::1", 53))

def by_name():
    socket.gethostbyname("old.example")

def by_address():
    socket.gethostbyaddr("192.0.2.9")

guard = Guard([Path(sys.argv[1])])
guard.install()
refused = []
for act in (connect, resolve, fetch, send, send_message, by_name, by_address):
    try:
        act()
    except OSError as error:
        refused.append(str(error))
tell(network=guard.network, refused=refused, writes=guard.writes)
"""


def service(folder: Path, script: str) -> dict[str, Any]:
    """Run the script as a service's own file, with the folder where it may write."""
    file, scratch = folder / "service.py", folder / "scratch"
    scratch.mkdir()
    file.write_text(PRELUDE + script, encoding="utf-8")
    return python("import runpy; runpy.run_path(sys.argv[2], run_name='__main__')", scratch, file)


def test_who_reaches_for_the_network_is_named_with_the_host(tmp_path: Path) -> None:
    told = service(tmp_path, ASKING)
    file = tmp_path / "service.py"
    lines = file.read_text(encoding="utf-8").splitlines()
    asked = {
        "connect": "192.0.2.1",
        "resolve": "hub.example",
        "fetch": "deep.example",
        "send": "192.0.2.7",
        "send_message": "2001:db8::1",
        "by_name": "old.example",
        "by_address": "192.0.2.9",
    }
    assert told["network"] == [
        {"host": host, "caller": f"{file}:{asking_line(lines, name)} in {name}"}
        for name, host in asked.items()
    ]
    sentence = f"[Errno {NO_NETWORK}] model-prep: no network here, {{}} was asked for"
    wrapped = f"<urlopen error {sentence.format('deep.example')}>"
    assert told["refused"] == [
        wrapped if name == "fetch" else sentence.format(host) for name, host in asked.items()
    ]
    assert told["writes"] == []


def asking_line(lines: list[str], name: str) -> int:
    """The number of the line of the function `name` that asks."""
    start = lines.index(f"def {name}():")
    ends = (at for at in range(start + 1, len(lines)) if not lines[at].startswith(" "))
    return next(ends)


def test_sockets_of_this_machine_are_let_through(tmp_path: Path) -> None:
    script = """
guard = Guard([Path(sys.argv[1])])
guard.install()
one, other = socket.socketpair()
one.sendall(b"a")
one.sendmsg([b"b"])
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(str(Path(sys.argv[1]) / "s"))
    server.listen()
    client.connect(str(Path(sys.argv[1]) / "s"))
tell(heard=other.recv(9).decode(), network=guard.network)
"""
    assert service(tmp_path, script) == {"heard": "ab", "network": []}


def test_what_is_written_outside_is_noted_and_what_is_inside_is_not(tmp_path: Path) -> None:
    script = """
inside = Path(sys.argv[1])
outside = inside.parent
(inside / "way out").symlink_to(outside)
(outside / "scratch2").mkdir()
(outside / "cut").touch()
guard = Guard([inside])
guard.install()
(inside / "file").write_text("x")
(inside / "folder").mkdir()
(inside / "file").rename(inside / "moved")
(outside / "service.py").read_text()
open(os.devnull, "w").close()
open("/proc/self/comm", "w").close()
assert guard.writes == [], guard.writes
(outside / "written").write_text("x")
(outside / "written").open("a").close()
os.close(os.open(outside / "opened", os.O_CREAT | os.O_WRONLY))
(outside / "made").mkdir()
(outside / "linked").symlink_to(inside / "moved")
os.link(inside / "moved", outside / "linked hard")
(inside / "moved").rename(outside / "moved out")
os.truncate(outside / "cut", 0)
(inside / "way out" / "through").write_text("x")
(outside / "scratch2" / "neighbour").write_text("x")
tell(writes=sorted({os.path.relpath(path, outside) for path in guard.writes}))
"""
    assert service(tmp_path, script)["writes"] == [
        *("cut", "linked", "linked hard", "made", "moved out", "opened", "scratch2/neighbour"),
        *("through", "written"),
    ]
