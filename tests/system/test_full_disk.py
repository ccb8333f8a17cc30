"""Disks that are full when a run's last files are written: a sentence, exit 75, nothing torn."""

import re
from pathlib import Path

import pytest

from tests.support.runs import FILES_ONLY, Run, copy_home, in_namespace, run, sample

# Mounts a small file system in place of a folder, keeps what lay there, fills it but for some
# pages, runs the rest of the command, and brings back what then lies there.
FILLED = """
place=$0 pages=$1 kept=$2; shift 2
mkdir "$kept" && cp -a "$place/." "$kept" || exit 99
mount -t tmpfs -o size=2m none "$place" && cp -a "$kept/." "$place" || exit 99
rm -r "$kept"
dd if=/dev/zero of="$place/filler" bs=4096 2>/dev/null
truncate -s "-$((pages * 4096))" "$place/filler"
"$@"; code=$?
rm "$place/filler" && cp -a "$place" "$kept" || exit 99
exit $code
"""
FULL = (
    r"no space left: {} has \d+ bytes free\. Finished files are kept; free space there and run "
    r"again\."
)


def filled(place: Path, pages: int, kept: Path) -> tuple[str, ...]:
    """The command in front of one that shall find `place` full but for some pages of 4 kB."""
    return (*in_namespace("--mount"), "sh", "-c", FILLED, str(place), str(pages), str(kept))


def in_full(place: Path, kept: Path, home: Path, *args: str | Path, pages: int = 0) -> Run:
    """A run on a prepared home, for which `place` is full; what lies there afterwards is `kept`."""
    place.mkdir(exist_ok=True)
    done = sample(home, *args, prefix=filled(place, pages, kept))
    assert done.code != 99, "the small file system could not be made"
    return done


def reports_full_disk(done: Run, what: str, place: Path) -> bool:
    """Whether the run says of `what` that it could not be written, and why."""
    sentence = rf"^{what} could not be written: {FULL.format(re.escape(str(place)))}$"
    return re.search(sentence, done.out, re.MULTILINE) is not None


def leftovers(folder: Path) -> list[str]:
    """Files that were written beside, and not renamed."""
    return [path.name for path in folder.glob(".*")]


def test_reports_and_proofs_that_find_no_room_leave_the_earlier_ones(
    tmp_path: Path, prepared: Path
) -> None:
    home, state = copy_home(prepared, tmp_path / "home"), tmp_path / "state"
    before = {path.name: path.read_bytes() for path in (home / "model-prep").glob("*.*")}
    done = in_full(home / "model-prep", state, home, *FILES_ONLY)
    assert done.code == 75, done.out
    assert reports_full_disk(done, "what consumers read", home / "model-prep"), done.out
    assert reports_full_disk(done, "summary and report", home / "model-prep"), done.out
    assert {path.name: path.read_bytes() for path in state.glob("*.*")} == before
    assert leftovers(state) == []


def test_report_that_finds_no_room_is_told_and_not_torn(
    tmp_path: Path, prepared: Path, option: str = "--junitxml", what: str = "junit"
) -> None:
    home, place = copy_home(prepared, tmp_path / "home"), tmp_path / "place"
    place.mkdir()
    (place / "report").write_text("an earlier one")
    kept = tmp_path / "kept"
    done = in_full(place, kept, home, *FILES_ONLY, f"{option}={place / 'report'}")
    assert done.code == 75, done.out
    assert reports_full_disk(done, what, place), done.out
    assert "INTERNALERROR" not in done.out and "Traceback" not in done.out
    assert (kept / "report").read_text() == "an earlier one"
    assert leftovers(kept) == []


def test_junit_is_written_where_nothing_can_be_renamed(tmp_path: Path, prepared: Path) -> None:
    """As into a container's single mounted file, or into a pipe."""
    alone, home = tmp_path / "junit.xml", copy_home(prepared, tmp_path / "home")
    alone.write_text("an earlier one")
    script = 'mount --bind "$0" "$0" && exec "$@"'
    prefix = (*in_namespace("--mount"), "sh", "-c", script, str(alone))
    done = sample(home, *FILES_ONLY, "--offline", f"--junitxml={alone}", prefix=prefix)
    assert done.code == 0, done.out
    assert alone.read_text().startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites')
    assert f"generated xml file: {alone}" in done.out
    done = sample(home, *FILES_ONLY, "--offline", "--junitxml=/dev/stderr")
    assert done.code == 0, done.out
    assert '<?xml version="1.0" encoding="utf-8"?>\n<testsuites' in done.out
    assert Path("/dev/stderr").is_symlink()


def test_ledger_that_cannot_be_written_is_told_by_the_stage(tmp_path: Path, prepared: Path) -> None:
    home, state = copy_home(prepared, tmp_path / "home"), tmp_path / "state"
    (home / "model-prep" / "placed.jsonl").unlink()
    done = in_full(home / "model-prep", state, home, *FILES_ONLY)
    assert done.code == 75, done.out
    assert re.search(FULL.format(re.escape(str(home / "model-prep"))), done.said), done.out
    assert (state / "placed.jsonl").read_bytes() == b"", "no part of a line is left"


# pytest wants a folder for temporary files before any plugin has a say. Those that Python knows
# are closed, with what lies there left to be read: it may be this project.
NO_FOLDER = """
for place in /tmp /var/tmp; do
  mount --bind "$place" "$place" && mount -o remount,bind,ro "$place" || exit 99
done
mount -t tmpfs -o size=4k,MODE none "$TMPDIR" || exit 99
[ MODE = ro ] || echo > "$TMPDIR/filler"
cd /proc && exec "$@"
"""
NO_ROOM = (
    "no space left: PLACE has 0 bytes free (no folder for temporary files can be written). "
    "Finished files are kept; free space there and run again.\n"
)
READ_ONLY = (
    "No folder for temporary files can be written, PLACE neither. Give one in TMPDIR; a container "
    "with a read-only root needs a tmpfs at /tmp.\n"
)


@pytest.mark.parametrize(
    ("mode", "code", "sentence"),
    [("rw", 75, NO_ROOM), ("ro", 4, READ_ONLY)],
    ids=["full", "read-only"],
)
def test_no_folder_for_temporary_files_is_told(mode: str, code: int, sentence: str) -> None:
    place = Path("/mnt")  # not below those that are closed
    script = NO_FOLDER.replace("MODE", mode)
    prefix = (*in_namespace("--mount"), "sh", "-c", script, "sh")
    done = run("--help", env={"TMPDIR": str(place)}, prefix=prefix)
    assert (done.code, done.out) == (code, sentence.replace("PLACE", str(place)))
