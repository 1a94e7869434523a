"""The kit: what turns a jenkins.war, or a command, into a master; an archive that Marathon fetches into the sandbox."""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from framework.local.files import write_whole

FOLDER = "kit"
"""Of its files within the archive, and so within the sandbox."""
START = f"{FOLDER}/start"
"""What ``war`` runs, from the sandbox: ``kit/start --war FILE``."""
PROGRAMS = ("start", "backup", "restore")
_FILES = (*PROGRAMS, "common")
_SCRIPTS = "init.groovy.d"


@cache
def kit_bytes() -> bytes:
    """The archive; the same bytes for the same files, so that making it anew changes nothing."""
    image = files("masters") / "image"
    folder = image / _SCRIPTS
    scripts = sorted((each for each in folder.iterdir() if each.name.endswith(".groovy")), key=lambda each: each.name)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in _FILES:
            _add(archive, name, image / name)
        for script in scripts:
            _add(archive, f"{_SCRIPTS}/{script.name}", script)
    return gzip.compress(plain.getvalue(), mtime=0)


def write_kit(path: Path) -> None:
    """Puts the archive at ``path``, a file's, whole or not at all. Raises OSError."""
    write_whole(path, kit_bytes())


def _add(archive: tarfile.TarFile, name: str, source: Traversable) -> None:
    data = source.read_bytes()
    entry = tarfile.TarInfo(f"{FOLDER}/{name}")
    entry.size, entry.mode = len(data), 0o755 if name in PROGRAMS else 0o644
    archive.addfile(entry, io.BytesIO(data))
