"""YAML files that people write: read with the line of every value kept, checked against a pydantic model, and told with
every fault at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.constructor import SafeConstructor

from framework.errors import Fault, InputError
from framework.wording import complaint

MAX_BYTES = 1 << 20
"""Of one file. A thousand times what people write by hand, and little enough to read at once."""
MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Of one file, aliases counted each time they are used, so that nested aliases cannot grow without bound."""
_LIBYAML_MAX_CHARS = 64 << 10
_LIBYAML_MAX_OPENED = 2000
"""Each of these characters may open one level, and so may indentation, of which 64 KiB hold 360. PyYAML's binding takes
290 bytes of the C stack for each, and the smallest stacks of threads have 1 MiB."""

Key = str | int
KeyPath = tuple[Key, ...]
Checked = TypeVar("Checked", bound=BaseModel)

_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq"))
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class DocumentModel(BaseModel):
    """Base of what is read from YAML: unknown keys, texts for numbers, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Document(NamedTuple):
    """A YAML file as plain values, and the line (from 1) on which each of its keys and items stands.

    ``origins``: the file of those keys that came from another one than ``source``.
    """

    source: str
    data: Any
    lines: Mapping[KeyPath, int]
    origins: Mapping[KeyPath, str] = MappingProxyType({})

    def where(self, path: KeyPath) -> str:
        """The place of ``path``, such as ``butlery.yaml:7 hosts[2].mem_mib``; of its parent where it is missing."""
        shown = dotted(path)
        while path and path not in self.lines:
            path = path[:-1]
        source, line = self.origins.get(path, self.source), self.lines.get(path, 1)
        return f"{source}:{line} {shown}".rstrip() if source else shown


def dotted(path: KeyPath) -> str:
    """``("hosts", 2, "mem_mib")`` as ``hosts[2].mem_mib``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def read_document(path: Path) -> Document:
    """Reads a YAML file of at most ``MAX_BYTES``. Raises InputError with every fault of its syntax."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError([Fault(str(path), f"cannot be read: {error.strerror or error}")]) from error
    except ValueError as error:  # NUL in the name
        raise InputError([Fault(repr(str(path)), f"is no file name: {error}")]) from error
    if len(raw) > MAX_BYTES:
        raise InputError([Fault(str(path), f"is larger than {MAX_BYTES >> 10} KiB; is it the right file?")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError([Fault(f"{path}:{line}", "is not UTF-8 text")]) from error
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # which JSON may be indented by, and has in no text
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> Document:
    """Parses one YAML document; an empty one is an empty mapping. Raises InputError as ``read_document``."""
    try:
        root = _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = "; ".join(part for part in (error.context, error.problem) if part)
        hint = "; indent with spaces, not tabs" if "\\t" in what else ""
        hint += "; put text with `{` in it in quotes" if what.endswith("got '{'") else ""
        raise InputError([Fault(f"{source}:{line}", f"is not YAML: {what}{hint}")]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError([Fault(f"{source}:{line}", "holds a control character that YAML does not allow")]) from error
    except RecursionError as error:
        raise InputError([Fault(source, f"is nested deeper than {MAX_DEPTH} levels")]) from error
    if root is None:
        return Document(source, {}, {})
    reader = _Reader(source)
    data = reader.value(root, (), frozenset())
    if reader.faults:
        raise InputError(reader.faults)
    return Document(source, {} if data is None else data, reader.lines)


def _composed(text: str) -> yaml.Node | None:
    """By libyaml, which takes a tenth of the time, where that is there, can recurse no deeper than a small C stack

    holds, and has no complaint; else, and for the words of every complaint, by PyYAML's own parser.
    """
    loader = getattr(yaml, "CSafeLoader", None)
    if loader is not None and len(text) <= _LIBYAML_MAX_CHARS and sum(map(text.count, "[{-?")) <= _LIBYAML_MAX_OPENED:
        try:
            return yaml.compose(text, Loader=loader)
        except yaml.YAMLError:
            pass
    return yaml.compose(text, Loader=yaml.SafeLoader)


class _Reader:
    """Turns YAML nodes into plain values and notes lines and faults on the way."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[Fault] = []
        self._constructor = SafeConstructor()
        self._values = 0

    def value(self, node: yaml.Node, path: KeyPath, above: frozenset[int]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._values += 1
        if self._values > MAX_VALUES:
            if self._values == MAX_VALUES + 1:
                self._fault(node, path, f"the file holds more than {MAX_VALUES} values (aliases counted each time)")
            return None
        if id(node) in above:
            return self._fault(node, path, "is an alias of something that contains it")
        if len(path) > MAX_DEPTH:
            return self._fault(node, path, f"is nested deeper than {MAX_DEPTH} levels")
        if node.tag not in _TAGS and node.tag != _TIMESTAMP:
            return self._fault(node, path, f"has the tag {node.tag}, which is not taken here")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above | {id(node)})
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), above | {id(node)}) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, above: frozenset[int]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, path, "a key must be plain text")
                continue
            key = self._text(key_node, path)  # as written, so that `no:` and `1:` are the names that a person reads
            here = (*path, key)
            if key in values:
                self._fault(key_node, here, f"stands twice; first on line {self.lines[here]}")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, here, above)
        return values

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = self._text(node, path)
        if node.tag.endswith(":str"):
            return text
        if node.tag.endswith((":map", ":seq")):
            return self._fault(node, path, f"is nothing that its tag {node.tag} is of")
        if node.tag == _TIMESTAMP or (node.tag.endswith((":int", ":float")) and ":" in text):
            return text  # YAML 1.1 would make a date of 2024-01-01 and 5400 of 1:30:00
        try:
            return self._constructor.construct_object(node)
        except ValueError:
            return self._fault(node, path, "is not a number that can be read")
        except (KeyError, IndexError, yaml.YAMLError):
            return self._fault(node, path, f"is nothing that its tag {node.tag} is of")

    def _text(self, node: yaml.Node, path: KeyPath) -> str:
        """With the two halves of a character that JSON writes as two escapes made one."""
        text = str(node.value)
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fault(node, path, "holds the escape of half a character")
            return ""

    def _fault(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        where = f"{self.source}:{node.start_mark.line + 1} {dotted(path)}".rstrip()
        self.faults.append(Fault(where, message))


def check(
    document: Document, model: type[Checked], under: KeyPath = (), context: Mapping[str, Any] | None = None
) -> Checked:
    """The part of the document at ``under`` (all of it by default; where there is none, an empty mapping) as ``model``.

    Raises InputError with every fault, each with its line, key path and, for an unknown key, the nearest known one.
    """
    data = document.data
    for key in under:
        data = data.get(key) if isinstance(data, dict) else None
    try:
        return model.model_validate({} if data is None else data, context=dict(context or {}))
    except ValidationError as error:
        raise InputError(_faults(document, model, under, error)) from error


def _faults(document: Document, model: type[BaseModel], under: KeyPath, error: ValidationError) -> list[Fault]:
    found: list[tuple[KeyPath, str, str]] = []
    for detail in error.errors(include_url=False):
        kind = detail["type"]
        path = _path(document, under, detail["loc"], missing=kind == "missing")
        message = _unknown_key(model, path[len(under) :]) if kind == "extra_forbidden" else _message(detail)
        found.append((path, kind, message))
    inner = {path[:depth] for path, _, _ in found for depth in range(len(path))}
    # Of a union, the branches that the value was not meant for only say that it is of another type.
    kept = [(path, message) for path, kind, message in found if not (path in inner and kind.endswith("_type"))]
    kept.sort(key=lambda fault: document.lines.get(fault[0], document.lines.get(fault[0][:-1], 0)))
    return list(dict.fromkeys(Fault(document.where(path), message) for path, message in kept))


def _path(document: Document, under: KeyPath, loc: tuple[Key, ...], missing: bool) -> KeyPath:
    """A pydantic location as a key path: pydantic also names the branch of a union that it tried, which is left out."""
    path = under
    for index, key in enumerate(loc):
        step = (*path, key)
        if step in document.lines or (missing and index == len(loc) - 1):
            path = step
    return path


def _unknown_key(model: type[BaseModel], path: KeyPath) -> str:
    key = str(path[-1])
    known = sorted(_fields(model, path[:-1]))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if near:
        return f"unknown key; the nearest known one is `{near[0]}`"
    elsewhere = {name.rsplit(".", 1)[-1]: name for name in _leaves(model)}
    near = difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.8)
    if near:
        return f"unknown key here; the nearest known one is `{elsewhere[near[0]]}`"
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"unknown key; the nearest known one is `{nearest[0]}`" + (f" of {', '.join(known)}" if known[1:] else "")


def _fields(model: type[BaseModel], path: KeyPath) -> set[str]:
    """Names of the keys known at ``path``."""
    kinds: list[Any] = [model]
    for key in path:
        kinds = [inner for kind in kinds for inner in _below(kind, key)]
    return {name for kind in kinds for found in _models(kind) for name in found.model_fields}


def _below(annotation: Any, key: Key) -> list[Any]:
    """The annotations of what stands under ``key`` of a value of this annotation."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(key))
        return [field.annotation] if field else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return [arguments[1]]
    if origin in (list, tuple):
        return [arguments[0]]
    return [inner for argument in arguments for inner in _below(argument, key)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The model that an annotation is, or those of its union."""
    if _is_model(annotation):
        return [annotation]
    union = get_origin(annotation) in (Union, UnionType)
    return [model for argument in get_args(annotation) for model in _models(argument)] if union else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models(field.annotation):
            yield from _leaves(inner, f"{prefix}{name}.")


def _message(detail: Mapping[str, Any]) -> str:
    kind, given = str(detail["type"]), detail.get("input")
    return complaint(detail) + _given(kind, given) + _hint(kind, given)


def _given(kind: str, given: Any) -> str:
    if kind in ("missing", "value_error") or given is None or not isinstance(given, str | int | float):
        return ""
    try:
        text = repr(given)
    except ValueError:  # more digits than Python writes
        text = "a number of thousands of digits"
    return f", not {text if len(text) <= 40 else text[:37] + '...'}"


def _hint(kind: str, given: Any) -> str:
    if kind == "string_type" and isinstance(given, bool | int | float):
        return ": put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(given, str) and _is_number(given):
        return ": take the quotes away"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
