"""JSON Schemas made of models, as they are published."""

from __future__ import annotations

from typing import Any

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def tidied(value: Any) -> Any:
    """Without titles, which only repeat the keys, and with keys of mappings held to their pattern."""
    if isinstance(value, list):
        return [tidied(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    closed = {"additionalProperties": False} if "patternProperties" in value else {}
    return {key: tidied(inner) for key, inner in value.items() if not (key == "title" and type(inner) is str)} | closed


def nullable(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a key that ``null`` takes away."""
    if any(branch.get("type") == "null" for branch in value.get("anyOf", ())):
        return value
    about: dict[str, Any] = {key: value.pop(key) for key in ("description", "default") if key in value}
    return about | {"anyOf": [value, {"type": "null"}]}
