"""The sandbox of a load: which home it is shown and where, as which user, on what mount.

All of it is this process's own: mounts in a namespace of its own, gone when it ends.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MS_KEPT = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime: as statvfs has them
ST_RELATIME, MS_RELATIME = 4096, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
OTHER_USERS = (65534, 65533)  # nobody; where nobody owns the home, another who owns nothing
NEEDS_ROOT = "needs root"


class NotTried(Exception):
    """The load cannot be made here, which says nothing about the model."""


def isolate(order: dict[str, Any] | None, scratch: str) -> str | None:
    """Show the home where and as the order says; gives where that is. Raises `NotTried`.

    ``{"home": path, "as": "HF_HOME" or "path", "user": "owner" or "other", "mount": "read-write"
    or "read-only"}``; None shows no home.
    """
    if order is None:
        return None
    home = order["home"]
    place = home_mounts()[0 if order["as"] == "HF_HOME" else 1]
    read_only = order["mount"] == "read-only"
    owner = os.stat(home).st_uid
    mounted = _mount_home(home, place, read_only=read_only)
    if not mounted:
        if read_only and not os.statvfs(home).f_flag & os.ST_RDONLY:
            raise NotTried(NEEDS_ROOT)
        os.rmdir(place)
        os.symlink(home, place)
    if order["user"] == "other":
        above = os.path.dirname(place)
        if _closed_above(os.path.join(above, "any")):
            raise NotTried(f"the temporary folder {above} is closed to other users")
        libraries = _libraries()
        if mounted:
            _uncover(libraries)
        _become(next(uid for uid in OTHER_USERS if uid != owner), scratch)
        for folder in libraries:
            _must_enter(folder, f"the interpreter's {folder} is closed to other users")
        if not mounted:  # what is closed above the home says nothing about the home
            _must_enter(os.path.dirname(os.path.realpath(home)), NEEDS_ROOT)
    return place


def home_mounts() -> tuple[str, str]:
    """Where a home can be shown: the private HF_HOME, and a neutral path beside it."""
    empty = os.environ["HF_HOME"]
    return empty, os.path.join(os.path.dirname(empty), "home")


def empty_home_mounts() -> None:
    """Empty folders again, where a child that could not mount made links of them."""
    for mount in home_mounts():
        if os.path.islink(mount):
            os.unlink(mount)
            os.mkdir(mount)


def can_mount() -> bool:
    """Whether children can show a home to themselves alone, so that several may do so at once."""
    place = home_mounts()[1]
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _mount_home(place, place, read_only=False) else 1)
    return os.waitpid(pid, 0)[1] == 0


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def enter_user_namespace(more: int) -> None:
    """A user namespace of this process's own, still as this user, and what `more` flags say."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER | more), "enter a user namespace")
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in maps.items():
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def check(result: int, what: str) -> None:
    """Raise `OSError` for a call of the C library that failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def _mount_home(home: str, place: str, *, read_only: bool) -> bool:
    try:
        if libc.unshare(CLONE_NEWNS) != 0:
            enter_user_namespace(CLONE_NEWNS)
        _mount(None, "/", MS_REC | MS_PRIVATE)
        _mount(home, place, MS_BIND | MS_REC)
    except OSError:
        return False
    try:
        for point in _mounts_below(place) if read_only else ():
            flags = os.statvfs(point).f_flag
            kept = flags & MS_KEPT | (MS_RELATIME if flags & ST_RELATIME else 0)
            _mount(None, point, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
    except OSError:
        libc.umount2(os.fsencode(place), MNT_DETACH)
        return False
    return True


def _mounts_below(place: str) -> list[str]:
    """The mount at `place` and those within it: each has to be made read-only by itself."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[4] for line in file]
    named = [
        re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points
    ]
    return [point for point in named if f"{point}/".startswith(f"{place}/")]


def _become(uid: int, scratch: str) -> None:
    """Become a user who owns nothing in the home and is in no group; `scratch` is theirs too."""
    try:
        os.chown(scratch, uid, uid)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError:  # not allowed, or in a user namespace that knows no other user
        raise NotTried(NEEDS_ROOT) from None
    die_with_parent()  # the kernel forgets it when credentials change


def _must_enter(folder: str, reason: str) -> None:
    try:
        os.stat(os.path.join(folder, "."))
    except PermissionError:
        raise NotTried(reason) from None


def _libraries() -> list[str]:
    """The folders that this interpreter imports from, a folder before what is in it."""
    named = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path) if path}
    return sorted(path for path in named if os.path.isdir(path))


def _uncover(libraries: list[str]) -> None:
    """Where this interpreter lies in somebody's closed folder, show there the interpreter alone.

    Libraries go on importing while they load. The closed folder is covered by an empty one that
    all may enter, with nothing in it but the way to the interpreter.
    """
    kept: list[tuple[str, str, str]] = []
    for path in libraries:
        closed = _closed_above(path)
        if closed is None or any(path.startswith(f"{other}/") for other, _, _ in kept):
            continue
        # Never in the job's scratch folder: what is mounted there would be removed with it.
        keep = f"{home_mounts()[1]}-{len(kept)}"
        os.makedirs(keep, exist_ok=True)
        _mount(path, keep, MS_BIND | MS_REC)
        kept.append((path, closed, keep))
    for closed in sorted({closed for _, closed, _ in kept}):
        _mount("tmpfs", closed, 0, kind="tmpfs", options="mode=755")
    for path, _, keep in kept:
        os.makedirs(path)
        _mount(keep, path, MS_BIND | MS_REC)


def _closed_above(path: str) -> str | None:
    """The topmost folder above `path` that others may not enter."""
    parts = path.split("/")
    for depth in range(2, len(parts)):
        folder = "/".join(parts[:depth])
        if not os.stat(folder).st_mode & 1:
            return folder
    return None


def _mount(
    source: str | None, target: str, flags: int, *, kind: str | None = None, options: str = ""
) -> None:
    raw = [os.fsencode(text) if text else None for text in (source, target, kind, options)]
    check(libc.mount(raw[0], raw[1], raw[2], flags, raw[3]), f"mount {target}")


libc = ctypes.CDLL(None, use_errno=True)
