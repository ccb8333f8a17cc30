"""The guard in Python, on top of the kernel's cut: names who reached for what.

It sees what goes through Python (audit events), refuses the network, and notes writes outside the
folders where a consumer may write.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import traceback
from collections.abc import Iterable
from typing import Any

REACHING = frozenset(
    f"socket.{call}"
    for call in ("connect", "getaddrinfo", "gethostbyaddr", "gethostbyname", "sendmsg", "sendto")
)
# Which arguments of an event are names that it makes or takes away, each with the place of its
# dir_fd. What a link leads to is not changed by making, moving or removing the link.
NAMING: dict[str, tuple[tuple[int, int], ...]] = {
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
}
PLUMBING = (
    *("socket.py", "ssl.py", "http/", "urllib", "httpx", "httpcore", "anyio", "requests"),
    *("guard.py", "asyncio", "concurrent/"),
)


class Guard:
    """Installed once for the life of a process: an audit hook cannot be taken off again."""

    def __init__(self, may_write: Iterable[str]) -> None:
        self.network: list[dict[str, str]] = []
        self.writes: list[str] = []
        self._may_write = tuple(f"{os.path.realpath(path)}/" for path in may_write)

    def install(self) -> None:
        """From here on the network is refused and writes are noted."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in REACHING:
            self._reached(event, args)
        elif event == "open":
            path, _, flags = args
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._wrote(path)
        elif event == "os.mkdir" and os.path.isdir(os.fsdecode(args[0])):
            return  # makes nothing: os.makedirs(…, exist_ok=True) asks first
        elif event in NAMING:
            for at, folder_at in NAMING[event]:
                self._wrote(args[at], args[folder_at], follow=False)
        elif event in ("os.truncate", "os.chmod"):
            self._wrote(args[0], args[2] if event == "os.chmod" else -1)

    def _reached(self, event: str, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], socket.socket):
            if args[0].family == socket.AF_UNIX:
                return
            address = args[1] if len(args) > 1 else None
            host = str(address[0]) if isinstance(address, tuple) else str(address)
        else:
            host = str(args[0])
        self.network.append({"host": host, "caller": _caller()})
        raise OSError(errno.ENETUNREACH, f"model-prep: no network here, {host} was asked for")

    def _wrote(self, path: object, folder: int = -1, *, follow: bool = True) -> None:
        """`path` as the event gives it, below the folder of that descriptor where it is one."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor: its opening was judged
        name = os.fsdecode(path)
        if folder >= 0:
            name = os.path.join(f"/proc/self/fd/{folder}", name)
        above, last = os.path.split(name.rstrip("/"))
        real = os.path.realpath(name) if follow else f"{os.path.realpath(above)}/{last}"
        if not f"{real}/".startswith((*self._may_write, "/dev/", "/proc/")):
            self.writes.append(real)


def _caller() -> str:
    """The innermost frame that is not plumbing of sockets and HTTP: ``package/file.py:12 in f``."""
    for frame in reversed(traceback.extract_stack()):
        name = frame.filename.rpartition("site-packages/")[2]
        if not any(part in name for part in PLUMBING):
            return f"{name}:{frame.lineno} in {frame.name}"
    return "unknown"
