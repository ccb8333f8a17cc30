"""What the tests of the embedded hub ask of it, by its client and without any knowledge of hubs."""

from collections.abc import Callable
from pathlib import Path

import httpx
from huggingface_hub import hf_hub_download, hf_hub_url

from sample_hub.faults import Fault
from sample_hub.listener import kind_of
from sample_hub.server import Hub

LARGE, SMALL = "model.safetensors", "config.json"


def folder_of(top: Path, files: dict[str, bytes]) -> Path:
    """A repository's folder."""
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
    return top


def url(hub: Hub, path: str = LARGE, revision: str = "main") -> str:
    """Where the client looks for a file."""
    return hf_hub_url(hub.repos[0].repo, path, revision=revision, endpoint=hub.url)


def fetch(hub: Hub, path: str, cache: Path, revision: str = "main") -> bytes:
    """What the client makes of a file."""
    repo = hub.repos[0].repo
    found = hf_hub_download(repo, path, revision=revision, endpoint=hub.url, cache_dir=cache)
    return Path(found).read_bytes()


def get(hub: Hub, path: str = LARGE, **headers: str) -> httpx.Response:
    """A file as a client without any knowledge of hubs gets it."""
    return httpx.get(url(hub, path), headers=headers, follow_redirects=True, timeout=10)


def at_bytes(fault: Fault) -> Callable[[str, str], Fault | None]:
    """The fault for every file's bytes, and not for the redirects that lead there."""
    return lambda _, path: fault if kind_of(path) in ("cdn", "resolve-cache") else None
