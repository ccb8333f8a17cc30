"""The table on the page of a GitHub job."""

from dataclasses import replace

from prep.report.step_summary import render
from prep.report.verdict import Failure, ModelRun
from tests.support.reports import model_report, run_report


def test_a_row_a_model_and_what_is_wrong() -> None:
    run = ModelRun()
    run.fail("a", Failure(error="Failed", text="tiny: <b>a|b</b>\nmore", transient=False))
    failed = replace(model_report("failed", run), differs=("version: torch 1 → 2",))
    assert render(run_report(1, tiny=model_report(), other=failed)) == (
        "### model-prep 1.2.3: exit 1\n"
        "\n"
        "| model | verdict | commit | precision: agreement | cause |\n"
        "|---|---|---|---|---|\n"
        "| tiny | ✅ ready | `c0ffee000000` | int8: 0.995 |  |\n"
        "| other | ❌ failed | `c0ffee000000` | int8: 0.995 | tiny: &lt;b>a\\|b&lt;/b> |\n"
        "\n"
        "- other: since the last ready run: version: torch 1 → 2\n"
    )
