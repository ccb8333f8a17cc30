"""Files that were in the home before are found by their checksum, and stay what they were."""

import shutil
from pathlib import Path

import pytest

from prep.fetch.adopt import Adopted, adopt
from prep.home.layout import Home
from sample_hub.server import Hub
from tests.support.runs import FILES_ONLY, TINY, TINY_REPO, listing, sample, summary
from tests.support.small_homes import (
    OTHER_COMMIT,
    SOURCE,
    flip,
    locked_model,
    place_source,
    seen,
    sha256,
    tiny,
    write_bytes,
)

LOCKED = locked_model()


def adopted(home: Home) -> dict[str, str]:
    """What was used, and how."""
    noted: list[Adopted] = []
    found = adopt(home, LOCKED, LOCKED.files, noted.append)
    assert tuple(noted) == found
    return {adopted.file.path: adopted.how for adopted in found}


def all_of(how: str) -> dict[str, str]:
    return dict.fromkeys(SOURCE, how)


def bytes_of(home: Home) -> dict[str, bytes]:
    """What a consumer reads in the snapshot."""
    snapshot = home.snapshot(LOCKED.repo, LOCKED.commit)
    return {path: (snapshot / path).read_bytes() for path in SOURCE if (snapshot / path).exists()}


def test_blobs_of_another_commit_are_linked_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path)
    place_source(home, locked_model(commit=OTHER_COMMIT))
    before = listing(home.repo(LOCKED.repo) / "blobs")
    assert adopted(home) == all_of("in place")
    assert bytes_of(home) == SOURCE
    assert listing(home.repo(LOCKED.repo) / "blobs") == before


def test_blobs_by_other_names_are_linked_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for content in SOURCE.values():
        write_bytes(home.repo(LOCKED.repo) / "blobs" / f"git-{sha256(content)[:30]}", content)
    assert adopted(home) == all_of("in place")
    assert bytes_of(home) == SOURCE


def test_plain_files_of_another_commit_are_hard_linked(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old = home.snapshot(LOCKED.repo, OTHER_COMMIT)
    for path, content in SOURCE.items():
        write_bytes(old / path, content)
    assert adopted(home) == all_of("linked")
    assert bytes_of(home) == SOURCE
    new = home.snapshot(LOCKED.repo, LOCKED.commit)
    assert all((new / path).samefile(old / path) for path in SOURCE)


@pytest.mark.parametrize("how", ["linked", "copied"])
def test_old_place_is_linked_or_copied_and_stays_as_it_was(tmp_path: Path, how: str) -> None:
    """A file that others cannot read is copied: a hard link would share its mode."""
    home = Home(tmp_path / "home")
    elsewhere = Home(tmp_path / "other")
    place_source(elsewhere, locked_model(commit=OTHER_COMMIT))
    old = home.root / home.repo(LOCKED.repo).name
    shutil.copytree(elsewhere.repo(LOCKED.repo), old, symlinks=True)
    if how == "copied":
        for path in (old / "blobs").iterdir():
            path.chmod(0o600)
    before = listing(old)
    assert adopted(home) == all_of(how)
    assert bytes_of(home) == SOURCE
    assert listing(old) == before
    blobs = home.repo(LOCKED.repo) / "blobs"
    assert {path.stat().st_nlink for path in blobs.iterdir()} == {2 if how == "linked" else 1}
    assert {oct(path.stat().st_mode & 0o777) for path in blobs.iterdir()} == {"0o644"}
    shutil.rmtree(old)
    assert bytes_of(home) == SOURCE, "ours stays when the old place goes"


def test_other_bytes_of_the_same_size_are_not_taken(tmp_path: Path) -> None:
    home = Home(tmp_path)
    place_source(home, locked_model(commit=OTHER_COMMIT))
    flip(home.repo(LOCKED.repo) / "blobs" / sha256(SOURCE["model.safetensors"]))
    assert adopted(home) == {path: "in place" for path in SOURCE if path != "model.safetensors"}
    assert "model.safetensors" not in bytes_of(home)


def test_unfinished_files_and_links_are_no_candidates(tmp_path: Path) -> None:
    home, content = Home(tmp_path / "home"), SOURCE["model.safetensors"]
    blobs = home.repo(LOCKED.repo) / "blobs"
    write_bytes(blobs / f"{sha256(content)}.ab12.incomplete", content)
    away = write_bytes(tmp_path / "away", content)
    (blobs / "link").symlink_to(away)
    assert adopted(home) == {}


def test_a_dangling_link_is_repaired(tmp_path: Path) -> None:
    prepared = tiny(tmp_path)
    link = prepared.snapshot / "config.json"
    blob = link.resolve()
    blob.rename(blob.with_name("by-another-name"))
    assert "bytes missing config.json" in seen(prepared.source())
    found = adopt(prepared.home, LOCKED, [LOCKED.files[1]], lambda adopted: None)
    assert [adopted.how for adopted in found] == ["in place"]
    assert link.read_bytes() == SOURCE["config.json"]


def test_run_fetches_nothing_that_an_older_preparation_left(
    prepared: Path, tmp_path: Path, hub: Hub
) -> None:
    """As the origin had it: directly in the home; one file is missing there."""
    home = tmp_path / "home"
    name = f"models--{TINY_REPO.replace('/', '--')}"
    shutil.copytree(prepared / "hub" / name, home / name, symlinks=True)
    missing = next((home / name).glob("snapshots/*/tokenizer.json"))
    size = missing.stat().st_size
    missing.resolve().unlink()
    missing.unlink()
    before = listing(home / name)
    done = sample(home, *FILES_ONLY, hub=hub.url)
    assert done.code == 0, done.out
    assert f"adopted {400015 - size} bytes in 9 files that were in the home before" in done.said
    assert f"fetched {size} bytes, adopted {400015 - size} bytes, converted nothing" in done.said
    sent = [
        request.path.rpartition("/")[2]
        for request in hub.requests
        if request.method == "GET" and request.sent
    ]
    assert set(sent) == {"tokenizer.json"}
    assert listing(home / name) == before
    assert summary(home)["models"][TINY]["fetched-bytes"] == size
    theirs, ours = (
        next(home.glob(f"{place}models--*/snapshots/*/model.safetensors")) for place in ("", "hub/")
    )
    assert theirs.samefile(ours)
