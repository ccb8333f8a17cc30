"""Newer clients of the hub than the installed one: the newest that was tried, and whatever is now.

Each is installed into a folder of its own, from the index that pip knows.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.test_client import Client, check_adopting, check_reading

TRIED = Path(__file__).with_name("client.txt")


@pytest.fixture(
    scope="module", params=[("-r", str(TRIED)), ("huggingface-hub",)], ids=["tried", "newest"]
)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("client")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "-q",
    ]
    subprocess.run([*pip, "--target", folder, *request.param], check=True)
    return Client(folder)


def test_newer_client_reads_a_home_that_was_filled_here(client: Client, prepared: Path) -> None:
    version = check_reading(client, prepared)
    assert int(version.partition(".")[0]) >= 2


def test_home_that_a_newer_client_filled_is_taken_as_it_is(client: Client, tmp_path: Path) -> None:
    check_adopting(client, tmp_path)
