"""The verdict is the same in each environment, on a valid home and on two damaged ones."""

import os
from pathlib import Path

import pytest

from tests.proofs.environments.environment import (
    CONDITIONS,
    ENVIRONMENTS,
    differs,
    home_of,
    verdict,
)
from tests.support.restricted import AS_USER


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_verdict_is_the_same(prepared: Path, name: str, condition: str) -> None:
    environment = ENVIRONMENTS[name]
    if environment.on == AS_USER and os.geteuid() != 0:
        pytest.skip("only root can take rights away from itself")
    with home_of(condition, prepared, environment.on) as home:
        run, entry = verdict(home, environment)
        assert differs(condition, run, entry) == [], run.out
