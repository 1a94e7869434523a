"""The output of a service: files of the sandbox that do not grow without end."""

from __future__ import annotations

import os


class Rotated:
    """``path``, which is open as ``fd`` for this process' own output too; what it had before is in ``path``.1.

    Together they hold at least half of ``limit_bytes``, at most all of it, always the newest. Output that the disk
    has no room for is dropped: a service does not end for it.
    """

    def __init__(self, path: str, fd: int, limit_bytes: int) -> None:
        self._path = path
        self._fd = fd
        self._limit_bytes = limit_bytes // 2
        self._size_bytes = os.fstat(fd).st_size

    def write(self, data: bytes) -> None:
        self._size_bytes += len(data)
        try:
            if self._size_bytes > self._limit_bytes:
                self._rotate()
                self._size_bytes = len(data)
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return

    def _rotate(self) -> None:
        os.replace(self._path, self._path + ".1")
        # Nothing that is there: the service's user may have put a link into its sandbox meanwhile.
        made = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.dup2(made, self._fd)
        os.close(made)
