"""The kinds of values that documents are made of, read as Marathon's JSON library does.

``read`` gives the value back with unknown fields left out and defaults filled in, and tells ``Faults`` of everything
that is wrong with it. Null is the same as not given, as it is to Marathon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from math import isfinite
from typing import Any, Protocol

import msgspec
import re2

from framework.local.marathon.definition import paths
from framework.local.marathon.definition.faults import Faults

INT = 2**31 - 1
LONG = 2**63 - 1


class Kind(Protocol):
    def read(self, value: object, at: str, faults: Faults) -> Any:
        """``at``: its path. Where the value cannot be taken what is returned means nothing."""
        ...

    def json_schema(self) -> dict[str, object]: ...


class Text(msgspec.Struct, frozen=True, dict=True):
    """``values``: those it may have, whatever their case."""

    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()

    @cached_property
    def _compiled(self) -> re2._Regexp[str] | None:
        return re2.compile(self.pattern) if self.pattern else None

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, str):
            faults.kind(at, "error.expected.jsstring")
            return ""
        if self.values:
            known = {one.lower(): one for one in self.values}
            if value.lower() not in known:
                faults.unknown(at, "error.unknown.enum.literal")
            return known.get(value.lower(), value)
        if len(value) < self.min_length:
            faults.rule(at, "error.minLength")
        elif self.max_length is not None and len(value) > self.max_length:
            faults.rule(at, "error.maxLength")
        elif self._compiled is not None and not self._compiled.fullmatch(value):
            faults.rule(at, f"must fully match regular expression '^{self.pattern}$'")
        return value

    def json_schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": "string"}
        if self.values:
            schema["enum"] = list(self.values)
        if self.min_length:
            schema["minLength"] = self.min_length
        if self.max_length is not None:
            schema["maxLength"] = self.max_length
        if self.pattern:
            schema["pattern"] = f"^{self.pattern}$"
        return schema


class PathId(msgspec.Struct, frozen=True):
    """``reserved``: whether it may not end in a word of the API's own."""

    reserved: bool = False

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, str):
            faults.kind(at, "error.expected.jsstring")
            return ""
        if not value:
            faults.rule(at, "error.minLength")
        for error in paths.faults_of(value, reserved=self.reserved):
            faults.rule(at, error)
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "minLength": 1, "maxLength": paths.MAX_LENGTH, "pattern": paths.PATTERN}


class Timestamp(msgspec.Struct, frozen=True):
    """ISO 8601, kept as it was given."""

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, str):
            faults.kind(at, "error.expected.jsstring")
            return ""
        try:
            datetime.fromisoformat(value)
        except ValueError:
            faults.kind(at, "error.expected.date.isoformat")
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "format": "date-time"}


class Flag(msgspec.Struct, frozen=True):
    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, bool):
            faults.kind(at, "error.expected.jsboolean")
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "boolean"}


class Number(msgspec.Struct, frozen=True):
    """``largest``: of an integer, as far as its format goes; None: it may have a fraction."""

    minimum: float | None = None
    maximum: float | None = None
    largest: int | None = INT

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            faults.kind(at, "error.expected.jsnumber")
            return 0
        if self.largest is None:
            value = float(value)
        elif not isfinite(value) or value != int(value) or not -self.largest - 1 <= value <= self.largest:
            faults.kind(at, "error.expected.int" if self.largest == INT else "error.expected.long")
            return 0
        else:
            value = int(value)
        if self.minimum is not None and value < self.minimum:
            faults.rule(at, f"is less than {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            faults.rule(at, f"is greater than {self.maximum:g}")
        return value

    def json_schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": "number" if self.largest is None else "integer"}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        return schema


class List(msgspec.Struct, frozen=True):
    items: Kind
    min_items: int = 0
    max_items: int | None = None
    unique: bool = False

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, list | tuple):
            faults.kind(at, "error.expected.jsarray")
            return []
        if self.max_items is not None and len(value) > self.max_items:
            faults.unknown(at, "error.maxLength")
            return []
        read = [self.items.read(one, f"{at}({place})", faults) for place, one in enumerate(value)]
        faults.unless(len(read) >= self.min_items, at, "error.minLength")
        if self.unique and len(read) > 1:
            distinct = {json.dumps(one, sort_keys=True) for one in read}
            faults.unless(len(distinct) == len(read), at, "Elements must be unique.")
        return read

    def json_schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": "array", "items": self.items.json_schema()}
        if self.min_items:
            schema["minItems"] = self.min_items
        if self.max_items is not None:
            schema["maxItems"] = self.max_items
        if self.unique:
            schema["uniqueItems"] = True
        return schema


class Map(msgspec.Struct, frozen=True):
    values: Kind

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, Mapping):
            faults.kind(at, "error.expected.jsobject")
            return {}
        return {key: self.values.read(one, f"{at}/{key}", faults) for key, one in value.items()}

    def json_schema(self) -> dict[str, object]:
        return {"type": "object", "additionalProperties": self.values.json_schema()}


class Object(msgspec.Struct, frozen=True):
    fields: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, object] = {}

    def read(self, value: object, at: str, faults: Faults) -> Any:
        return self.fill(self.given(value, at, faults), at, faults)

    def given(self, value: object, at: str, faults: Faults) -> dict[str, Any]:
        """Only what the value has itself: neither defaults nor what is missing."""
        if not isinstance(value, Mapping):
            faults.kind(at, "error.expected.jsobject")
            return {}
        return {
            name: kind.read(value[name], f"{at}/{name}", faults)
            for name, kind in self.fields.items()
            if value.get(name) is not None
        }

    def fill(self, given: Mapping[str, object], at: str, faults: Faults) -> dict[str, Any]:
        """With defaults; tells of what is missing."""
        for name in self.required:
            if name not in given:
                faults.kind(f"{at}/{name}", "error.path.missing")
        return {**self.defaults, **given}

    def json_schema(self) -> dict[str, object]:
        properties = {name: kind.json_schema() for name, kind in self.fields.items()}
        for name, value in self.defaults.items():
            properties[name]["default"] = value
        schema: dict[str, object] = {"type": "object", "properties": properties}
        if self.required:
            schema["required"] = list(self.required)
        return schema


class Either(msgspec.Struct, frozen=True):
    """``text`` where the value is a string, else ``other``."""

    text: Text
    other: Kind

    def read(self, value: object, at: str, faults: Faults) -> Any:
        return (self.text if isinstance(value, str) else self.other).read(value, at, faults)

    def json_schema(self) -> dict[str, object]:
        return {"anyOf": [self.text.json_schema(), self.other.json_schema()]}
