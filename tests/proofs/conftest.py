"""What proofs share: their figures are printed, and kept in reports/."""

import json
import sys
from collections.abc import Callable

import pytest

from tests.support.paths import ROOT

Show = Callable[[str], None]
Keep = Callable[[str, object], None]


@pytest.fixture(scope="session")
def show(request: pytest.FixtureRequest) -> Show:
    """Prints a line past pytest's capture."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{text}\n")
            sys.stdout.flush()

    return write


@pytest.fixture(scope="session")
def keep() -> Keep:
    """Writes data to a file of reports/ as JSON."""

    def write(name: str, data: object) -> None:
        path = ROOT / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    return write
