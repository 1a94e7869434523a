"""The JSON Schema of a file of templates, for editors and for checks before a commit.

What is inherited is merged beneath a template, so that little is required of one, and ``null`` takes a key away. What
only several keys or templates together can tell is left to ``butlery templates validate``.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from framework.catalog.inheritance import SECTION
from framework.catalog.model import TemplateSettings
from framework.schemas import DRAFT, nullable, tidied
from framework.setting_types import Name

ID = "https://butlery.example/template.schema.json"


def schema() -> dict[str, Any]:
    """Of draft 2020-12."""
    whole = tidied(TemplateSettings.model_json_schema())
    definitions: dict[str, Any] = {**whole.pop("$defs"), TemplateSettings.__name__: whole}
    parents = whole["properties"]["inherit_from"]
    about = {"description": parents.pop("description")}
    whole["properties"]["inherit_from"] = about | {"anyOf": [parents, parents["items"]]}
    for definition in definitions.values():
        required = definition.get("required", ())
        for key, value in definition["properties"].items():
            for pattern, inner in value.get("patternProperties", {}).items():
                value["patternProperties"][pattern] = nullable(inner)
            if key not in required:
                definition["properties"][key] = nullable(value)
    named: dict[str, Any] = tidied(TypeAdapter(dict[Name, int]).json_schema())
    template = {"anyOf": [{"$ref": f"#/$defs/{TemplateSettings.__name__}"}, {"type": "null"}]}
    named["patternProperties"] = dict.fromkeys(named["patternProperties"], template)
    return {
        "$schema": DRAFT,
        "$id": ID,
        "title": "Templates of Butlery's agents",
        "type": "object",
        "properties": {SECTION: nullable(named)},
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }
