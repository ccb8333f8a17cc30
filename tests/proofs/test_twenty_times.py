"""The whole suite on a prepared home, twenty times: the verdict is the same every time.

Each run is a user's, ``pytest --offline -n 2``, on all three sample models.
"""

from pathlib import Path

import pytest

from sample_hub.server import Hub, sample_repos
from tests.support.runs import sample, summary

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("twenty-times") / "home"
    with Hub(sample_repos()) as hub:
        done = sample(home, models=None, hub=hub.url, timeout=1800)
    assert done.code == 0, done.out
    return home


@pytest.mark.parametrize("number", range(1, 21))
def test_every_model_is_ready(home: Path, number: int) -> None:
    done = sample(home, "-q", "--offline", "-n", "2", models=None, timeout=1800)
    assert done.code == 0, done.out
    models = summary(home)["models"]
    assert {name: model["status"] for name, model in models.items()} == dict.fromkeys(
        ("tiny-embedding", "tiny-reranker", "tiny-seq2seq"), "ready"
    )
