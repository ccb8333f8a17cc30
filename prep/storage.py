"""What an error of the disk means: it is full, which can pass, or it may not be written."""

import errno
import shutil
from pathlib import Path

from prep.errors import DiskFull, HomeClosed, PrepError

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def storage_error(error: OSError) -> PrepError | None:
    """Our error for it, None where it is of another kind."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if error.errno in FULL:
        there = next((up for up in (path, *path.parents) if up.exists()), None) if path else None
        free = f", {shutil.disk_usage(there).free} bytes free at {there}" if there else ""
        return DiskFull(
            f"The disk is full ({error.strerror}{free}). Finished files are kept; make room and "
            "run again."
        )
    if error.errno in CLOSED:
        return HomeClosed(
            f"{path or 'The home'} cannot be written ({error.strerror}). Give a home that this "
            "user may write (--model-home), or check this one as it is with --offline."
        )
    return None
