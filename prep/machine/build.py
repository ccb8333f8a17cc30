"""Which model-prep this is: its version, and its commit where that is known.

The commit is that of the checkout, or the one that an installer noted (PEP 610, direct_url.json).
No process is started: git may be missing, or may refuse a checkout that belongs to another user.
"""

import functools
import json
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from prep import __version__
from prep.files.fields import COMMIT
from prep.files.typed import Commit

ROOT = Path(__file__).resolve().parents[2]
NAME = "model-prep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What every record names. What is changed in a checkout and not committed does not show."""

    version: str
    commit: Commit | None

    def __str__(self) -> str:
        return f"{self.version} ({self.commit[:12]})" if self.commit else self.version

    def record(self) -> dict[str, str | None]:
        """As it stands in a record."""
        return asdict(self)


@functools.cache
def build() -> Build:
    """The version and commit of the code that runs, read once."""
    commit = checkout_commit(ROOT) or installed_commit(ROOT)
    return Build(version=__version__, commit=commit)


def checkout_commit(root: Path) -> str | None:
    """The commit of HEAD in the checkout at `root`, None where there is none to be read."""
    try:
        git = root / ".git"
        if git.is_file():  # a worktree or a submodule
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        common = git / "commondir"
        shared = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head if COMMIT.fullmatch(head) else None
        ref = head.removeprefix("ref:").strip()
        for place in (git / ref, shared / ref):
            if place.is_file():
                commit = place.read_text(encoding="utf-8").strip()
                return commit if COMMIT.fullmatch(commit) else None
        packed = (shared / "packed-refs").read_text(encoding="utf-8")
        found = re.search(rf"^({COMMIT.pattern}) {re.escape(ref)}$", packed, re.MULTILINE)
        return found[1] if found else None
    except (OSError, ValueError):  # ValueError: not UTF-8
        return None


def installed_commit(root: Path) -> str | None:
    """The commit that pip noted when it installed the distribution at `root` from a repository."""
    try:
        distribution = metadata.distribution(NAME)
        if Path(str(distribution.locate_file(""))).resolve() != root:
            return None  # another copy than the one that runs
        noted = json.loads(distribution.read_text("direct_url.json") or "")
        commit = noted["vcs_info"]["commit_id"]
    except (metadata.PackageNotFoundError, OSError, ValueError, LookupError, TypeError):
        return None
    return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else None
