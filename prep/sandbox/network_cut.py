"""The network cut: this process loses every network, by the kernel; standard library only.

Three tiers, the first that the machine allows: a network namespace of its own (as root, or inside
a user namespace), else a seccomp filter that refuses every socket but unix ones, else only the
Python guard (`probe/guard.py`, which is always there too, because it can name host and caller).
"""

import ctypes
import errno
import os
import platform
import socket
import struct

from prep.sandbox.probe.isolation import check, enter_user_namespace, libc

CLONE_NEWNET = 0x40000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SYS_SOCKET = {"x86_64": 41, "aarch64": 198}

NAMESPACE = "network namespace"
SECCOMP = "seccomp filter"
GUARD_ONLY = "Python guard only"


def cut() -> str:
    """Cut off this process and all that it will start; returns the tier that is in force.

    Must come before any thread is started: only a process of one thread can enter a user namespace.
    """
    for tier, attempt in ((NAMESPACE, _namespace), (SECCOMP, _seccomp)):
        try:
            attempt()
        except OSError:
            continue
        if _is_cut():
            return tier
    return GUARD_ONLY


def _namespace() -> None:
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNET) == 0:
        return
    # First in a forked child: a failure half-way leaves a process without its user.
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            enter_user_namespace(CLONE_NEWNET)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(errno.EPERM, "cannot enter a user namespace")
    enter_user_namespace(CLONE_NEWNET)


def _seccomp() -> None:
    """Refuse socket(domain, …) for every domain but AF_UNIX, with "network is unreachable"."""
    machine = platform.machine()
    if machine not in AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no filter is written for {machine}")
    load, equal, ret = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.ENETUNREACH
    arch_at, nr_at, first_argument_at = 4, 0, 16
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (load, 0, 0, arch_at),
            (equal, 1, 0, AUDIT_ARCH[machine]),
            (ret, 0, 0, refuse),  # a foreign calling convention could name socket otherwise
            (load, 0, 0, nr_at),
            (equal, 0, 2, SYS_SOCKET[machine]),
            (load, 0, 0, first_argument_at),
            (equal, 0, 1, socket.AF_UNIX),
            (ret, 0, 0, allow),
            (ret, 0, 0, refuse),
        )
    )
    buffer = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("program", ctypes.c_void_p))

    wanted = Filter(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up new privileges")
    check(
        libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0),
        "install a filter",
    )


def _is_cut() -> bool:
    """Whether even the loopback of this machine is unreachable."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", 9))
    except OSError:
        return True
    return False
