"""Real loads of the three sample models, by one import server for all files below."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.stages.pipeline import Stages
from tests.support.real_loads import stages_of


@pytest.fixture(scope="session")
def stages(prepared_all: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stages on a prepared home, offline."""
    with stages_of(prepared_all, tmp_path_factory.mktemp("scratch")) as made:
        yield made
