"""Files of a cluster that others read while they are written anew."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600


def write_whole(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Puts a new file in the place of what is there; who reads it gets the one or the other. Raises OSError.

    ``mode`` holds from its first byte on.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    fresh.rename(path)
