"""Every row of the table of faults by a whole run of pytest: its exit code, and what is kept."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from prep.catalogue.lock import Lock, LockedModel, render
from prep.home.layout import Home
from tests.support.fault_play import FILE, REPO, Row, kept, set_up
from tests.support.fault_rows import ROWS
from tests.support.runs import run, write_catalogue


def catalogue(folder: Path, commit: str) -> Path:
    """A catalogue with the one model, and its lock."""
    locked = LockedModel(
        name="large",
        repo=REPO,
        requested_revision="main",
        commit=commit,
        license="mit",
        files=(FILE,),
    )
    (folder / "models.lock.toml").write_text(render(Lock(models=(locked,))), encoding="utf-8")
    return write_catalogue(folder, ("large", REPO))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_run_ends_with_its_code_and_says_what_it_was(row: Row, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.partial.mkdir(parents=True)
    if row.left is not None:
        (home.partial / FILE.sha256).write_bytes(row.left)
    options = [f"--download-{name}={value:g}" for name, value in row.network.items()]
    with ExitStack() as stack:
        stage = set_up(row, tmp_path, stack)
        done = run(
            *("--catalogue", catalogue(tmp_path, stage.served.commit), "--hub", stage.endpoint),
            *("--model-home", home.root, "-m", "pins", "--precision", "none", *options),
            env={"HF_TOKEN": row.token} if row.token else {},
        )
    assert done.code == row.code, done.out
    wanted = " ".join(row.message(**stage.names(row)).split())
    if row.code:
        assert wanted in done.said
        assert "Traceback" not in done.out
    elif wanted:  # the seconds are drawn by lot
        assert wanted.partition(", trying again")[0] in done.said
    assert kept(home, stage.served.commit) == row.kept
