"""What the rest of the suite asks of a hub; all of it happens in a child process.

The child gets an environment made for it: the token that was found before, the endpoint, no Xet,
and a HOME of its own, so that nothing but what we place appears in the home.
"""

import os
import shutil
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prep.catalogue.addresses import is_url
from prep.catalogue.lock import LockedFile
from prep.errors import HubUnreachable, PrepError, TransientError
from prep.fetch import folder
from prep.fetch.host_watch import CONNECT_LIMIT_SECONDS, HostWatch
from prep.fetch.part import RANGED_ABOVE
from prep.files.reader import read_bytes
from prep.home.layout import Home, make_folder
from prep.process.cancelled import check_cancelled
from prep.process.child import Emit, Event, as_error, environment, run

CHILD = "prep.fetch.worker"
TOKEN_FILE_MAX = 1 << 16  # bytes
GRACE_SECONDS = 10  # the child ends by itself at its timeout, with a better message
Say = Callable[[str], object]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULT_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How to reach a hub. `token` is never shown; `timeout` is seconds without progress.

    `endpoint` is its address, or the path of a folder of models.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = None
    timeout: float = 60.0
    deadline: float | None = None

    def __repr__(self) -> str:
        return f"Network(endpoint={self.endpoint!r}, token={'set' if self.token else None})"

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one."""
        return None if is_url(self.endpoint) else Path(self.endpoint)

    def at(self, endpoint: str) -> "Network":
        """Another hub; it gets no token, which was given for this one."""
        same = endpoint.rstrip("/") == self.endpoint
        return self if same else replace(self, endpoint=endpoint.rstrip("/"), token=None)

    def environment(self, scratch: Path) -> dict[str, str]:
        """The environment of a child that talks to this hub."""
        more = {"HF_ENDPOINT": self.endpoint}
        if self.token:
            more["HF_TOKEN"] = self.token
            more["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "0"
        host = urlsplit(self.endpoint).hostname or ""
        if host in LOOPBACK:  # no proxy leads to this machine itself, by any of its names
            given = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
            names = ",".join(filter(None, (given, *LOOPBACK)))
            more["NO_PROXY"] = more["no_proxy"] = names
        # The hub's client no longer reads what requests reads; many machines set that.
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        if bundle and not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
            more["SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE"] = bundle
        private = scratch / "fetch"
        return environment(private, network=True, HF_HOME=str(private / "hf"), **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file as the hub describes it; `sha256` was computed here unless the hub's LFS names it.

    `unsafe` says why it must not be run, None where it may. `text` is that of a small file of
    settings, to show what changed.
    """

    path: str
    size: int
    sha256: str
    unsafe: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A revision of a repository. `others` are its files that no glob named.

    `head` is where the name alone leads now, for a revision that is a commit. `requests` are the
    pull requests (``refs/pr/N``) that hold wanted safetensors, where the revision has none.
    """

    commit: str
    head: str
    license: str
    files: tuple[RemoteFile, ...]
    others: tuple[str, ...]
    requests: tuple[str, ...] = ()


def find_token(environ: Mapping[str, str]) -> str | None:
    """The hub's token, where the hub's own client would find it before HF_HOME is set.

    Not by `huggingface_hub.get_token`, whose import takes longer than planning may; a test
    compares the two.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := environ.get(name, "").strip():
            return token
    cache = environ.get("XDG_CACHE_HOME", "~/.cache")
    hf_home = environ.get("HF_HOME", os.path.join(cache, "huggingface"))
    path = environ.get("HF_TOKEN_PATH", os.path.join(hf_home, "token"))
    try:
        file = Path(os.path.expandvars(path)).expanduser()
        return read_bytes(file, TOKEN_FILE_MAX).decode().strip() or None
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None  # RuntimeError: neither HOME nor an entry in passwd


def fetch_files(
    network: Network,
    home: Home,
    repo: str,
    commit: str,
    files: Sequence[LockedFile],
    *,
    locked: Collection[str],
    scratch: Path,
    alone: bool = True,
    ranged_above: int = RANGED_ABOVE,
    on_event: Emit,
    say: Say = lambda text: None,
) -> int:
    """Fetch files of one commit into the home, each digested before it gets its name there.

    `locked` are the paths of all files of the model, of those that are there already too. Where it
    may not be `alone` (locks do not work), its partial files are not shared with other processes.
    A file of more than `ranged_above` bytes comes in several ranges side by side.
    `on_event` gets events of bytes and waits, `say` lines for people. Gives the number of bytes
    that came over the network.
    """
    if network.folder:
        return _copy(network.folder, home, repo, commit, files, locked, on_event)
    partial = home.partial if alone else home.partial / f"{socket.gethostname()}-{os.getpid()}"
    for needed in (partial, home.repo(repo) / "blobs", home.snapshot(repo, commit)):
        make_folder(needed)
    order = {
        "do": "fetch",
        "repo": repo,
        "commit": commit,
        "files": [asdict(file) for file in files],
        "locked": sorted(locked),
        "home": str(home.root),
        "partial": str(partial),
        "ranged-above": ranged_above,
    }
    try:
        result = _child(network, order, f"fetching {repo}", scratch, on_event, say)
    finally:
        if not alone:
            shutil.rmtree(partial, ignore_errors=True)
    return int(result["fetched"])


def ask(
    network: Network,
    repo: str,
    revision: str,
    globs: tuple[str, ...],
    *,
    scratch: Path,
    say: Say = lambda text: None,
) -> RemoteModel:
    """Ask the hub what `revision` is, with the checksums of the files that the globs name."""
    (model,) = ask_all(network, {"": (repo, revision, globs)}, scratch=scratch, say=say).values()
    return model


def ask_all(
    network: Network,
    asked: Mapping[str, tuple[str, str, tuple[str, ...]]],
    *,
    scratch: Path,
    on_model: Callable[[str, RemoteModel], object] = lambda name, model: None,
    say: Say = lambda text: None,
) -> dict[str, RemoteModel]:
    """The same for many models, by one session; `asked` is repo, revision and globs by name.

    Several are asked for side by side. `on_model` gets each in the order of `asked`; what it raises
    ends all. So does the first error in that order; names stand before the lines of `say`.
    """
    models: dict[str, RemoteModel] = {}
    if network.folder:
        for name, (repo, revision, globs) in asked.items():
            models[name] = _described(folder.describe(network.folder, repo, revision, globs))
            on_model(name, models[name])
        return models

    def take(event: Event) -> None:
        if event["event"] == "described":
            model = event["model"]
            files = tuple(RemoteFile(**file) for file in model["files"])
            lists = {key: tuple(model[key]) for key in ("others", "requests")}
            found = RemoteModel(**{**model, "files": files, **lists})
            models[event["name"]] = found
            on_model(event["name"], found)

    repos = ", ".join(repo for repo, _, _ in asked.values()) if len(asked) < 3 else None
    doing = f"asking about {repos or f'{len(asked)} repositories'}"
    # The deadline is of one model; the child keeps it for each.
    _child(network, {"do": "ask", "asked": asked}, doing, scratch, take, say, bounded=False)
    return models


def access(
    network: Network, asked: Mapping[str, tuple[str, str, str]], *, scratch: Path, say: Say
) -> dict[str, PrepError]:
    """Why models cannot be fetched, by one file of each; those that can be are left out.

    `asked` is repo, commit and path by model. A hub that is merely busy is no obstacle yet: the
    fetching itself tries again.
    """
    if network.folder:
        errors = {name: folder.refusal(network.folder, repo) for name, (repo, *_) in asked.items()}
        return {name: error for name, error in errors.items() if error}
    order = {"do": "access", "asked": asked}  # its deadline is of one model, too
    try:
        result = _child(network, order, "asking the hub", scratch, None, say, bounded=False)
    except HubUnreachable as error:
        return dict.fromkeys(asked, error)
    except TransientError:
        return {}
    return {model: as_error(refusal) for model, refusal in result["refused"].items()}


def _copy(
    hub: Path,
    home: Home,
    repo: str,
    commit: str,
    files: Sequence[LockedFile],
    locked: Collection[str],
    on_event: Emit,
) -> int:
    """`folder.fetch`, with the events of a child that fetches."""
    done, whole = 0, sum(file.size for file in files)

    def count(more: int) -> None:
        nonlocal done
        check_cancelled(f"copying {repo}")
        done += more
        on_event({"event": "bytes", "done": done, "total_done": done, "of": whole})

    return folder.fetch(hub, home, repo, commit, files, locked, count)


def _described(found: folder.Described) -> RemoteModel:
    return RemoteModel(
        commit=found.commit,
        head=found.commit,
        license=found.license,
        files=tuple(
            RemoteFile(
                path=path,
                size=found.digests[path].size,
                sha256=found.digests[path].sha256,
                unsafe=found.unsafe.get(path),
                text=found.texts.get(path),
            )
            for path in found.wanted
        ),
        others=tuple(sorted(found.digests.keys() - set(found.wanted))),
    )


def _child(
    network: Network,
    order: dict[str, Any],
    doing: str,
    scratch: Path,
    on_event: Emit | None,
    say: Say,
    bounded: bool = True,
) -> dict[str, Any]:
    hub = urlsplit(network.endpoint).netloc.rpartition("@")[2]
    deadline = network.deadline if bounded else None
    watch = HostWatch(hub, network.timeout + GRACE_SECONDS, deadline, CONNECT_LIMIT_SECONDS)

    def dispatch(event: Event) -> None:
        if event["event"] == "line":
            say(event["text"])
        elif not watch.handle(event) and on_event is not None:
            on_event(event)

    order |= {"timeout": network.timeout, "deadline": network.deadline}
    env = network.environment(scratch)
    return run(CHILD, order, env, doing=doing, on_event=dispatch, watch=watch)
