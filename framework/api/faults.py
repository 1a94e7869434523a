"""What pydantic finds wrong, in words for the one who sent it. What was sent is never repeated: it may be secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framework.documents import Key, dotted
from framework.errors import Fault

MAX_FAULTS = 100
"""Told at once. More would be one mistake repeated."""
_MAX_KEY_CHARS = 60


def faults_of(errors: Iterable[Mapping[str, Any]], skip: int = 0, known: Sequence[str] = ()) -> list[Fault]:
    """Faults of pydantic's ``errors``; ``skip`` leading parts of each location are left out.

    ``known`` are the fields there are, for the nearest one to be named in place of one that is unknown.
    """
    faults = []
    for error in errors:
        loc = tuple(error["loc"])[skip:]
        where = dotted(tuple(_shown(key) for key in loc if key != "[key]"))
        faults.append(Fault(where, _message(error, loc, known)))
    return list(dict.fromkeys(faults))


def _shown(key: Key) -> Key:
    """A key that somebody else chose, made fit for a terminal."""
    if isinstance(key, int):
        return key
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in key[: _MAX_KEY_CHARS + 1])
    return text if len(text) <= _MAX_KEY_CHARS else text[:_MAX_KEY_CHARS] + "..."


def _message(error: Mapping[str, Any], loc: tuple[Key, ...], known: Sequence[str]) -> str:
    kind, limits = str(error["type"]), error.get("ctx", {})
    messages = {
        "missing": "is missing",
        "finite_number": "must be a finite number",
        "greater_than": f"must be more than {limits.get('gt')}",
        "greater_than_equal": f"must be at least {limits.get('ge')}",
        "less_than": f"must be less than {limits.get('lt')}",
        "less_than_equal": f"must be at most {limits.get('le')}",
        "literal_error": f"must be one of {limits.get('expected', '')}",
        "enum": f"must be one of {limits.get('expected', '')}",
        "string_too_short": f"must have at least {limits.get('min_length')} characters",
        "string_too_long": f"must have at most {limits.get('max_length')} characters",
        "too_long": f"must have at most {limits.get('max_length')} entries",
        "value_error": str(limits.get("error", "")),
        "string_type": "must be text",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "list_type": "must be a list",
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_parsing_size": "is too large a number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "dict_type": "must be an object of names and values",
        "model_type": "must be an object",
        "model_attributes_type": "must be an object",
    }
    if kind == "extra_forbidden":
        return _unknown(str(loc[-1]), known if len(loc) == 1 else ())
    return messages.get(kind) or str(error["msg"])


def _unknown(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key[:_MAX_KEY_CHARS], known, n=1, cutoff=0.6)
    if near:
        return f"unknown field; did you mean `{near[0]}`?"
    return "unknown field" + (f"; there are {', '.join(known)}" if known else "")
