"""``butlery telemetry dashboards``: the files that Grafana, Kibana and Prometheus import."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from framework.cli.output import print_line, printable
from framework.errors import ButleryError, Fault, InputError
from framework.local.files import write_whole
from framework.telemetry.records import Kind
from framework.telemetry_settings import Prefix

FILES = resources.files("framework") / "dashboards"
"""As they are with the default prefix."""
PATTERNS = {f"butlery-{kind.value}": kind for kind in Kind}
"""Ids of Kibana's index patterns, whose titles alone name our indices."""


def dashboards(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made where there is none.")],
    prefix: Annotated[str, typer.Option(help="The settings' telemetry.elasticsearch.prefix.")] = "butlery",
) -> None:
    """Write Grafana's dashboards, Kibana's saved objects and Prometheus' alerts into a directory, to import."""
    try:
        TypeAdapter(Prefix).validate_python(prefix)
    except ValidationError as error:
        raise InputError([Fault("--prefix", str(error.errors()[0]["ctx"]["error"]))]) from error
    try:
        for path in written(directory, prefix):
            print_line(printable(str(path)))
    except OSError as error:
        raise ButleryError(
            f"{printable(str(error.filename or directory))} cannot be written: {error.strerror}"
        ) from error


def written(directory: Path, prefix: str) -> list[Path]:
    """Writes them all, over what is there of these names. Raises OSError."""
    paths = []
    for room in sorted(FILES.iterdir(), key=lambda one: one.name):
        for file in sorted(room.iterdir(), key=lambda one: one.name):
            path = directory / room.name / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text("utf-8")
            write_whole(path, _of_prefix(text, prefix) if path.suffix == ".ndjson" else text)
            paths.append(path)
    return paths


def _of_prefix(objects: str, prefix: str) -> str:
    lines = []
    for line in objects.splitlines():
        one = json.loads(line)
        if one["type"] == "index-pattern":
            one["attributes"]["title"] = f"{prefix}-{PATTERNS[one['id']].value}"
        lines.append(json.dumps(one, ensure_ascii=False) + "\n")
    return "".join(lines)
