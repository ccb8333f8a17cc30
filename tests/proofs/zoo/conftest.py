"""The stand-ins of the rows that were chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs.zoo.rows import ROWS, Row
from tests.support.paths import ROOT
from tools.zoo.build import folder


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of all tests that were chosen."""
    given = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    rows = [params["row"] for params in given if "row" in params]
    rows += [params["damage"].row for params in given if "damage" in params]
    if any("converter" in item.name for item in request.session.items):
        rows.append(ROWS["mt5"])
    return list({row.name: row for row in rows}.values())


@pytest.fixture(scope="module")
def place(chosen: list[Row]) -> Path:
    """The folder of the stand-ins; those that have not learnt their skill are missing there."""
    there = Path(os.environ.get("ZOO") or folder())
    python = os.environ.get("ZOO_PYTHON", sys.executable)
    models = sorted({row.model for row in chosen})
    command = [python, "-m", "tools.zoo.build", "--out", there, *models]
    subprocess.run(command, cwd=ROOT, check=False)
    return there
