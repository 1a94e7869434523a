"""The kit: what turns a jenkins.war, or a command, into a master; an archive that Marathon fetches into the sandbox."""

from __future__ import annotations

from pathlib import Path

KIT_NAME = "butlery-master-kit.tar.gz"
FOLDER = "kit"
"""Of its files within the archive, and so within the sandbox."""
START = f"{FOLDER}/start"
"""What ``war`` runs, from the sandbox: ``kit/start --war FILE``; with ``command`` ``kit/start -- COMMAND``."""


def kit_bytes() -> bytes:
    """The archive; the same bytes for the same files, so that a repeat changes no app."""
    raise NotImplementedError


def write_kit(path: Path) -> Path:
    """Puts the archive at ``path`` (a directory: there under ``KIT_NAME``), whole or not at all; where it is."""
    raise NotImplementedError
