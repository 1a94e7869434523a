"""The few system calls that Python has no name for. Constants are those of the kernel's include/uapi headers."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
CLONE_NEWNS = 0x00020000  # linux/sched.h
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
EFD_NONBLOCK = 0o4000  # linux/eventfd.h, as of x86-64 and ARM
EFD_CLOEXEC = 0o2000000
MS_BIND = 0x1000  # linux/mount.h
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphans below this process become its children, however often they fork. Not inherited, kept over exec."""
    _prctl(PR_SET_CHILD_SUBREAPER)


def refuse_new_privileges() -> None:
    """From here on no exec gains privileges: set-user-id programs run as their caller. Inherited."""
    _prctl(PR_SET_NO_NEW_PRIVS)


def end_with_parent(number: int) -> None:
    """This process gets signal ``number`` when its parent has ended. Kept over exec of what gains no privileges."""
    _prctl(PR_SET_PDEATHSIG, number)


def event_fd() -> int:
    """A descriptor that the kernel can be asked to tell of events by: eight bytes are there to be read where it has."""
    made: int = _libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if made < 0:
        raise _error("eventfd")
    return made


def socket_beside(pid: int, family: int) -> socket.socket:
    """A TCP socket in the network of process ``pid``. Needs CAP_SYS_ADMIN; raises OSError."""
    import socket

    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(other, CLONE_NEWNET):
                raise _error("setns")
        finally:
            os.close(other)
        try:
            return socket.socket(family, socket.SOCK_STREAM)
        finally:
            if _libc.setns(own, CLONE_NEWNET):
                os._exit(1)  # in a stranger's network there is no way to go on; the guard clears up
    finally:
        os.close(own)


def _prctl(option: int, value: int = 1) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise _error("prctl %d" % option)


def bind_mount_privately(source: str, target: str) -> None:
    """Shows ``source`` at ``target`` to this process and its children only. Needs CAP_SYS_ADMIN; raises OSError."""
    if _libc.unshare(CLONE_NEWNS):
        raise _error("unshare")
    if _libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None):
        raise _error("mount --make-rprivate /")
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(MS_BIND), None):
        raise _error("mount --bind %s %s" % (source, target))


def enter_user_namespace() -> None:
    """A user namespace of this process' own, with the same user and group in it. Raises OSError, amid which it may be.

    Since Linux 5.14 RLIMIT_NPROC counts by namespace, so that others of the user are not in the count.
    """
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWUSER):
        raise _error("unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", "%d %d 1" % (uid, uid)), ("gid_map", "%d %d 1" % (gid, gid))):
        with open("/proc/self/" + name, "w", encoding="ascii") as file:
            file.write(text)


def has_user_namespaces() -> bool:
    """Whether ``enter_user_namespace`` would do here; tried in a child, for there is no way back."""
    pid = os.fork()
    if pid == 0:
        try:
            enter_user_namespace()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, "%s: %s" % (what, os.strerror(number)))
