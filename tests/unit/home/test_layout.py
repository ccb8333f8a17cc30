"""The home is laid out as the hub's client does it, and everybody can read what is written."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.file_download import repo_folder_name

from prep.home.layout import (
    Home,
    escapes_home,
    link_target,
    make_folder,
    open_to_all,
    point_link,
    write_text,
)
from tests.support.small_homes import COMMIT, REPO

HOME = Home(Path("/srv/models"))


@pytest.fixture
def closed_umask() -> Iterator[None]:
    """The umask of a careful administrator."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@pytest.mark.parametrize("repo", [REPO, "sentence-transformers/all-MiniLM-L6-v2", "a/b.c_d-e"])
def test_a_repos_folder_is_the_hubs_own(repo: str) -> None:
    own = repo_folder_name(repo_id=repo, repo_type="model")
    assert HOME.repo(repo) == HOME.root / "hub" / own
    assert HOME.snapshot(repo, COMMIT) == HOME.repo(repo) / "snapshots" / COMMIT
    assert HOME.ref(repo) == HOME.repo(repo) / "refs" / "main"


def test_names_below_the_home_are_those_of_the_design() -> None:
    assert HOME.stable(REPO, "int8") == Path("/srv/models/openvino/acme--tiny/int8")
    assert HOME.partial == Path("/srv/models/model-prep/partial")
    assert HOME.ledger == Path("/srv/models/model-prep/placed.jsonl")
    assert HOME.lock(REPO, "fetch") == Path("/srv/models/model-prep/locks/acme--tiny.fetch")


def test_messages_show_paths_below_the_home() -> None:
    assert HOME.shown(Path("/srv/models/hub/x")) == "hub/x"
    assert HOME.shown(Path("/elsewhere/x")) == "/elsewhere/x"


@pytest.mark.usefixtures("closed_umask")
def test_what_is_written_can_be_read_by_all_under_any_umask(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_text(home.ref(REPO), COMMIT)
    home.note_placed("ref", home.ref(REPO))
    assert home.ref(REPO).read_text(encoding="utf-8") == COMMIT
    assert mode(home.ref(REPO)) == mode(home.ledger) == "0644"
    for folder in (home.root, home.hub, home.repo(REPO), home.ref(REPO).parent, home.state):
        assert mode(folder) == "0755"


@pytest.mark.usefixtures("closed_umask")
def test_folders_that_were_there_keep_their_modes(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    make_folder(theirs / "ours" / "deeper")
    make_folder(theirs / "ours" / "deeper")
    folders = (theirs, theirs / "ours", theirs / "ours" / "deeper")
    assert [*map(mode, folders)] == ["0700", "0755", "0755"]


def test_opening_gives_all_others_reading_and_no_writing(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    (tmp_path / "folder").mkdir(0o700)
    for path in tmp_path.iterdir():
        open_to_all(path)
    assert mode(tmp_path / "file") == "0644"
    assert mode(tmp_path / "folder") == "0755"


def test_a_reader_sees_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    """Never a part, never none."""
    path = tmp_path / "file"
    texts = {letter * 20_000 for letter in "ab"}
    write_text(path, min(texts))
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    for text in [*texts] * 50:
        write_text(path, text)
    done.set()
    reader.join()
    assert seen <= texts
    assert seen


def test_text_is_written_byte_for_byte(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a\r\né\n")
    assert (tmp_path / "file").read_bytes() == "a\r\né\n".encode()


def test_a_write_that_fails_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_pointed_anew_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "int8"
    for target in ("one", "two"):
        (tmp_path / target).mkdir()
        point_link(link, target)
        assert link.readlink() == Path(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8", "one", "two"]


def test_a_link_is_never_put_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    with pytest.raises(IsADirectoryError):
        point_link(tmp_path / "int8", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


def test_links_that_break_when_the_home_is_moved_are_found(tmp_path: Path) -> None:
    root = tmp_path / "home"
    (root / "in").mkdir(parents=True)
    (root / "in" / "file").touch()
    (tmp_path / "out").mkdir()
    links = {"near": "in", "two steps": "near", "up": "../out", "far": str(root / "in")}
    for name, target in {**links, "far in two": "far"}.items():
        (root / name).symlink_to(target)
    escapes = {path.name: escapes_home(Home(root), path) for path in root.iterdir()}
    far = f"goes by a link to {root / 'in'}: not there where the home is mounted elsewhere"
    assert escapes == {
        "in": None,
        "near": None,
        "two steps": None,
        "up": ("outside-home", f"leads to {tmp_path / 'out'}, outside the home"),
        "far": ("absolute-link", far),
        "far in two": ("absolute-link", far),
    }
    for name, escape in escapes.items():  # links of folders on the way are found as well
        below = escapes_home(Home(root), root / name / "file")
        assert (below or [None])[0] == (escape or [None])[0], name
    assert link_target(root / "up") == Path("../out")
    assert link_target(root / "in") is None
    assert link_target(root / "absent") is None
