"""What a service finds in its sandbox beside what Mesos has put there: volumes and the files of its secrets."""

from __future__ import annotations

import os
from binascii import a2b_base64

from agents.executor import users
from agents.executor.slot import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.service_spec import ServiceMount

MEMORY_DIR = "/dev/shm"  # noqa: S108 - where there is no /run to write to; the directories made there are private


class MountError(Exception):
    """A volume or a secret cannot be shown to the service; says which, and never its content."""


def secrets_dir(name: str) -> str:
    """Where the files of service ``name``'s secrets are: in memory, and outside the sandbox, which people may read."""
    if os.geteuid() == 0:
        return os.path.join(users.RUN_DIR, "services", name)
    return os.path.join(MEMORY_DIR, "butlery-services-%d" % os.geteuid(), name)


def write_secrets(name: str, mounts: list[ServiceMount], uid: int, gid: int) -> dict[str, str]:
    """Makes the files and returns their paths by the mounts' targets. Raises MountError."""
    found = [mount for mount in mounts if mount.content is not None]
    made: dict[str, str] = {}
    if not found:
        return made
    directory = secrets_dir(name)
    for one in [name, *leftovers(os.path.dirname(directory))]:
        remove(one)
    target = ""
    try:
        os.makedirs(os.path.dirname(directory), mode=0o711, exist_ok=True)
        if os.lstat(os.path.dirname(directory)).st_uid != os.geteuid():
            raise MountError("%s, for the files of secrets, is somebody else's" % os.path.dirname(directory))
        os.mkdir(directory, 0o711)
        for index, mount in enumerate(found):
            target = mount.target
            path = os.path.join(directory, str(index))
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
                os.fchown(file.fileno(), uid, gid)
                file.write(a2b_base64(mount.content or ""))
            made[target] = path
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not base64"
        raise MountError("the file of a secret at %s cannot be made: %s" % (target or directory, reason)) from error
    return made


def remove(name: str) -> None:
    """Takes away what ``write_secrets`` made, where it made any."""
    directory = secrets_dir(name)
    if os.path.lexists(directory):
        from shutil import rmtree  # heavier than all else that a service takes

        rmtree(directory, ignore_errors=True)


def link(sandbox: str, mounts: list[ServiceMount], secrets: dict[str, str], uid: int, gid: int) -> None:
    """Shows a service without an image its mounts, as links below the sandbox. Raises MountError.

    A link cannot make a volume read-only, no more than those that Mesos' own posix/filesystem isolator makes.
    """
    for mount in mounts:
        if mount.driver is not None:
            raise MountError("volume %r of driver %s takes a Docker image" % (mount.source, mount.driver))
        target = os.path.normpath(os.path.join(sandbox, mount.target.lstrip("/")))
        if not target.startswith(sandbox.rstrip("/") + "/"):
            raise MountError("volume at %r would lie outside the sandbox" % mount.target)
        source = secrets.get(mount.target) or os.path.join(sandbox, mount.source)
        if not os.path.exists(source):
            raise MountError("volume %r is not there" % mount.source)
        try:
            if not mount.read_only and mount.content is None and not os.path.isabs(mount.source):
                own(source, uid, gid)
            if os.path.realpath(target) == os.path.realpath(source):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(source, target)
        except OSError as error:
            raise MountError("volume at %r: %s" % (mount.target, error.strerror)) from error


def own(path: str, uid: int, gid: int) -> None:
    """Makes a persistent volume the service's user's, as Mesos does; what is in it stays as it is. Raises OSError.

    Root, who needs none of that, leaves it whose it is: an image may have given it to a user of its own.
    """
    if os.geteuid() == 0 and uid != 0:
        os.chown(path, uid, gid)


def own_sandbox(sandbox: str, uid: int, gid: int) -> None:
    """Hands the sandbox and what Mesos has fetched into it to the service's user, as Mesos does. Raises OSError.

    The files of its output stay the executor's, which alone writes to them.
    """
    if os.geteuid() != 0 or uid == os.stat(sandbox).st_uid:
        return
    os.chown(sandbox, uid, gid)
    for directory, below, files in os.walk(sandbox):
        for name in below + files:
            path = os.path.join(directory, name)
            if path not in (os.path.join(sandbox, "stdout"), os.path.join(sandbox, "stderr")):
                os.lchown(path, uid, gid)
