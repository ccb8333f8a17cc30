"""What tests share: the embedded hub in this process, and prepared homes to copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that one successful run has prepared with one model; copy it before changing it."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    with Hub(sample_repos()) as serving:
        done = sample(home, hub=serving.url)
    assert done.code == 0, done.out
    return home


@pytest.fixture(scope="session")
def prepared_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of all models of the catalogue, fetched and converted; no consumer was tried."""
    home = tmp_path_factory.mktemp("prepared-all") / "home"
    with Hub(sample_repos()) as serving:
        done = sample(home, "-m", "conversion", models=None, hub=serving.url)
    assert done.code == 0, done.out
    return home
