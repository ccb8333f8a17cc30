"""The line of the header that says how many loads run at once."""

import os
import re
from pathlib import Path

import pytest

from prep.plugin import terminal_summary
from prep.settings import GivenOptions, resolve_settings
from prep.stages import side_by_side
from tests.support.paths import ROOT
from tests.support.reports import model_report
from tests.support.runs import SAMPLE


@pytest.mark.parametrize(
    ("cores", "workers", "said"),
    [
        (1, 1, "1 side by side, 1 thread each (1 core, N GB free)"),
        (2, 1, "2 side by side, 1 thread each (2 cores, N GB free)"),
        (20, 1, "8 side by side, 2 threads each (20 cores, N GB free)"),
        (2, 2, "1 side by side in each of 2 workers, 1 thread each (2 cores, N GB free)"),
    ],
)
def test_header_says_how_many_loads_run_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, said: str
) -> None:
    for module in (terminal_summary, side_by_side):
        monkeypatch.setattr(module, "cores", lambda: cores)
    given = GivenOptions(catalogue=SAMPLE, model_home=tmp_path / "home", offline=True)
    lines = terminal_summary.header_lines(resolve_settings(given, os.environ, ROOT), workers)
    [line] = [line for line in lines if line.startswith("loads: ")]
    assert re.sub(r"\d+\.\d GB", "N GB", line) == f"loads: {said}"


def test_a_context_that_is_not_tried_to_its_end_is_told(tmp_path: Path) -> None:
    given = GivenOptions(catalogue=SAMPLE, model_home=tmp_path / "home", offline=True)
    settings = resolve_settings(given, os.environ, ROOT)
    lines = terminal_summary.closing_lines(settings, {}, {"tiny": model_report("ready")})
    said = "tiny: asked texts of 512 of 8192 tokens: one of its whole length would take too long"
    assert [line for line in lines if "tokens" in line] == [said]
