"""Label expressions of Jenkins 2.463: what takes them, what they mean, how Jenkins prints them.

The grammar is that of Jenkins' LabelExpressionParser.g4 and LabelExpressionLexer.g4: ``<->`` binds least, then ``->``
(of which no two stand side by side), ``||``, ``&&`` and ``!`` (before an atom or a parenthesis alone). An atom holds
neither blanks nor ``& | ! < > ( ) " '``, nor a ``-`` that a ``>`` follows; one in double quotes may hold them, escaped
by a backslash where that is needed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

MAX_CHARS: Final = 4096
"""Jenkins has no limit; nobody writes labels of that length by hand."""
MAX_DEPTH: Final = 50
"""Of parentheses in one another."""

_PLAIN = r"(?:[^&|!<>() \t\"'-]|-(?!>))+"
_QUOTED = r'"(?:\\[btnfr"\'\\]|[^\\"\r\n])*"'
_TOKEN = re.compile(rf"[ \t]*(?:(?P<sign>&&|\|\||<->|->|[!()])|(?P<plain>{_PLAIN})|(?P<quoted>{_QUOTED}))")
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}
_ESCAPED = {'"': '\\"', "\\": "\\\\", **{value: f"\\{name}" for name, value in _UNESCAPED.items()}}
_IN_QUOTES = re.compile(r"[?*/\\%!@#$^&|<>\[\]:;() \t\n\x00-\x1f\x7f-\x9f\"']")
"""Of ``Jenkins.checkGoodName`` and ``LabelAtom.escape``, by which names are printed in quotes; and quotes themselves,

which Jenkins prints as they are and could not read again.
"""

_Meaning = Callable[[AbstractSet[str]], bool]


class LabelSyntaxError(ValueError):
    """It is no label expression; the message says where."""


class Label:
    """A label expression that was understood."""

    __slots__ = ("_meaning", "atoms", "text")

    def __init__(self, text: str, atoms: tuple[str, ...], meaning: _Meaning) -> None:
        self.text = text
        """As Jenkins prints it, in which all blanks outside of quotes are gone."""
        self.atoms = atoms
        """In their order, each once."""
        self._meaning = meaning

    def matches(self, names: AbstractSet[str]) -> bool:
        """Whether a node with these labels is meant."""
        return self._meaning(names)

    def __repr__(self) -> str:
        return f"Label({self.text!r})"


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Label:
    """Raises LabelSyntaxError."""
    if len(text) > MAX_CHARS:
        raise LabelSyntaxError(f"it has more than {MAX_CHARS} characters")
    return _Parser(text).whole()


def quoted(atom: str) -> str:
    """A name as Jenkins prints it in an expression: in quotes where it holds what names seldom do."""
    if atom not in ("", ".", "..") and _IN_QUOTES.search(atom) is None:
        return atom
    return '"' + "".join(_ESCAPED.get(char, char) for char in atom) + '"'


class _Parser:
    """One pass over the tokens; each method takes what its rule does and returns what it means."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []  # kind or sign, atom, column from 1
        self._at = 0
        self._depth = 0
        self._printed: list[str] = []
        at = 0
        while text[at:].strip(" \t"):
            found = _TOKEN.match(text, at)
            if found is None:
                column = len(text) - len(text[at:].lstrip(" \t")) + 1
                raise LabelSyntaxError(f"column {column}: {_told(text[column - 1])} is not taken there")
            self._tokens.append(_token(found))
            at = found.end()

    def whole(self) -> Label:
        if not self._tokens:
            raise LabelSyntaxError("it is empty")
        meaning = self._iff()
        if self._at < len(self._tokens):
            raise self._unexpected("an operator such as && was to stand there")
        atoms = tuple(dict.fromkeys(atom for kind, atom, _ in self._tokens if kind == "atom"))
        return Label("".join(self._printed), atoms, meaning)

    def _iff(self) -> _Meaning:
        parts = [self._implies()]
        while self._took("<->"):
            parts.append(self._implies())
        return parts[0] if len(parts) == 1 else _equal(parts)

    def _implies(self) -> _Meaning:
        left = self._or()
        if not self._took("->"):
            return left
        found = _implied(left, self._or())
        if self._next() == "->":
            raise self._unexpected("`a -> b -> c` has two meanings, so put one `->` in parentheses")
        return found

    def _or(self) -> _Meaning:
        parts = [self._and()]
        while self._took("||"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else _any(parts)

    def _and(self) -> _Meaning:
        parts = [self._not()]
        while self._took("&&"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else _all(parts)

    def _not(self) -> _Meaning:
        return _no(self._one()) if self._took("!") else self._one()

    def _one(self) -> _Meaning:
        if self._took("("):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise LabelSyntaxError(f"it has more than {MAX_DEPTH} parentheses in one another")
            inner = self._iff()
            if not self._took(")"):
                raise self._unexpected("a `)` is missing")
            self._depth -= 1
            return inner
        if self._next() != "atom":
            raise self._unexpected("a label is missing")
        atom = self._tokens[self._at][1]
        self._at += 1
        self._printed.append(quoted(atom))
        return _has(atom)

    def _next(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _took(self, sign: str) -> bool:
        if self._next() != sign:
            return False
        self._at += 1
        self._printed.append(sign)
        return True

    def _unexpected(self, what: str) -> LabelSyntaxError:
        if self._at == len(self._tokens):
            return LabelSyntaxError(f"at its end {what}")
        kind, atom, column = self._tokens[self._at]
        return LabelSyntaxError(f"column {column}, at {_told(atom if kind == 'atom' else kind)}: {what}")


def _token(found: re.Match[str]) -> tuple[str, str, int]:
    kind = found.lastgroup or ""
    column = found.start(kind) + 1
    if kind == "sign":
        return found[kind], "", column
    return "atom", found[kind] if kind == "plain" else _unquoted(found[kind]), column


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[1]), text[1:-1])


def _told(text: str) -> str:
    return f"`{text[:40]}`" if text.isprintable() else repr(text[:40])


def _has(atom: str) -> _Meaning:
    return lambda names: atom in names


def _no(inner: _Meaning) -> _Meaning:
    return lambda names: not inner(names)


def _all(parts: list[_Meaning]) -> _Meaning:
    return lambda names: all(part(names) for part in parts)


def _any(parts: list[_Meaning]) -> _Meaning:
    return lambda names: any(part(names) for part in parts)


def _implied(left: _Meaning, right: _Meaning) -> _Meaning:
    return lambda names: right(names) or not left(names)


def _equal(parts: list[_Meaning]) -> _Meaning:
    """From the left: of two it is whether they are the same, of more whether an even number of them is false."""
    return lambda names: sum(not part(names) for part in parts) % 2 == 0
