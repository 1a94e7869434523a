"""Keeping the files a build asked to keep: copied from its workspace to the sandbox, bounded, no link followed."""

from __future__ import annotations

import os
import re
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1024 * 1024 * 1024
MAX_FILES = 1000  # their names travel in the final status, which Mesos keeps in memory
_CHUNK = 1024 * 1024


def pattern_of(globs: list[str]) -> re.Pattern[str]:
    """Matches paths relative to the workspace. ``*`` and ``?`` stay within one directory, ``**`` does not.

    A glob that names a directory means all that is in it.
    """
    parts = []
    for glob in globs:
        glob = glob.rstrip("/")
        while glob.startswith("./"):
            glob = glob[2:]
        text = re.escape(glob).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
        parts.append(text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))
    return re.compile("(?:%s)(?:/.*)?" % "|".join(parts), re.DOTALL)


def keep(workspace: str, target: str, globs: list[str], owner: int | None) -> tuple[list[str], str]:
    """Copies what matches from ``workspace`` to ``target``; the relative paths kept, and why others were not, or "".

    To be called when nothing of the build lives any more. Kept are regular files of ``owner`` (where given) that no
    symbolic link leads to.
    """
    kept: list[str] = []
    left = MAX_BYTES
    pattern = pattern_of(globs)
    for path in _files(workspace, ""):
        if not pattern.fullmatch(path) or not _is_text(path):
            continue
        if len(kept) == MAX_FILES:
            return kept, "only the first %d artifacts are kept" % MAX_FILES
        try:
            size = _copy(os.path.join(workspace, path), os.path.join(target, path), owner, left)
        except OSError as error:
            return kept, "artifacts: %s" % error
        if size is None:
            continue
        if size > left:
            return kept, "artifacts over %d MiB are not kept" % (MAX_BYTES >> 20)
        left -= size
        kept.append(path)
    return kept, ""


def _is_text(path: str) -> bool:
    """Whether the name is UTF-8, as it must be to travel in JSON."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(root: str, below: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(os.path.join(root, below)), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, path)
        elif entry.is_file(follow_symlinks=False):
            yield path


def _copy(source: str, target: str, owner: int | None, left: int) -> int | None:
    """Bytes copied; more than ``left`` where it was not copied for its size; None where it is not the build's file."""
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as reading:
        found = os.fstat(reading.fileno())
        if not stat.S_ISREG(found.st_mode) or (owner is not None and found.st_uid != owner):
            return None
        if found.st_size > left:
            return found.st_size
        os.makedirs(os.path.dirname(target), exist_ok=True)
        copied = 0
        with open(target, "wb") as writing:
            while True:
                chunk = reading.read(_CHUNK)
                if not chunk:
                    return copied
                writing.write(chunk)
                copied += len(chunk)
