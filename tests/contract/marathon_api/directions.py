"""What may be sent, made of the schemas of what is answered."""

from __future__ import annotations

from typing import Any

from tests.contract.marathon_api.kinds import ANY_ID, DEFINITIONS, PATH_ID
from tests.contract.marathon_api.notation import Schema, either, text


def as_answer(kind: Schema) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind, "$defs": DEFINITIONS}


def as_request(kind: Schema) -> Schema:
    """Unknown fields are passed over, a null is as good as nothing, ids may be relative."""
    opened: Schema = _opened(as_answer(kind))
    return opened


def as_update(kind: Schema) -> Schema:
    """Of an app that is there, or of several: nothing is required but, of several, which."""
    if kind.get("type") == "array":
        return as_request({**kind, "items": {**kind["items"], "required": ["id"]}})
    return as_request({**kind, "required": []})


def _opened(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_opened(one) for one in kind]
    if not isinstance(kind, dict):
        return kind
    if kind == PATH_ID:
        return text(1, pattern=ANY_ID)
    opened = {name: _opened(value) for name, value in kind.items()}
    if opened.get("additionalProperties") is False:
        del opened["additionalProperties"]
        opened["required"] = [name for name in opened["required"] if name not in opened.get("defaulted", ())]
        opened["properties"] = {
            name: value if name in opened["required"] else either(value, {"type": "null"})
            for name, value in opened["properties"].items()
        }
    return opened
