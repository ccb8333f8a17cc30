"""The hub's own client reads a home that this suite filled, and this suite one that it filled.

Fetching is ours alone, so the client's version matters to consumers only. This is the installed
one; `make faults` asks the same of the newest that was tried, and of the newest there is.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from prep.catalogue.lock import read_lock
from sample_hub.server import Hub, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import (
    FILES_ONLY,
    SAMPLE,
    TINY,
    TINY_REPO,
    environment,
    process,
    sample,
    summary,
)

CLIENT = ROOT / "tests/support/hub_client.py"


@dataclass(frozen=True, slots=True)
class Client:
    """The client in a folder, or the one that is installed."""

    folder: Path | None = None

    def __call__(self, *args: str | Path) -> tuple[str, dict[str, str]]:
        """Its version, and the sha256 of each file that it gave."""
        more = {"NO_PROXY": "*"} | ({"PYTHONPATH": str(self.folder)} if self.folder else {})
        done = process(sys.executable, CLIENT, *args, env=environment(**more), apart=True)
        assert done.code == 0, done.err
        answer = json.loads(done.out)
        return answer["version"], answer["files"]


def check_reading(client: Client, prepared: Path) -> str:
    """The client reads a home of ours, by name and by commit; gives its version."""
    locked = read_lock(SAMPLE.with_name("models.lock.toml")).get(TINY)
    assert locked is not None
    version, files = client("read", prepared, TINY_REPO, locked.commit)
    assert files == {file.path: file.sha256 for file in locked.files}
    return version


def check_adopting(client: Client, folder: Path) -> str:
    """A home that the client filled needs no byte; gives its version."""
    home = folder / "home"
    with Hub(sample_repos()) as hub:
        version, files = client("fill", home, hub.url, TINY_REPO)
        hub.requests.clear()
        done = sample(home, *FILES_ONLY, hub=hub.url)
        assert done.code == 0, done.out
        assert hub.requests == []
    locked = summary(home)["models"][TINY]
    assert len(files) > 9 and locked["fetched-bytes"] == 0
    return version


def test_client_reads_a_home_that_was_filled_here(prepared: Path) -> None:
    assert check_reading(Client(), prepared) == huggingface_hub.__version__


def test_home_that_the_client_filled_is_taken_as_it_is(tmp_path: Path) -> None:
    assert check_adopting(Client(), tmp_path) == huggingface_hub.__version__
