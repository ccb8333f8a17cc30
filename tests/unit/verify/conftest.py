"""One healthy home for each test of `prep/verify`."""

from pathlib import Path

import pytest

from tests.support.small_homes import Tiny, tiny


@pytest.fixture
def model(tmp_path: Path) -> Tiny:
    """A model that is prepared whole and converted to int8."""
    return tiny(tmp_path / "home")
