"""Changes the code of the checks, a place at a time, and runs the tests that should notice.

    make mutants                                a sample of 600 mutants
    make mutants ARGS="--sample 50"             fewer
    make mutants ARGS="prep/verify/modes.py"    all mutants of that module

The mutants are those of cosmic-ray, but for annotations, which nothing reads while the code runs.
`targets.toml` says which tests belong to which module. A survivor is shown with its change;
`accepted.toml` holds those that change nothing, with the reason. Writes reports/mutants.json. The
exit code is 1 where a survivor is not accepted and less than 85 % were killed, or where tests fail
without any change. A timeout is no kill: it is counted apart.
"""

import argparse
import ast
import itertools
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LEAST = 0.85  # of the mutants are to be killed


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: killed, timeout, survived, accepted (survived, with a reason)."""

    module: str
    operator: str
    change: str
    outcome: str
    reason: str = ""


def say(line: str) -> None:
    """Show a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def targets() -> dict[str, list[str]]:
    """Each module with its tests."""
    tables = tomllib.loads((HERE / "targets.toml").read_text())["targets"]
    return {
        str(path.relative_to(ROOT)): table["tests"]
        for table in tables
        for glob in table["modules"]
        for path in sorted(ROOT.glob(glob))
        if path.name != "__init__.py"
    }


def mutants(modules: Iterable[str]) -> Iterator[MutationSpec]:
    """All mutants of the modules, without those of annotations."""
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(f"{folder}/all.sqlite", WorkDB.Mode.create) as db,
    ):
        init([Path(module) for module in modules], db, {})
        for item in db.work_items:
            (mutation,) = item.mutations
            if not any(
                start <= mutation.start_pos < end
                for start, end in _annotations(mutation.module_path)
            ):
                yield mutation


def _annotations(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AnnAssign | ast.arg):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            found.append(node.returns)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in found
        if node is not None
    ]


def work_in_copy(parent: str) -> None:
    """Give this process a copy of the tree, in which it changes modules and runs tests."""
    copy = Path(tempfile.mkdtemp(dir=parent))
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    os.chdir(copy)


def tested(mutation: MutationSpec, command: str, timeout: float) -> Verdict:
    """Make the mutant in this process's copy, and run the tests."""
    result = mutate_and_test([mutation], command, timeout)
    lines = (result.diff or "").splitlines()
    change = "\n".join(
        line for line in lines if line[:1] in "+-" and not line.startswith(("---", "+++"))
    )
    outcome = "killed" if result.test_outcome == TestOutcome.KILLED else "survived"
    if result.test_outcome == TestOutcome.INCOMPETENT:
        outcome = f"not tested: {result.output}"
    elif result.output == "timeout":
        outcome = "timeout"
    return Verdict(str(mutation.module_path), mutation.operator_name, change, outcome)


def accepted(verdict: Verdict, reasons: Sequence[Mapping[str, Any]]) -> Verdict:
    """A survivor with its reason, where there is one for its change."""
    if verdict.outcome == "survived":
        for known in reasons:
            same = known["change"].strip("\n") == verdict.change
            if same and fnmatch(verdict.module, known["module"]):
                values = asdict(verdict) | {"outcome": "accepted", "reason": known["reason"]}
                return Verdict(**values)
    return verdict


def seconds_of(command: str) -> float:
    """How long the tests take without a change; they must pass."""
    began = time.monotonic()
    done = subprocess.run(shlex.split(command), cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{command} fails without any change:\n{done.stdout.decode()[-2000:]}")
    return time.monotonic() - began


def report(verdicts: Sequence[Verdict], of: int) -> bool:
    """Write and show what became of them; whether that is enough."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    judged = len(verdicts) - counts["timeout"] - counts["accepted"]
    share = counts["killed"] / judged if judged else 1.0
    (ROOT / "reports").mkdir(exist_ok=True)
    whole = {
        "all": of,
        "tested": len(verdicts),
        "counts": counts,
        "killed": share,
        "mutants": [asdict(verdict) for verdict in verdicts],
    }
    (ROOT / "reports" / "mutants.json").write_text(json.dumps(whole, indent=1))
    by_module = itertools.groupby(sorted(verdicts, key=lambda v: v.module), lambda v: v.module)
    for module, found in by_module:
        say(f"{module:<40}{dict(Counter(verdict.outcome for verdict in found))}")
    for verdict in verdicts:
        if verdict.outcome not in ("killed", "accepted"):
            say(f"\n{verdict.outcome}: {verdict.module} ({verdict.operator})\n{verdict.change}")
    say(f"\n{len(verdicts)} of {of} mutants: {dict(counts)}; {share:.1%} killed")
    return share >= LEAST


def main() -> int:
    """Test a sample of the mutants, or all of the modules that are named."""
    parser = argparse.ArgumentParser(
        prog="make mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="all mutants of these")
    parser.add_argument("--python", default=sys.executable, help="what the tests run with")
    parser.add_argument("--sample", type=int, default=600, help="so many mutants (600)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--processes", type=int, default=2, help="at a time (2)")
    options = parser.parse_args()
    known = targets()
    if unknown := sorted(set(options.modules) - known.keys()):
        parser.error(f"not in targets.toml: {', '.join(unknown)}")
    os.chdir(ROOT)
    everything = list(mutants(options.modules or known))
    chosen = everything
    if not options.modules and len(everything) > options.sample:
        chosen = random.Random(options.seed).sample(everything, options.sample)
    python = os.path.abspath(options.python)  # links stay: an environment is one
    pytest = f"{shlex.quote(python)} -m pytest -c tests/pytest.ini -x -q"
    commands = {module: f"{pytest} {shlex.join(tests)}" for module, tests in known.items()}
    needed = {commands[str(mutation.module_path)] for mutation in chosen}
    limits = {command: 10 + 5 * seconds_of(command) for command in sorted(needed)}
    reasons = tomllib.loads((HERE / "accepted.toml").read_text()).get("accepted", [])
    verdicts: list[Verdict] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            options.processes, initializer=work_in_copy, initargs=(folder,)
        ) as pool,
    ):
        under_way = []
        for mutation in chosen:
            command = commands[str(mutation.module_path)]
            under_way.append(pool.submit(tested, mutation, command, limits[command]))
        for number, done in enumerate(as_completed(under_way), 1):
            verdicts.append(accepted(done.result(), reasons))
            say(
                f"{number} of {len(chosen)} {verdicts[-1].outcome}: {verdicts[-1].module}",
            )
    return 0 if report(verdicts, len(everything)) else 1


if __name__ == "__main__":
    sys.exit(main())
