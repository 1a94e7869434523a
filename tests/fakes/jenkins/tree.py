"""What of an object the REST API shows: by depth, or by a ``tree=`` expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Property(NamedTuple):
    """``visibility``: how deep below the asked for object it is still shown, counted from 1.

    ``inline``: what is in it counts as if it were of the object itself.
    """

    name: str
    visibility: int
    read: Callable[[Any], Any]
    inline: bool = False


class Kind(NamedTuple):
    """A class of objects, with what it shows, in order. ``tells_class``: False where Jenkins leaves ``_class`` out."""

    name: str
    properties: tuple[Property, ...]
    tells_class: bool = True


class Bean(NamedTuple):
    """An object as the API shows it."""

    kind: Kind
    subject: Any


class Pruner(Protocol):
    """Decides about the properties of one object, and what its value's own are decided by."""

    def below(self, prop: Property) -> Pruner | None: ...

    def cut(self, values: list[Any]) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Depth:
    """Shows what is visible ``least`` deep; the asked for object's is 1 less the ``depth`` asked for."""

    least: int

    def below(self, prop: Property) -> Depth | None:
        if prop.visibility < self.least:
            return None
        return self if prop.inline else Depth(self.least + 1)

    def cut(self, values: list[Any]) -> list[Any]:
        return values


@dataclass(slots=True)
class Tree:
    """Of ``a[b,c],d{0,5}``: what is named, and only that; ``*`` names all."""

    children: dict[str, Tree] = field(default_factory=dict)
    first: int | None = None
    end: int | None = None

    def below(self, prop: Property) -> Tree | None:
        return self.children.get(prop.name) or self.children.get("*")

    def cut(self, values: list[Any]) -> list[Any]:
        return values[self.first : self.end]


class TreeSyntaxError(ValueError):
    """The expression is none; the text says where."""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> Tree:
        tree = Tree()
        self._list(tree)
        if self._at < len(self._text):
            raise TreeSyntaxError(f"unexpected {self._text[self._at]!r} at {self._at}")
        return tree

    def _peek(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _take(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise TreeSyntaxError(f"expected {wanted!r} at {self._at}")
        self._at += 1

    def _list(self, tree: Tree) -> None:
        while True:
            name = self._word("[]{},")
            if not name:
                raise TreeSyntaxError(f"expected a name at {self._at}")
            child = tree.children.setdefault(name, Tree())
            if self._peek() == "[":
                self._at += 1
                self._list(child)
                self._take("]")
            if self._peek() == "{":
                self._at += 1
                self._range(child)
            if self._peek() != ",":
                return
            self._at += 1

    def _range(self, tree: Tree) -> None:
        low = self._number()
        if self._peek() == ",":
            self._at += 1
            tree.first, tree.end = low, self._number()
        elif low is not None:
            tree.first, tree.end = low, low + 1
        self._take("}")

    def _number(self) -> int | None:
        word = self._word("{},")
        if word and not word.isdecimal():
            raise TreeSyntaxError(f"{word!r} is no number")
        return int(word) if word else None

    def _word(self, ends: str) -> str:
        self._peek()
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in ends:
            self._at += 1
        return self._text[start : self._at].strip()


def pruner(tree: str | None, depth: str | None) -> Pruner:
    """Raises TreeSyntaxError."""
    if tree is not None:
        return _Parser(tree).whole()
    return Depth(1 - int(depth)) if depth and depth.isdecimal() else Depth(1)


def show(value: Any, by: Pruner) -> Any:
    """JSON of a value: plain ones as they are, beans as far as ``by`` lets them."""
    if isinstance(value, Bean):
        shown: dict[str, Any] = {"_class": value.kind.name} if value.kind.tells_class else {}
        for prop in value.kind.properties:
            below = by.below(prop)
            if below is not None:
                shown[prop.name] = show(prop.read(value.subject), below)
        return shown
    if isinstance(value, list):
        return [show(one, by) for one in by.cut(value)]
    if isinstance(value, Mapping):
        return {name: show(one, by) for name, one in value.items()}
    return value
