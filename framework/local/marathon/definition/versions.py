"""Versions are times in milliseconds, written as Marathon does: ``2015-09-25T15:13:48.343Z``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamp(milliseconds: int) -> str:
    """Of so many milliseconds since the epoch. Later ones sort later as texts."""
    when = _EPOCH + timedelta(milliseconds=milliseconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def milliseconds(version: str) -> int:
    """Raises ValueError where it is no version."""
    when = datetime.strptime(version, "%Y-%m-%dT%H:%M:%S.%f%z")
    return (when - _EPOCH) // timedelta(milliseconds=1)


def meant(text: str) -> str:
    """The version of that time, however the time is written; what is none stays as it is."""
    try:
        when = datetime.fromisoformat(text)
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return stamp((when - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        return text
