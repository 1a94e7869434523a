"""The page at /docs: the OpenAPI document as plain HTML. It loads nothing, so it serves where there is no internet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733;
  background: #fff; }
code, .path { font-family: ui-monospace, monospace; font-size: 0.92em; }
section { border-top: 1px solid #d5dce3; padding: 0.5rem 0 1rem; }
h2 { margin-top: 2.5rem; } h3 { margin: 0.5rem 0; font-weight: 600; }
.verb { display: inline-block; min-width: 5.5rem; font-weight: 700; color: #0b5c8a; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #eef1f4; }
a { color: #0b5c8a; }
@media (prefers-color-scheme: dark) {
  body { color: #dfe6ec; background: #14191e; } .verb, a { color: #6cc0ee; }
  section { border-color: #35404a; } th, td { border-color: #262e36; }
}
"""
STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""Of the page's one style sheet, for its Content-Security-Policy."""


def page(document: Mapping[str, Any]) -> str:
    """The whole page of an OpenAPI 3 document."""
    info = document["info"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>",
        *(f"<p>{_prose(text)}</p>" for text in info["description"].split("\n\n")),
        '<p><a href="/openapi.json">The same as an OpenAPI document</a></p>',
        "<h2>Calls</h2>",
        *_operations(document),
        "<h2>Objects</h2>",
        *_schemas(document),
        "</body></html>",
    ]
    return "\n".join(parts)


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            yield f'<section id="{escape(operation["operationId"])}">'
            yield f'<h3><span class="verb">{escape(verb.upper())}</span><span class="path">{escape(path)}</span></h3>'
            summary = operation["summary"] if operation["summary"].endswith("?") else f"{operation['summary']}."
            yield f"<p><b>{escape(summary)}</b> {_prose(operation.get('description', ''))}</p>"
            yield from _parameters(operation.get("parameters", ()))
            for media in operation.get("requestBody", {}).get("content", {}).values():
                yield f"<p>Body: {_kind(media['schema'])}</p>"
            answers = (f"{status} {_answer(answer)}" for status, answer in operation["responses"].items())
            yield f"<p>Answers: {', '.join(answers)}</p></section>"


def _parameters(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    if not parameters:
        return
    yield "<table><tr><th>Parameter</th><th>Kind</th><th></th></tr>"
    for parameter in parameters:
        schema = parameter["schema"]
        text = parameter.get("description") or schema.get("description", "")
        need = "; required" if parameter.get("required") and parameter["in"] != "path" else ""
        kind = f"{_kind(schema)}{_default(schema)}"
        yield f"<tr><td><code>{escape(parameter['name'])}</code> ({escape(parameter['in'])}{need})</td>"
        yield f"<td>{kind}</td><td>{_prose(text)}</td></tr>"
    yield "</table>"


def _answer(answer: Mapping[str, Any]) -> str:
    kinds = {_kind(media["schema"]) for media in answer.get("content", {}).values() if media.get("schema")}
    return " or ".join(sorted(kinds)) or escape(answer["description"])


def _schemas(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        if schema.get("description"):
            yield f"<p>{_prose(schema['description'])}</p>"
        if "enum" in schema:
            yield f"<p>One of {', '.join(f'<code>{escape(str(value))}</code>' for value in schema['enum'])}</p>"
        if schema.get("properties"):
            yield "<table><tr><th>Field</th><th>Kind</th><th></th></tr>"
            for field, inner in schema["properties"].items():
                need = " (required)" if field in schema.get("required", ()) and "default" not in inner else ""
                yield f"<tr><td><code>{escape(field)}</code>{need}</td><td>{_kind(inner)}{_default(inner)}</td>"
                yield f"<td>{_prose(inner.get('description', ''))}</td></tr>"
            yield "</table>"
        yield "</section>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(inner) for inner in schema["anyOf"])
    kind = escape(str(schema.get("type", "any")))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    limits = [
        f"{word} {escape(str(schema[key]))}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "up to length"))
        if key in schema
    ]
    return " ".join((kind, *limits))


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return f", by default {escape(str(default))}" if default not in (None, [], {}) else ""


def _prose(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
