"""The secrets that apps name: files of the operator's, one each."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from framework.errors import ButleryError
from framework.log import protect

MAX_BYTES = 1 << 20


class SecretError(ButleryError):
    """A secret cannot be had; says which and why, and nothing of what is in it."""


class SecretFiles:
    """``SOURCE`` is the file of that name below the directory, as it is: a key may need the line break at its end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, source: str) -> str:
        """Raises SecretError."""
        parts = source.strip("/").split("/")
        if "\0" in source or not all(part and part not in (".", "..") for part in parts):
            raise SecretError(f"secret {source!r}: is no name of a file below {self._directory}")
        path = self._directory.joinpath(*parts)
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise SecretError(f"secret {source!r}: {path} is not a file")
                if status.st_mode & stat.S_IRWXO:
                    raise SecretError(f"secret {source!r}: everyone on this machine may read {path}; `chmod 600` it")
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SecretError(f"secret {source!r}: {path} cannot be read: {error.strerror}") from error
        if len(raw) > MAX_BYTES:
            raise SecretError(f"secret {source!r}: {path} has more than {MAX_BYTES >> 10} KiB")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise SecretError(f"secret {source!r}: {path} is not UTF-8 text") from None
        protect(text.removesuffix("\n"))
        return text


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer would wait for ever
