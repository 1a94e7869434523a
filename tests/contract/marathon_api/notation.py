"""How schemas are written down in ``kinds``."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def record(**fields: Schema) -> Schema:
    """A closed object. The name of an optional field ends in ``_``; a dash is written as ``__``."""
    properties = {name.rstrip("_").replace("__", "-"): kind for name, kind in fields.items()}
    required = sorted(name.replace("__", "-") for name in fields if not name.endswith("_"))
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def extended(kind: Schema, **fields: Schema) -> Schema:
    more = record(**fields)
    return {
        **kind,
        "properties": kind["properties"] | more["properties"],
        "required": sorted({*kind["required"], *more["required"]}),
    }


def demanding(kind: Schema, *names: str) -> Schema:
    """With these fields required as well."""
    return {**kind, "required": sorted({*kind["required"], *names})}


def defaulted(kind: Schema, *names: str) -> Schema:
    """These fields may be left out of what is sent, and are always answered. JSON Schema knows no such keyword."""
    return {**kind, "defaulted": list(names)}


def several(kind: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": kind, **limits}


def table(kind: Schema) -> Schema:
    """An object with any names."""
    return {"type": "object", "additionalProperties": kind}


def integer(least: int | None = None, most: int | None = None) -> Schema:
    return {"type": "integer", **_limits(least, most)}


def number(least: float | None = None, most: float | None = None) -> Schema:
    return {"type": "number", **_limits(least, most)}


def text(least: int = 0, most: int | None = None, pattern: str | None = None) -> Schema:
    limits = {"minLength": least or None, "maxLength": most, "pattern": pattern}
    return {"type": "string", **{name: limit for name, limit in limits.items() if limit is not None}}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def either(*kinds: Schema) -> Schema:
    return {"anyOf": list(kinds)}


def words(names: str) -> list[str]:
    return names.split()


def _limits(least: float | None, most: float | None) -> Schema:
    limits = {"minimum": least, "maximum": most}
    return {name: limit for name, limit in limits.items() if limit is not None}
