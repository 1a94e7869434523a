"""What pydantic finds wrong, in the words of the one who reads it: what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "string_too_short": ("min_length", "at least"),
    "string_too_long": ("max_length", "at most"),
    "too_short": ("min_length", "at least"),
    "too_long": ("max_length", "at most"),
}
_TYPES = {
    "bool": "true or false",
    "dict": "a mapping of keys to values",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping of keys to values",
    "string": "text",
}
_OF_TYPE = ("type", "parsing", "from_float", "attributes_type")


def complaint(error: Mapping[str, Any]) -> str:
    """One of pydantic's ``errors()`` in words. What was given is never repeated: it may be secret."""
    kind, limits = str(error["type"]), error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "value_error":  # of a validator of ours: it says all there is to say
        return str(limits.get("error", ""))
    if kind == "finite_number":
        return "must be a finite number"
    if kind == "int_parsing_size":
        return "is too large a number"
    if kind in ("literal_error", "enum"):
        return f"must be one of {str(limits.get('expected', '')).replace(' or ', ', ')}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        what = " characters" if kind.startswith("string") else " entries" if kind.startswith("too") else ""
        return f"must {'have' if what else 'be'} {words} {_number(limits.get(name))}{what}"
    type_, _, problem = kind.partition("_")
    wanted = _TYPES.get(type_) if problem in _OF_TYPE else None
    return f"must be {wanted}" if wanted else str(error["msg"])


def _number(limit: object) -> str:
    return str(int(limit)) if isinstance(limit, float) and limit.is_integer() else str(limit)
