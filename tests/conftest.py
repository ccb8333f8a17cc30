"""What tests share: the embedded hub in this process, and prepared homes to copy."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from prep.plugin.hooks import MARKERS
from sample_hub.server import Hub, sample_repos
from tests.support.runs import sample

PROOFS = Path(__file__).with_name("proofs")


def pytest_configure(config: pytest.Config) -> None:
    """The markers of the judges, which tests import to judge them."""
    for marker, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in `proofs` is a proof: run only when its marker is asked for."""
    for item in items:
        if PROOFS in item.path.parents:
            item.add_marker(pytest.mark.proof)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The embedded hub, whose requests the test can count."""
    with Hub(sample_repos()) as serving:
        yield serving


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills once, for all workers of xdist; none may change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    complete = folder.with_suffix(".complete")
    with FileLock(folder.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # another worker's, which failed
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first run of one model, which was successful: its `home`, `junit.xml`, and
    `out`, what it printed.
    """

    def make(folder: Path) -> None:
        with Hub(sample_repos()) as serving:
            done = sample(folder / "home", f"--junitxml={folder / 'junit.xml'}", hub=serving.url)
        assert done.code == 0, done.out
        (folder / "out").write_text(done.said, encoding="utf-8")

    return made_once(tmp_path_factory, "prepared", make)


@pytest.fixture(scope="session")
def prepared(first_run: Path) -> Path:
    """A home that one successful run has prepared with one model; copy it before changing it."""
    return first_run / "home"


@pytest.fixture(scope="session")
def prepared_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of all models of the catalogue, fetched and converted; no consumer was tried."""

    def make(folder: Path) -> None:
        with Hub(sample_repos()) as serving:
            done = sample(folder / "home", "-m", "conversion", models=None, hub=serving.url)
        assert done.code == 0, done.out

    return made_once(tmp_path_factory, "prepared-all", make) / "home"
