"""What templates inherit, merged before it is checked, with the place of every value kept.

Each ancestor counts once, ahead of those that inherit from it; of several parents the later go before the earlier.
Mappings are merged key by key, and ``null`` takes away what was inherited. Lists are replaced, but ``containers`` are
merged by ``name`` and ``volumes`` by ``path``, where ``remove: true`` takes one away.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from framework.documents import Document, KeyPath, dotted
from framework.errors import Fault

SECTION = "templates"
NOT_INHERITED = ("inherit_from", "abstract", "labels", "default", "spares")
MERGED_BY = {"containers": "name", "volumes": "path"}
MAX_STEPS = 50
"""From a template to its farthest ancestor; people lose their way after three."""


class _Placed(NamedTuple):
    """A value and where it was written; those inside of it are placed too."""

    value: Any
    source: str
    line: int


def merge(documents: Mapping[str, Document]) -> tuple[dict[str, Document], list[Fault]]:
    """Each template with all that it inherits, ancestors first, and what is wrong with what they inherit.

    ``documents`` has each by its name, at ``templates.NAME``; so have those that are returned. What is wrong is left
    out of them, so that they can be checked for all else.
    """
    lines = _Lines(documents)
    faults = lines.faults
    merged: dict[str, Document] = {}
    for name, line in lines.of.items():
        whole = _Placed({}, documents[name].source, documents[name].lines.get((SECTION, name), 1))
        for ancestor in line:
            own = _own(documents[ancestor], ancestor, inherited=ancestor != name)
            here = faults if ancestor == name else []  # an ancestor's are told as its own
            whole = whole._replace(value=_over(whole, own, (SECTION, ancestor), here).value)
        merged[name] = _flat(name, documents[name].source, whole)
    return merged, faults


class _Lines:
    """Of each template the names of its ancestors, those before it that it inherits from, and its own."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.of: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self._steps: dict[str, int] = {}
        self._documents = documents
        self._above: list[str] = []
        for name in documents:
            self._follow(name)

    def _follow(self, name: str) -> None:
        if name in self.of:
            return
        self._above.append(name)
        line: dict[str, None] = {}
        steps = 0
        for parent, path in _parents(self._documents[name], name):
            problem = self._problem(name, parent)
            if problem is None and parent not in self.of and len(self._above) <= MAX_STEPS:
                self._follow(parent)
            if problem is None and self._steps.get(parent, MAX_STEPS) >= MAX_STEPS:
                problem = f"makes more than {MAX_STEPS} templates inherit from one another"
            if problem is not None:
                self.faults.append(Fault(self._documents[name].where(path), problem))
                continue
            line |= dict.fromkeys(self.of[parent])
            steps = max(steps, self._steps[parent] + 1)
        self._above.pop()
        self.of[name] = [*line, name]
        self._steps[name] = steps

    def _problem(self, name: str, parent: str) -> str | None:
        if parent in self._above:
            cycle = [*self._above[self._above.index(parent) :], parent]
            return f"makes a circle: {' -> '.join(cycle)}"
        if parent in self._documents:
            return None
        near = difflib.get_close_matches(parent, [one for one in self._documents if one != name], n=1)
        return f"there is no template {parent}" + (f"; the nearest is {near[0]}" if near else "")


def _parents(document: Document, name: str) -> Iterator[tuple[str, KeyPath]]:
    """What is no name of a template is left to the check of the whole."""
    given = _data(document, name).get("inherit_from")
    path: KeyPath = (SECTION, name, "inherit_from")
    if isinstance(given, str):
        yield given, path
    elif isinstance(given, list):
        yield from ((one, (*path, index)) for index, one in enumerate(given) if isinstance(one, str))


def _data(document: Document, name: str) -> dict[str, Any]:
    data = document.data[SECTION][name]
    return data if isinstance(data, dict) else {}


def _own(document: Document, name: str, *, inherited: bool) -> _Placed:
    data = {key: value for key, value in _data(document, name).items() if not (inherited and key in NOT_INHERITED)}
    return _placed(data, document, (SECTION, name), 1)


def _placed(value: Any, document: Document, path: KeyPath, line: int) -> _Placed:
    line = document.lines.get(path, line)
    if isinstance(value, dict):
        value = {key: _placed(inner, document, (*path, key), line) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_placed(inner, document, (*path, index), line) for index, inner in enumerate(value)]
    return _Placed(value, document.source, line)


def _over(beneath: _Placed | None, own: _Placed, path: KeyPath, faults: list[Fault]) -> _Placed:
    if isinstance(own.value, dict):
        whole = dict(beneath.value) if beneath is not None and isinstance(beneath.value, dict) else {}
        for key, value in own.value.items():
            if value.value is None:
                whole.pop(key, None)
            else:
                whole[key] = _over(whole.get(key), value, (*path, key), faults)
        return own._replace(value=whole)
    if isinstance(own.value, list) and path[-1] in MERGED_BY:
        was = beneath.value if beneath is not None and isinstance(beneath.value, list) else []
        return own._replace(value=_joined(was, own.value, path, faults))
    return own


def _joined(beneath: list[_Placed], own: list[_Placed], path: KeyPath, faults: list[Fault]) -> list[_Placed]:
    """The inherited ones in their order, each changed by its namesake, then those that are new."""
    key = MERGED_BY[str(path[-1])]
    whole: dict[Any, _Placed] = {_named(one, key) or index: one for index, one in enumerate(beneath)}
    seen: set[str] = set()
    for index, one in enumerate(own):
        here = (*path, index)
        name = _named(one, key)
        if name is None:
            whole[len(beneath) + index] = one  # which the check of the whole refuses
            continue
        if name in seen:
            faults.append(_fault(one, here, f"stands twice: another has the {key} {name} too"))
        elif not _removes(one):
            whole[name] = _over(whole.get(name), one, here, faults)
        elif whole.pop(name, None) is None:
            faults.append(_fault(one, here, f"has nothing to remove: none with the {key} {name} is inherited"))
        seen.add(name)
    return list(whole.values())


def _named(one: _Placed, key: str) -> str | None:
    found = one.value.get(key) if isinstance(one.value, dict) else None
    return found.value if found is not None and isinstance(found.value, str) else None


def _removes(one: _Placed) -> bool:
    found = one.value.get("remove")
    return found is not None and found.value is True


def _fault(placed: _Placed, path: KeyPath, message: str) -> Fault:
    return Fault(f"{placed.source}:{placed.line} {dotted(path)}" if placed.source else dotted(path), message)


def _flat(name: str, source: str, whole: _Placed) -> Document:
    lines: dict[KeyPath, int] = {}
    origins: dict[KeyPath, str] = {}

    def plain(placed: _Placed, path: KeyPath) -> Any:
        lines[path] = placed.line
        if placed.source != source:
            origins[path] = placed.source
        if isinstance(placed.value, dict):
            return {key: plain(inner, (*path, key)) for key, inner in placed.value.items()}
        if isinstance(placed.value, list):
            return [plain(inner, (*path, index)) for index, inner in enumerate(placed.value)]
        return placed.value

    return Document(source, {SECTION: {name: plain(whole, (SECTION, name))}}, lines, origins)
