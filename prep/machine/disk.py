"""What an error of the disk means: it is full, which can pass, or it may not be written."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prep.errors import DiskFull, HomeNotWritable, PrepError, WrongRequest

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# Libraries hide the number: C++ streams, Rust (safetensors), and what they wrap.
FULL_WORDS = ("no space left on device", "os error 28", "disk quota exceeded", "iostream error")
LEAST = 1 << 16  # bytes; with less than that nothing of ours can be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system: where it is mounted, bytes and files that this user may still put there.

    `files` is None where the file system has no such bound.
    """

    place: str
    free: int
    files: int | None


def disk_of(path: Path) -> Disk:
    """The file system that `path` is on, or would be on."""
    there = nearest(path).resolve()
    told = os.statvfs(there)
    place = next(up for up in (there, *there.parents) if up.is_mount())
    return Disk(
        place=str(place),
        free=told.f_bavail * told.f_frsize,
        files=told.f_favail if told.f_files else None,
    )


def nearest(path: Path) -> Path:
    """`path`, or the folder above it that is there."""
    path = path.absolute()
    return next(up for up in (path, *path.parents) if up.exists())


def why_not_writable(folder: Path) -> str | None:
    """Why this user can put nothing into a folder, found by trying; None where that works.

    The file that is tried has no name: nothing in the folder changes, not even its time. Asking
    for the mode would not tell: of a mount that is read-only, of root, of other rules.
    """
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno in CLOSED:
            return error.strerror
        if error.errno not in FULL and not os.access(folder, os.W_OK | os.X_OK):
            return "permission denied"  # this file system knows no files without a name
    return None


def storage_error(error: OSError, *places: Path) -> PrepError | None:
    """Our error for it, None where it is of another kind; `places` where it could have been."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if error.errno in FULL:
        return disk_full(error.strerror or str(error), *((path,) if path else places))
    if error.errno in CLOSED:
        return HomeNotWritable(
            f"{path or 'The home'} cannot be written ({error.strerror}). Give a home that this "
            "user may write (--model-home), or check this one as it is with --offline."
        )
    return None


def disk_full(why: str, *places: Path) -> DiskFull:
    """The sentence for a full disk; of several places, the fullest is meant."""
    disk = min(map(disk_of, places or (Path(tempfile.gettempdir()),)), key=_free)
    return DiskFull(
        f"The disk is full: {disk.place} has {disk.free} bytes free ({why}). Finished files are "
        "kept; make room there and run again."
    )


def no_temporary_folder() -> PrepError | None:
    """Why no folder for temporary files can be written at all, None where one can."""
    try:
        tempfile.gettempdir()  # Python tries each that it knows by writing a file
    except FileNotFoundError:
        place = nearest(Path(os.environ.get("TMPDIR") or "/tmp"))
        if disk_of(place).free == 0:
            return disk_full("no folder for temporary files can be written", place)
        return WrongRequest(
            f"No folder for temporary files can be written, {place} neither. Give one in TMPDIR; "
            "a container with a read-only root needs a tmpfs at /tmp."
        )
    return None


def hidden_full(error: Exception, *places: Path) -> DiskFull | None:
    """A full disk behind a library's own error: by its words, or because no room is left now.

    To be asked where the error rose: who cleans up behind it makes room.
    """
    told = str(error).lower()
    if getattr(error, "errno", None) in FULL or any(words in told for words in FULL_WORDS):
        return disk_full(str(error).strip().splitlines()[-1], *places)
    if min(disk_of(place).free for place in places) < LEAST:
        return disk_full(f"{type(error).__name__}: {error}", *places)
    return None


def _free(disk: Disk) -> int:
    return disk.free
