"""Disk space, and which errors of a disk mean that it is full or not writable."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prep.errors import DiskFull, HomeNotWritable, PrepError, WrongRequest

FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
# Libraries hide the errno: C++ streams, Rust (safetensors), and what they wrap.
FULL_WORDS = ("no space left on device", "os error 28", "disk quota exceeded", "iostream error")
MIN_FREE = 1 << 16  # bytes; with less than that nothing of ours can be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system: where it is mounted, bytes and files that this user may still write.

    `files` is None where the file system has no such limit.
    """

    place: str
    free: int
    files: int | None


def disk_of(path: Path) -> Disk:
    """The file system that `path` is on, or would be on."""
    existing = nearest(path).resolve()
    stat = os.statvfs(existing)
    mount = next(folder for folder in (existing, *existing.parents) if folder.is_mount())
    return Disk(
        place=str(mount),
        free=stat.f_bavail * stat.f_frsize,
        files=stat.f_favail if stat.f_files else None,
    )


def nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def why_not_writable(folder: Path) -> str | None:
    """Why this user cannot write into a folder, found by trying; None where that works.

    The file that is tried has no name: nothing in the folder changes, not even its time. The mode
    would not do: a mount may be read-only, the user may be root, other rules may apply.
    """
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            return error.strerror
        if error.errno not in FULL and not os.access(folder, os.W_OK | os.X_OK):
            return "permission denied"  # this file system has no files without a name
    return None


def storage_error(error: OSError, *paths: Path) -> PrepError | None:
    """Our error for a full or read-only disk, else None; `places` are those it may be on."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if error.errno in FULL:
        why = "" if error.errno == errno.ENOSPC else error.strerror
        return disk_full(why, *((path,) if path else paths))
    if error.errno in NOT_WRITABLE:
        return HomeNotWritable(
            f"{path or 'the home'} ({error.strerror}). Give a home that this user may write "
            "(--model-home), or check this one as it is with --offline."
        )
    return None


def disk_full(why: str | None, *paths: Path) -> DiskFull:
    """The error for a full disk; of several places, the fullest is meant."""
    disks = map(disk_of, paths or (Path(tempfile.gettempdir()),))
    disk = min(disks, key=lambda disk: disk.free)
    return DiskFull(
        f"{disk.place} has {disk.free} bytes free{f' ({why})' if why else ''}. Finished files are "
        "kept; free space there and run again."
    )


def no_temporary_folder() -> PrepError | None:
    """Why no folder for temporary files can be written at all, None where one can."""
    try:
        tempfile.gettempdir()  # Python tries several folders by writing a file
    except FileNotFoundError:
        place = nearest(Path(os.environ.get("TMPDIR") or "/tmp"))
        if disk_of(place).free == 0:
            return disk_full("no folder for temporary files can be written", place)
        return WrongRequest(
            f"No folder for temporary files can be written, {place} neither. Give one in TMPDIR; "
            "a container with a read-only root needs a tmpfs at /tmp."
        )
    return None


def hidden_full(error: Exception, *paths: Path) -> DiskFull | None:
    """A full disk behind a library's own error: by its words, or because no space is left now.

    To be called where the error was raised: cleaning up afterwards frees space.
    """
    text = str(error).lower()
    if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_WORDS):
        return disk_full(str(error).strip().splitlines()[-1], *paths)
    if min(disk_of(place).free for place in paths) < MIN_FREE:
        return disk_full(f"{type(error).__name__}: {error}", *paths)
    return None
