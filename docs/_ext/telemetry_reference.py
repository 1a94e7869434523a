"""The directives of telemetry: ``records``, the fields of a record with what their comments say, and ``metrics``, what

Prometheus is told.

``.. records:: MODULE:CLASS``, ``.. metrics:: MODULE:FAMILIES``
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from framework.runtime.telemetry.families import Family

_TYPES = {"int": "whole number", "float": "number", "str": "text", "dict[str, int]": "whole numbers by name"}


class _Directive(SphinxDirective):
    """Replaced by a table."""

    required_arguments = 1

    def lines(self, told: Any) -> Iterator[str]:
        """reStructuredText for what the argument names."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        found = importlib.import_module(module)
        self.env.note_dependency(str(found.__file__))
        lines = list(self.lines(getattr(found, name)))
        return self.parse_text_to_nodes(StringList(lines, source=str(found.__file__)))


class RecordsDirective(_Directive):
    def lines(self, told: Any) -> Iterator[str]:
        return record_lines(told)


class MetricsDirective(_Directive):
    def lines(self, told: Any) -> Iterator[str]:
        return metric_lines(told)


def metric_lines(families: Iterable[Family]) -> Iterator[str]:
    """reStructuredText for them."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 44 12 16 28", "")
    yield from ("   * - metric", "     - kind", "     - labels", "     - what it is")
    for one in families:
        labels = ", ".join(f"``{label}``" for label in one.labels)
        told = one.help.replace("`", "``")
        yield from (f"   * - ``{one.name}``", f"     - {one.kind}", f"     - {labels}", f"     - {told}")


def record_lines(record: type[Any]) -> Iterator[str]:
    """reStructuredText for one of them."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 22 22 56", "")
    yield from ("   * - field", "     - type", "     - what it is")
    for name, type_, comment in fields(record):
        yield from (f"   * - ``{name}``", f"     - {_shown(type_)}", f"     - {comment}")


def fields(record: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Name, type and comment of each, as they stand in its source."""
    text = Path(inspect.getfile(record)).read_text().splitlines()
    module = ast.parse("\n".join(text))
    [source] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == record.__name__]
    for node in source.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comment = text[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].partition("# ")[2]
            yield node.target.id, ast.unparse(node.annotation), comment


def _shown(type_: str) -> str:
    plain = type_.removesuffix(" | None")
    return _TYPES[plain] + (", or absent" if plain != type_ else "")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("records", RecordsDirective)
    app.add_directive("metrics", MetricsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
