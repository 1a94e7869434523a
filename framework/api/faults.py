"""What pydantic finds wrong, in words for the one who sent it. What was sent is never repeated: it may be secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framework.documents import Key, dotted
from framework.errors import Fault
from framework.wording import complaint

MAX_FAULTS = 100
"""Told at once. More would be one mistake repeated."""
_MAX_KEY_CHARS = 60


def faults_of(errors: Iterable[Mapping[str, Any]], skip: int = 0, known: Sequence[str] = ()) -> list[Fault]:
    """Faults of pydantic's ``errors``; ``skip`` leading parts of each location are left out.

    ``known`` are the fields there are, for the nearest one to be named in place of one that is unknown.
    """
    faults = []
    for number, error in enumerate(errors):
        loc = tuple(error["loc"])[skip:]
        where = dotted(tuple(_shown(key) for key in loc if key != "[key]"))
        # A name like it is sought only for those that are told: a body may hold 100,000 unknown ones.
        faults.append(Fault(where, _message(error, loc, known if number < MAX_FAULTS else ())))
    return list(dict.fromkeys(faults))


def _shown(key: Key) -> Key:
    """A key that somebody else chose, made fit for a terminal."""
    if isinstance(key, int):
        return key
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in key[: _MAX_KEY_CHARS + 1])
    return text if len(text) <= _MAX_KEY_CHARS else text[:_MAX_KEY_CHARS] + "..."


def _message(error: Mapping[str, Any], loc: tuple[Key, ...], known: Sequence[str]) -> str:
    if error["type"] == "extra_forbidden":
        return _unknown(str(loc[-1]), known if len(loc) == 1 else ())
    return complaint(error)


def _unknown(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key[:_MAX_KEY_CHARS], known, n=1, cutoff=0.6)
    if near:
        return f"unknown field; did you mean `{near[0]}`?"
    return "unknown field" + (f"; there are {', '.join(known)}" if known else "")
