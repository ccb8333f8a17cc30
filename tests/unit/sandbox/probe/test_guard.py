"""The guard in Python says who asked for the network, and what was written where it should not."""

import errno
from pathlib import Path
from typing import Any

from tests.support.restricted import PRELUDE, python

NO_NETWORK = errno.ENETUNREACH

# Its scripts are files, for it names the file that asked.
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

guard = Guard([sys.argv[1]])
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
    reported = service(tmp_path, ASKING)
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
    assert reported["network"] == [
        {"host": host, "caller": f"{file}:{asking_line(lines, name)} in {name}"}
        for name, host in asked.items()
    ]
    sentence = f"[Errno {NO_NETWORK}] model-prep: no network here, {{}} was asked for"
    wrapped = f"<urlopen error {sentence.format('deep.example')}>"
    assert reported["refused"] == [
        wrapped if name == "fetch" else sentence.format(host) for name, host in asked.items()
    ]
    assert reported["writes"] == []


def asking_line(lines: list[str], name: str) -> int:
    """The number of the line of the function `name` that asks."""
    start = lines.index(f"def {name}():")
    ends = (at for at in range(start + 1, len(lines)) if not lines[at].startswith(" "))
    return next(ends)


def test_sockets_of_this_machine_are_let_through(tmp_path: Path) -> None:
    script = """
guard = Guard([sys.argv[1]])
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
guard = Guard([str(inside)])
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
