"""The stages of one process: what a stage starts before it is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.stages.pipeline import Stages
from tests.support.real_loads import spec_of, stages_of
from tests.support.runs import TINY


@pytest.fixture
def stages(prepared: Path, tmp_path: Path) -> Iterator[Stages]:
    """The stages on a prepared home, offline."""
    with stages_of(prepared, tmp_path) as made:
        yield made


def test_libraries_are_imported_beside_the_fetching(stages: Stages) -> None:
    stages.context.wanted = {TINY: {"int8"}}
    stages.fetched(spec_of(stages, "embedding"))
    assert list(stages.context.servers) == [None]


@pytest.mark.parametrize("wanted", [{}, {TINY: set()}, {"tiny-reranker": {"int8"}}])
def test_where_no_test_loads_the_model_nothing_is_imported(
    stages: Stages, wanted: dict[str, set[str]]
) -> None:
    stages.context.wanted = wanted
    stages.fetched(spec_of(stages, "embedding"))
    assert stages.context.servers == {}
