"""``python -m tests.proofs.matrix``: rows through ``pytest --offline``, and repaired online."""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.proofs.matrix.row import is_cheap
from tests.proofs.matrix.rows import ROWS
from tests.proofs.matrix.runner import Runner, chosen, slug
from tests.proofs.matrix.verdict import Finding


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.matrix", description=__doc__)
    parser.add_argument("--model", help="one model: a sample, or all-MiniLM-L6-v2")
    parser.add_argument("--only", metavar="GLOB", help="rows whose name or group fits")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="runs side by side")
    parser.add_argument("--cheap", action="store_true", help="judges that need no load, alone")
    parser.add_argument("--no-repair", action="store_true", help="offline runs alone")
    given = parser.parse_args(argv)
    began = time.monotonic()
    rows = [row for row in chosen(ROWS, given.only) if not given.cheap or is_cheap(row)]
    findings = []
    with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
        Path(scratch).chmod(0o755)  # rows that run as another user have to pass here
        runner = Runner(
            Path(scratch), model=given.model, cheap=given.cheap, repair=not given.no_repair
        )
        for finding in runner.all(rows, jobs=given.j):
            findings.append(finding)
            tell(line(finding))
    seconds = time.monotonic() - began
    for text in closing(findings, seconds):
        tell(text)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        told = report(findings, given.model, seconds)
        given.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return 0 if findings and not any(finding.why for finding in findings) else 1


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def line(finding: Finding) -> str:
    """One row, and under it what is wrong."""
    repaired = ", repaired" if finding.repaired else ""
    seen = ", ".join(finding.failed)
    name = slug(finding.row.name) if finding.row.together else finding.unit
    head = f"{finding.said:<12} {name:<48} {finding.seconds:6.1f} s  {seen}{repaired}"
    return head.rstrip() + (f"\n    {finding.why}" if finding.why else "")


def closing(findings: Sequence[Finding], seconds: float) -> list[str]:
    """The figures: how many damages were seen, how many harmless changes were called damage."""
    count = Counter(finding.said for finding in findings)
    bad = count["killed"] + count["missed"]
    good = count["quiet"] + count["false alarm"]
    rate = f"{100 * count['killed'] / bad:.1f} %" if bad else "no damage tried"
    repair = [finding.repaired for finding in findings if finding.repaired is not None]
    slowest = max(findings, key=lambda finding: finding.seconds, default=None)
    return [
        "",
        f"kill rate     {rate} ({count['killed']} of {bad} damages)",
        f"false alarms  {count['false alarm']} of {good} harmless changes",
        f"repaired        {sum(repair)} of {len(repair)}",
        f"slowest row   {slowest.unit}, {slowest.seconds:.1f} s" if slowest else "no row",
        f"total         {seconds:.0f} s",
    ]


def report(findings: Sequence[Finding], model: str | None, seconds: float) -> dict[str, object]:
    """The same as data."""
    count = Counter(finding.said for finding in findings)
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
                "said": finding.said,
                "why": finding.why,
                "failed": list(finding.failed),
                "repaired": finding.repaired,
                "seconds": round(finding.seconds, 2),
                "message": finding.message[:2000],
            }
            for finding in findings
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
