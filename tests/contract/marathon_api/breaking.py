"""Documents that are as they should be but for one limit of the schemas, each limit in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.marathon_api.kinds import ANY_ID, DEFINITIONS, PATH_ID
from tests.contract.marathon_api.notation import Schema


@dataclass(frozen=True)
class Broken:
    """``path``: of what is wrong, as Marathon writes it; ``limit``: the keyword of the schema that it breaks."""

    path: str
    limit: str
    document: Any

    def __str__(self) -> str:
        return f"{self.path} {self.limit}"


def broken(kind: Schema, sample: Callable[[Schema], Any] | None = None) -> Iterator[Broken]:
    """Of a document of ``kind``, whose least form ``sample`` makes."""
    yield from _broken(kind, "", lambda value: value, sample or least)


def least(kind: Schema) -> Any:
    """The smallest document of the kind that breaks no limit."""
    kind = _resolved(kind)
    if "anyOf" in kind:
        return least(kind["anyOf"][0])
    if "enum" in kind:
        return kind["enum"][0]
    match kind["type"]:
        case "object":
            return {name: least(kind["properties"][name]) for name in kind.get("required", ())}
        case "array":
            return [least(kind["items"]) for _ in range(kind.get("minItems", 0))]
        case "string":
            return "/a" if kind == PATH_ID else "a#b#c" if "#" in kind.get("pattern", "") else "a"
        case "boolean":
            return True
    return kind.get("minimum", 1)


def _broken(kind: Schema, path: str, put: Callable[[Any], Any], sample: Callable[[Schema], Any]) -> Iterator[Broken]:
    kind = _resolved(kind)
    for limit, value in _values(kind):
        yield Broken(path or "/", limit, put(value))
    for branch in kind.get("anyOf", ()):
        if _resolved(branch).get("type") == "object":
            yield from (one for one in _broken(branch, path, put, least) if one.path != path)
    if kind.get("type") == "array":

        def put_item(value: Any) -> Any:
            return put([value, *([least(kind["items"])] * (kind.get("minItems", 1) - 1))])

        yield from _broken(kind["items"], f"{path}(0)", put_item, least)
    if kind.get("type") == "object":
        whole = sample(kind)
        inner = kind.get("additionalProperties")
        if isinstance(inner, dict):
            yield from _broken(inner, f"{path}/key", lambda value: put({**whole, "key": value}), least)
        for name, field in kind.get("properties", {}).items():
            if name in kind.get("required", ()) and name not in kind.get("defaulted", ()):
                rest = {key: value for key, value in whole.items() if key != name}
                yield Broken(f"{path}/{name}", "required", put(rest))
            yield from _broken(field, f"{path}/{name}", _putter(put, whole, name), least)


def _putter(put: Callable[[Any], Any], whole: dict[str, Any], name: str) -> Callable[[Any], Any]:
    return lambda value: put({**whole, name: value})


def _values(kind: Schema) -> Iterator[tuple[str, Any]]:
    """A value that breaks it, for each limit of its own."""
    if "enum" in kind:
        yield "enum", "NO_SUCH_THING"
        return
    if "anyOf" in kind:
        yield "type", [True]
        return
    yield "type", "text" if kind["type"] != "string" else {"no": "text"}
    if "minimum" in kind:
        yield "minimum", kind["minimum"] - 1
    if "maximum" in kind:
        yield "maximum", kind["maximum"] + 1
    if kind.get("minLength"):
        yield "minLength", ""
    if "maxLength" in kind:
        yield "maxLength", "a" * (kind["maxLength"] + 1)
    if "pattern" in kind and kind["pattern"] != ANY_ID:
        yield "pattern", "!Not so!"
    item = least(kind["items"]) if kind["type"] == "array" else None
    if kind.get("minItems"):
        yield "minItems", [item] * (kind["minItems"] - 1)
    if "maxItems" in kind:
        yield "maxItems", [item] * (kind["maxItems"] + 1)
    if kind.get("uniqueItems"):
        yield "uniqueItems", [item, item]


def _resolved(kind: Schema) -> Schema:
    return DEFINITIONS[kind["$ref"].rsplit("/", 1)[1]] if "$ref" in kind else kind
