"""What lies below a folder is listed without following links, and counted once."""

import os
from pathlib import Path

from prep.files.tree import freed_bytes, megabytes, walk_files
from tests.support.small_homes import write_bytes


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "top" / "deep" / "file", b"12345")
    write_bytes(tmp_path / "elsewhere" / "big", b"x" * 100)
    (tmp_path / "top" / "folder").symlink_to("../elsewhere")
    (tmp_path / "top" / "dangling").symlink_to("nowhere")
    (tmp_path / "top" / "empty").mkdir()
    found = {path.relative_to(tmp_path).as_posix() for path in walk_files(tmp_path / "top")}
    assert found == {"top/deep/file", "top/folder", "top/dangling"}
    assert list(walk_files(tmp_path / "absent")) == []


def test_only_bytes_without_another_name_are_freed(tmp_path: Path) -> None:
    file = write_bytes(tmp_path / "top" / "file", b"12345")
    write_bytes(tmp_path / "top" / "more", b"123")
    (tmp_path / "top" / "link").symlink_to("file")
    assert (freed_bytes(tmp_path / "top"), freed_bytes(file)) == (8, 5)
    os.link(file, tmp_path / "second name")
    assert (freed_bytes(tmp_path / "top"), freed_bytes(file)) == (3, 0)
    assert freed_bytes(tmp_path / "top" / "link") == 0


def test_sizes_are_decimal_megabytes() -> None:
    assert [megabytes(count) for count in (0, 449_999, 2_500_000)] == ["0.0 MB", "0.4 MB", "2.5 MB"]
