"""The folders of builds that have ended, in the sandbox of an executor that is there for many."""

from __future__ import annotations

import os
import shutil
import time

from agents.executor.journal import log

MAX_FOLDERS = 100
MAX_BYTES = 2 * 1024**3


class Folders:
    """Keeps the newest, up to so many and so many bytes of them together; the very newest whatever its size.

    Those that are to be kept for a time go after all others.
    """

    def __init__(self, max_folders: int = MAX_FOLDERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_folders = max_folders
        self._max_bytes = max_bytes
        self._kept: list[tuple[str, int, float]] = []  # path, bytes, until when it is to be kept; the oldest first
        self._bytes = 0

    def add(self, path: str, keep_s: float = 0.0) -> None:
        """A build has ended, and nothing writes to ``path`` any more."""
        size, now_s = _occupied(path), time.monotonic()
        self._kept.append((path, size, now_s + keep_s))
        self._bytes += size
        while len(self._kept) > 1 and (len(self._kept) > self._max_folders or self._bytes > self._max_bytes):
            others = self._kept[:-1]
            index = next((index for index, one in enumerate(others) if one[2] <= now_s), 0)
            oldest, size, _ = self._kept.pop(index)
            self._bytes -= size
            shutil.rmtree(oldest, ignore_errors=True)
            if os.path.lexists(oldest):
                log("%s cannot be removed" % oldest)


def _occupied(path: str) -> int:
    """Bytes on the disk."""
    size = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                size += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except OSError:
                continue
    return size
