"""A full disk is recognised behind every error, and is transient; a read-only one is not."""

import errno
from pathlib import Path

import pytest

from prep.errors import DiskFull, HomeNotWritable
from prep.machine.disk import disk_of, hidden_full, storage_error, why_not_writable


def test_full_disk_names_mount_and_free_space(tmp_path: Path) -> None:
    path = str(tmp_path / "not" / "there")
    full = storage_error(OSError(errno.ENOSPC, "No space left on device", path))
    quota = storage_error(OSError(errno.EDQUOT, "Disk quota exceeded", path))
    head, tail = f"no space left: {disk_of(tmp_path).place} has ", "Finished files are kept; "
    for error, words in ((full, "bytes free. "), (quota, "bytes free (Disk quota exceeded). ")):
        assert isinstance(error, DiskFull)
        assert str(error).startswith(head)
        assert str(error).endswith(f"{words}{tail}free space there and run again.")


def test_read_only_home_is_not_writable_and_other_errors_are_not_ours() -> None:
    error = storage_error(OSError(errno.EROFS, "Read-only file system", "/srv/models"))
    assert type(error) is HomeNotWritable
    assert str(error) == (
        "not writable: /srv/models (Read-only file system). Give a home that this user may write "
        "(--model-home), or check this one as it is with --offline."
    )
    assert storage_error(OSError(errno.EIO, "Input/output error")) is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Check 'ostream' failed: basic_ios::clear: iostream error"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["quota", "openvino", "safetensors"],
)
def test_full_disk_is_recognised_behind_a_librarys_error(tmp_path: Path, error: Exception) -> None:
    assert isinstance(hidden_full(error, tmp_path), DiskFull)
    assert hidden_full(ValueError("another"), tmp_path) is None


def test_trying_to_write_leaves_no_trace(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    assert why_not_writable(tmp_path) is None
    assert (tmp_path.stat().st_mtime_ns, list(tmp_path.iterdir())) == (before, [])
