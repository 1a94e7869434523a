"""What a build finds in its workspace beside its checkout: files it was given, and links to volumes.

A checkout may have put symbolic links anywhere, which are not followed here.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.spec import VolumeSpec

MAX_FILES = 100
MAX_FILE_BYTES = 4 << 20  # of all files together


class FurnishError(Exception):
    """A file or volume cannot be where it is wanted; ``result_class`` says whose fault that is."""

    def __init__(self, result_class: str, message: str) -> None:
        super().__init__(message)
        self.result_class = result_class


def write_files(workspace: str, files: dict[str, str], uid: int | None) -> None:
    """Writes each file by its path below ``workspace``, in place of what is there. Raises FurnishError."""
    contents = {path: text.encode("utf-8", "replace") for path, text in files.items()}
    if len(contents) > MAX_FILES or sum(map(len, contents.values())) > MAX_FILE_BYTES:
        most = "more than %d files or %d MiB are given" % (MAX_FILES, MAX_FILE_BYTES >> 20)
        raise FurnishError("failed", most)
    for path, content in contents.items():
        try:
            parent, name = _parent(workspace, path, uid)
            try:
                if _there(parent, name):
                    os.unlink(name, dir_fd=parent)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(name, flags, 0o644, dir_fd=parent), "wb") as file:
                    file.write(content)
                    _own(file.fileno(), uid)
            finally:
                os.close(parent)
        except OSError as error:
            raise FurnishError("failed", "file %r cannot be written: %s" % (path, error.strerror)) from error


def link_volumes(workspace: str, volumes: list[VolumeSpec], uid: int | None) -> None:
    """Shows processes their volumes. Raises FurnishError."""
    for volume in volumes:
        if not os.path.isdir(volume.source):
            raise FurnishError("infrastructure", "volume %s is no directory of this host" % volume.source)
        try:
            parent, name = _parent(workspace, volume.path.lstrip("/"), uid)
            try:
                os.symlink(volume.source, name, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as error:
            raise FurnishError("failed", "volume at %r: %s" % (volume.path, error.strerror)) from error


def unlinkable(volumes: list[VolumeSpec]) -> str:
    """Why a link cannot show one of the volumes; empty where links can."""
    for volume in volumes:
        if not os.path.isabs(volume.source):
            return "volume %s of a Docker engine" % volume.source
        if volume.read_only:
            return "read-only volume %s" % volume.source
    return ""


def mounts(volumes: list[VolumeSpec], workspace: str) -> list[dict[str, Any]]:
    """The volumes as the engine's API has them; it refuses a directory that is not there."""
    return [
        {
            "Type": "bind" if os.path.isabs(volume.source) else "volume",
            "Source": volume.source,
            "Target": os.path.join(workspace, volume.path),
            "ReadOnly": volume.read_only,
        }
        for volume in volumes
    ]


def _parent(root: str, path: str, uid: int | None) -> tuple[int, str]:
    """A descriptor of the directory that ``path`` is in, made where it was not there, and the last name of it.

    Raises FurnishError, OSError.
    """
    *above, name = path.split("/")
    if not name or "\0" in path or any(one in ("", ".", "..") for one in [*above, name]):
        raise FurnishError("failed", "%r is no path below the workspace" % path)
    made = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for one in above:
            fresh = not _there(made, one)
            if fresh:
                os.mkdir(one, 0o755, dir_fd=made)
            found = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=made)
            os.close(made)
            made = found
            if fresh:
                _own(made, uid)
    except BaseException:
        os.close(made)
        raise
    return made, name


def _there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _own(descriptor: int, uid: int | None) -> None:
    if uid is not None:
        os.fchown(descriptor, uid, uid)
