"""The JSON Schema of a tenant's file, for editors and for checks before a commit.

What ``defaults.yaml`` holds is merged beneath a file, so that nothing is required of one, and ``null`` takes a default
away. What only several files, or numbers held against each other, can tell is left to ``butlery tenants plan``.
"""

from __future__ import annotations

from typing import Any

from framework.schemas import DRAFT, nullable, tidied
from masters.spec.files import LIST
from masters.spec.model import SecretSpec, TenantSpec, VolumeSpec

ID = "https://butlery.example/tenant.schema.json"
_ONE_OF = {
    TenantSpec: ("image", "war", "command"),
    VolumeSpec: ("host_path", "docker", "external", "persistent"),
    SecretSpec: ("file", "env", "marathon"),
}


def schema() -> dict[str, Any]:
    """Of draft 2020-12."""
    whole = tidied(TenantSpec.model_json_schema())
    definitions: dict[str, Any] = whole.pop("$defs")
    definitions[TenantSpec.__name__] = whole
    for definition in definitions.values():
        definition.pop("required", None)
    for name, value in whole["properties"].items():
        if name != "name":
            whole["properties"][name] = nullable(value)
    for model, names in _ONE_OF.items():
        definitions[model.__name__]["allOf"] = [
            {"not": {"allOf": [_given(one), _given(other)]}}
            for index, one in enumerate(names)
            for other in names[index + 1 :]
        ]
    tenant = {"$ref": f"#/$defs/{TenantSpec.__name__}"}
    several = {
        "type": "object",
        "description": "Several tenants in one file.",
        "properties": {LIST: {"type": "array", "items": tenant}},
        "required": [LIST],
        "additionalProperties": False,
    }
    return {
        "$schema": DRAFT,
        "$id": ID,
        "title": "A tenant of Butlery",
        "anyOf": [tenant, several],
        "$defs": dict(sorted(definitions.items())),
    }


def _given(name: str) -> dict[str, Any]:
    return {"properties": {name: {"not": {"enum": [None, False]}}}, "required": [name]}
