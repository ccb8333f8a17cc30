"""Plays a row of the table of faults: a hub that is broken in that way, and the real client."""

import hashlib
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trustme

from prep.catalogue.lock import LockedFile
from prep.errors import Exit, PrepError, TransientError
from prep.fetch.hub import Network, fetch_files
from prep.home.layout import Home
from sample_hub import flows
from sample_hub.faults import Fault
from sample_hub.server import Hub, ServedRepo
from tests.support.small_homes import safetensors

REPO = "ORG/NAME"
NAME = "model.safetensors"
BODY = safetensors(random.Random(0).randbytes(200_000))
FILE = LockedFile(path=NAME, size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())
OTHER = BODY[:-4] + b"more"
TOKEN = "hf_CANARYcanaryCANARYcanary1234567890"
CLOSED = "http://127.0.0.1:9"  # nobody listens there
Faults = Callable[[str, str], Fault | None]


@contextmanager
def deaf(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full. Gives its number."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(family))
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket(family))
            client.setblocking(False)
            client.connect_ex(listening.getsockname()[:2])
        time.sleep(0.1)
        yield int(listening.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault: its class, the sentence that a user sees (a template), and what is kept.

    `faults` makes it, given the URL of the storage host; None for a hub that works.
    """

    id: str
    fault: str
    sentence: str
    error: type[PrepError] | None = None  # None where the run goes on
    kept: str = "nothing"
    faults: Callable[[str], Faults] | None = None
    endpoint: str | None = None
    left: bytes | None = None  # the partial file of an earlier run
    network: dict[str, float] = field(default_factory=dict)
    token: str | None = None
    known: tuple[str, ...] | None = None
    repo: dict[str, Any] = field(default_factory=dict)
    tls: bool = False
    moved: bool = False  # the hub sends all that is asked to another one

    @property
    def code(self) -> int:
        """The exit code of a run."""
        if self.error is None:
            return 0
        return int(Exit.TRANSIENT) if issubclass(self.error, TransientError) else 1

    def message(self, **names: str) -> str:
        """The sentence with these names in it, behind the term of its class."""
        text = self.sentence.format_map(
            {"file": f"{REPO}: {NAME}", "size": str(len(BODY)), "sha256": FILE.sha256, **names}
        )
        return str(self.error(text)) if self.error else text


def always(fault: Fault) -> Callable[[str], Faults]:
    """For every request."""
    return lambda elsewhere: lambda method, path: fault


def bytes_only(*faults: Fault, then: Fault | None = None) -> Callable[[str], Faults]:
    """In turn for the bytes of the file alone; afterwards the last again, or `then`."""
    return lambda elsewhere: flows.at("cdn", *faults, then=then)


def metadata_only(*faults: Fault, then: Fault | None = None) -> Callable[[str], Faults]:
    """In turn for what the hub is asked of the file; afterwards the last again, or `then`."""
    return lambda elsewhere: flows.at("metadata", *faults, then=then)


def elsewhere(fault: Fault | None = None) -> Callable[[str], Faults]:
    """The bytes are at another host: there with this fault, or nobody is there."""

    def make(origin: str) -> Faults:
        led = Fault(elsewhere=origin if fault else "http://127.0.0.2:9")
        return lambda method, path: fault if path.startswith("/cdn/") else led

    return make


def certified(name: str) -> tuple[ssl.SSLContext, trustme.CA]:
    """TLS of a hub under that name and of its CDN, and the CA that nobody knows yet."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, "localhost").configure_cert(context)
    return context, ca


def served_by(row: Row, folder: Path) -> ServedRepo:
    """The repository that is served."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(BODY)
    return replace(ServedRepo.of(REPO, folder, "mit"), **row.repo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The hub of a row while it is played, and the names that its sentence holds."""

    endpoint: str
    served: ServedRepo
    cdn: str
    storage: str

    def names(self, row: Row) -> dict[str, str]:
        cdn = self.cdn if row.id != "bytes-elsewhere-refused" else "http://127.0.0.2:9"
        return {
            "host": self.endpoint.partition("://")[2],
            "endpoint": self.endpoint,
            "cdn": cdn.partition("://")[2],
            "storage": self.storage.partition("://")[2],
            "commit": self.served.commit,
            "got": hashlib.sha256(OTHER).hexdigest(),
            "timeout": f"{row.network.get('timeout', 60):g}",
            "deadline": f"{row.network.get('deadline', 0):g}",
        }


def set_up(row: Row, folder: Path, stack: ExitStack) -> Stage:
    """Start what the row needs."""
    served = served_by(row, folder / "served")
    there: list[Faults] = []
    cdn = stack.enter_context(
        Hub([served], host="127.0.0.2", faults=lambda method, path: there[0](method, path))
    )
    faults = row.faults(cdn.url) if row.faults else lambda method, path: None
    there.append(faults)
    if row.moved:
        faults = flows.moved(cdn.url)
    tls = certified("127.0.0.1")[0] if row.tls else None
    hub = stack.enter_context(Hub([served], faults=faults, tokens=row.known, tls=tls))
    endpoint = row.endpoint or hub.url
    return Stage(endpoint=endpoint, served=served, cdn=cdn.url, storage=hub.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The result of a row: the class of its error, the output, what the output should be."""

    error: type[PrepError] | None
    said: str
    wanted: str
    kept: str


def play(row: Row, folder: Path) -> Played:
    """By the fetch stage, with a real child."""
    home, scratch, said = Home(folder / "home"), folder / "scratch", list[str]()
    scratch.mkdir(parents=True)
    if row.left is not None:
        home.partial.mkdir(parents=True)
        (home.partial / FILE.sha256).write_bytes(row.left)
    kind: type[PrepError] | None = None
    with ExitStack() as stack:
        stage = set_up(row, folder, stack)
        try:
            fetch_files(
                Network(endpoint=stage.endpoint, token=row.token, **row.network),
                home,
                REPO,
                stage.served.commit,
                [FILE],
                locked=[NAME],
                scratch=scratch,
                on_event=lambda event: None,
                say=said.append,
            )
        except PrepError as error:
            kind = type(error)
            said = [str(error)]
    return Played(
        error=kind,
        said=re.sub(r"again in \d+ s", "again in 2 s", "\n".join(said)),
        wanted=row.message(**stage.names(row)),
        kept=kept(home, stage.served.commit),
    )


def kept(home: Home, commit: str) -> str:
    """What a home holds of the file afterwards: `nothing`, `part` or `whole`."""
    parts = [path for path in home.partial.iterdir() if path.name == FILE.sha256]
    strange = [path.name for path in home.partial.iterdir() if path not in parts]
    assert strange == [], "one name for each digest, and nothing beside it"
    link = home.snapshot(REPO, commit) / NAME
    if link.is_file():
        assert (link.read_bytes(), parts) == (BODY, [])
        return "whole"
    return "part" if parts and parts[0].stat().st_size else "nothing"
