"""The directive ``settings``: every key of a settings model with its type, limits, default and reason.

``.. settings:: MODULE:MODEL`` describes the model of a whole file, ``.. settings:: MODULE:MODEL SECTION`` of a section;
the section ``.`` is the document itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


class SettingsDirective(SphinxDirective):
    """Replaced by the description of a model."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        found = importlib.import_module(module)
        self.env.note_dependency(str(found.__file__))
        model: type[BaseModel] = getattr(found, name)
        section = self.arguments[1] if len(self.arguments) > 1 else ""
        lines = list(section_lines(model, section) if section else file_lines(model))
        return self.parse_text_to_nodes(StringList(lines, source=found.__file__), allow_section_headings=True)


def file_lines(model: type[BaseModel]) -> Iterator[str]:
    """reStructuredText for a model whose fields are the sections of a file."""
    for name, field in model.model_fields.items():
        yield from (f"``{name}``", "-" * (len(name) + 4), "")
        inner = _model_in(field.annotation)
        if inner is None or field.description:
            yield from (field.description or "", "")
        if inner is not None:
            yield from section_lines(inner, name if inner is field.annotation else f"{name}{_one_of(field.annotation)}")


def section_lines(model: type[BaseModel], section: str) -> Iterator[str]:
    """reStructuredText for one section."""
    yield from (*(model.__doc__ or "").splitlines(), "")
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        facts = [*_facts(schema["properties"][name])]
        inner = _model_in(field.annotation)
        key = name if section == "." else f"{section}.{name}"
        if field.default is PydanticUndefined and field.default_factory is None:
            facts.append("required")
        elif inner is not None and field.default_factory is not None:
            facts.append("default that of its keys")
        else:
            facts.append(f"default ``{_default(field.get_default(call_default_factory=True))}``")
        yield from (f"``{key}``", f"    {facts[0]}; {', '.join(facts[1:])}.", "")
        told = field.description or (inner.__doc__ if inner is not None else None)
        yield from (f"    {told.splitlines()[0]}", "") if told else ()


def _facts(schema: dict[str, Any]) -> Iterator[str]:
    branches = schema.get("anyOf", [schema])
    names = ["mapping" if "$ref" in branch else _TYPES.get(branch.get("type", ""), "") for branch in branches]
    if any(branch.get("type") == "null" for branch in branches):
        names.append("``null``")
    yield " or ".join(name for name in names if name) or "mapping"
    for branch in branches:
        if "enum" in branch:
            yield "one of " + ", ".join(f"``{value}``" for value in branch["enum"])
        for bound, words in _BOUNDS.items():
            if bound in branch:
                yield f"{words} {branch[bound]:g}" if branch[bound] < 10**6 else f"{words} {branch[bound]:,.0f}"


def _default(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    plain = to_jsonable_python(value)
    if isinstance(plain, bool) or plain is None:
        return {True: "true", False: "false", None: "null"}[plain]
    return str(int(plain)) if isinstance(plain, float) and plain.is_integer() else str(plain)


def _one_of(annotation: Any) -> str:
    """How one of several is named: by its label, or in a list by its number."""
    return "[N]" if get_origin(annotation) is list or annotation is list else ".LABEL"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _model_in(argument))), None)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("settings", SettingsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
