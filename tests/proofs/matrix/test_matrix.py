"""Every row through ``pytest --offline``, and repaired online: ``make matrix``.

On the sample models, and, where the row is for any model, on one real model whose weights a
package carries: ``-k true`` chooses those. The figures are in ``reports/matrix*.json``.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proofs.matrix.row import Row
from tests.proofs.matrix.rows import ROWS
from tests.proofs.matrix.runner import Runner, slug
from tests.proofs.matrix.verdict import Finding

JOBS = 2  # runs side by side
TRUE = "all-MiniLM-L6-v2"
MODELS = {"samples": None, "true": TRUE}
pytestmark = pytest.mark.timeout(0)  # a row waits for its batch, whose runs have time limits

CASES = [
    pytest.param(label, row, id=f"{label}-{slug(row.name)}")
    for label in MODELS
    for row in ROWS
    if label == "samples" or (row.true and "embedding" in row.tasks)
]
Findings = Callable[[Row], list[Finding]]


@pytest.fixture(scope="module")
def findings(
    request: pytest.FixtureRequest, show: Callable[[str], None], keep: Callable[[str, object], None]
) -> Iterator[Findings]:
    """What became of a row; all that were chosen are tried side by side, in shared homes."""
    label = request.param
    params = [
        item.callspec.params  # type: ignore[attr-defined]
        for item in request.session.items
        if item.path == request.path
    ]
    chosen = [given["row"] for given in params if given["findings"] == label]
    found: list[Finding] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
        Path(scratch).chmod(0o755)  # rows that run as another user have to pass here
        pool = ThreadPoolExecutor(JOBS)
        try:
            batches = Runner(Path(scratch), model=MODELS[label]).submit(chosen, pool)

            def of(row: Row) -> list[Finding]:
                every = [finding for batch in batches[row.name] for finding in batch.result()]
                own = [finding for finding in every if finding.row.name == row.name]
                found.extend(own)
                return own

            yield of
        finally:
            pool.shutdown(cancel_futures=True)
    seconds = time.monotonic() - began
    show("\n".join(closing(found, seconds)))
    keep(
        "matrix.json" if label == "samples" else f"matrix-{label}.json",
        report(found, MODELS[label], seconds),
    )


@pytest.mark.parametrize(("findings", "row"), CASES, indirect=["findings"], scope="module")
def test_row(findings: Findings, row: Row) -> None:
    found = findings(row)
    assert found, "no model to try it on"
    assert [f"{finding.unit}: {finding.why}" for finding in found if finding.why] == []


def closing(findings: Sequence[Finding], seconds: float) -> list[str]:
    """The figures: how many damages were seen, how many harmless changes were called damage."""
    count = Counter(finding.result for finding in findings)
    bad = count["killed"] + count["missed"]
    good = count["accepted"] + count["false alarm"]
    rate = f"{100 * count['killed'] / bad:.1f} %" if bad else "no damage tried"
    repaired = [finding.repaired for finding in findings if finding.repaired is not None]
    slowest = max(findings, key=lambda finding: finding.seconds, default=None)
    return [
        f"kill rate     {rate} ({count['killed']} of {bad} damages)",
        f"false alarms  {count['false alarm']} of {good} harmless changes",
        f"repaired      {sum(repaired)} of {len(repaired)}",
        f"slowest row   {slowest.unit}, {slowest.seconds:.1f} s" if slowest else "no row",
        f"total         {seconds:.0f} s",
    ]


def report(findings: Sequence[Finding], model: str | None, seconds: float) -> dict[str, object]:
    """The same as data."""
    count = Counter(finding.result for finding in findings)
    bad = count["killed"] + count["missed"]
    return {
        "model": model or "samples",
        "kill-rate": count["killed"] / bad if bad else None,
        "false-alarms": count["false alarm"],
        "counts": dict(count),
        "seconds": round(seconds, 1),
        "rows": [
            {
                "row": finding.row.name,
                "model": finding.unit,
                "group": finding.row.group,
                "expected": finding.row.expect,
                "result": finding.result,
                "why": finding.why,
                "failed": list(finding.failed),
                "repaired": finding.repaired,
                "seconds": round(finding.seconds, 2),
                "message": finding.message[:2000],
            }
            for finding in findings
        ],
    }
