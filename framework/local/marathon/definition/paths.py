"""Ids of apps and groups: paths such as ``/ops/audit``, absolute or relative to another."""

from __future__ import annotations

import re2

ROOT = "/"
MAX_LENGTH = 180  # a task's id adds up to 60 characters to it, and Mesos takes 255
_WORD = r"([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])"
_SEGMENT = rf"^({_WORD}\.)*{_WORD}|(\.|\.\.)$"
PATTERN = rf"^/*((({_WORD}\.)*{_WORD}|\.|\.\.)(/+|$))*$"
"""Of a whole id, for the schemas of others."""
_RESERVED = ("restart", "tasks", "versions")  # the API's own words after an app's id
_segment = re2.compile(_SEGMENT)


def segments(path: str) -> list[str]:
    """Empty ones count for nothing, so that ``//a`` is ``/a``."""
    return [one for one in path.split("/") if one]


def absolute(path: str, base: str = ROOT) -> str:
    """The id that ``path`` means, relative ones from ``base``; ``..`` goes up, and above the root is the root."""
    parts = [] if path.startswith("/") else segments(base)
    for part in segments(path):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return ROOT + "/".join(parts)


def parent(path: str) -> str:
    """Of an absolute id; the root's is the root."""
    return path.rpartition("/")[0] or ROOT


def top(app_id: str) -> str | None:
    """The top-level group that an app is in, both with absolute ids; None for one right below the root."""
    parts = segments(app_id)
    return ROOT + parts[0] if len(parts) > 1 else None


def faults_of(path: str, *, reserved: bool = True) -> list[str]:
    """What is wrong with an id, absolute or not. ``reserved``: whether it is an app's, whose end the API must tell."""
    if len(path) > MAX_LENGTH:
        return [f"must not be longer than {MAX_LENGTH} characters"]
    parts = segments(path)
    found = []
    if not all(_segment.fullmatch(one) for one in parts):
        found.append(f"must fully match regular expression '{_SEGMENT}'")
    if reserved and parts and parts[-1] in _RESERVED:
        found.append(f"must not end with any of the following reserved keywords: {', '.join(_RESERVED)}")
    return found


def not_child(of: str) -> str:
    return f"Identifier is not child of {of}. Hint: use relative paths."
