"""The verdict is the same in each environment, on a valid home and on two damaged ones."""

import os
from pathlib import Path

import pytest

from tests.proofs.environments.environment import AROUND, PATIENTS, differs, home_of, verdict
from tests.support.restricted import AS_USER


@pytest.mark.parametrize("patient", PATIENTS)
@pytest.mark.parametrize("name", AROUND)
def test_verdict_is_the_same(prepared: Path, name: str, patient: str) -> None:
    around = AROUND[name]
    if around.on == AS_USER and os.geteuid() != 0:
        pytest.skip("only root can take rights away from itself")
    with home_of(patient, prepared, around.on) as home:
        run, entry = verdict(home, around)
        assert differs(patient, run, entry) == [], run.out
