"""Label expressions: ``a && (b || !c)``, ``a -> b``, ``a <-> b``, names in quotes."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_TOKEN = re.compile(r'\s*(&&|\|\||<->|->|[!()]|"(?:[^"\\]|\\.)*"|(?:[^\s&|!()<>"-]|-(?!>))+)')
_PLAIN = re.compile(r'[^\s&|!()<>"]+')


@dataclass(frozen=True, slots=True)
class Label:
    """``expression`` is as Jenkins prints it: without blanks but in names."""

    expression: str
    matches: Callable[[AbstractSet[str]], bool]


class LabelSyntaxError(ValueError):
    """It is no label expression."""


def parse(text: str) -> Label:
    """Raises LabelSyntaxError."""
    tokens: list[str] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise LabelSyntaxError(text)
        tokens.append(found[1])
        at = found.end()
    label, rest = _binary(tokens, 0)
    if rest:
        raise LabelSyntaxError(text)
    return label


def taken(text: str) -> Label:
    """Of what a job or a Pipeline names: Jenkins takes what is no expression as one name, which no node has."""
    try:
        return parse(text)
    except LabelSyntaxError:
        return atom(text)


def atom(name: str) -> Label:
    """The label of that very name."""
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return Label(name if _PLAIN.fullmatch(name) else f'"{quoted}"', lambda names: name in names)


_Meaning = Callable[[bool, bool], bool]
_OPERATORS: tuple[tuple[str, _Meaning], ...] = (  # from the one that binds least
    ("<->", lambda a, b: a == b),
    ("->", lambda a, b: b or not a),
    ("||", lambda a, b: a or b),
    ("&&", lambda a, b: a and b),
)


def _binary(tokens: list[str], level: int) -> tuple[Label, list[str]]:
    if level == len(_OPERATORS):
        return _unary(tokens)
    sign, meaning = _OPERATORS[level]
    left, tokens = _binary(tokens, level + 1)
    while tokens and tokens[0] == sign:
        right, tokens = _binary(tokens[1:], level + 1)
        left = _joined(left, right, sign, meaning)
    return left, tokens


def _joined(left: Label, right: Label, sign: str, meaning: _Meaning) -> Label:
    return Label(
        f"{left.expression}{sign}{right.expression}", lambda names: meaning(left.matches(names), right.matches(names))
    )


def _unary(tokens: list[str]) -> tuple[Label, list[str]]:
    if not tokens:
        raise LabelSyntaxError("a label is missing")
    head, rest = tokens[0], tokens[1:]
    if head == "!":
        inner, rest = _unary(rest)
        return Label(f"!{inner.expression}", lambda names: not inner.matches(names)), rest
    if head == "(":
        inner, rest = _binary(rest, 0)
        if not rest or rest[0] != ")":
            raise LabelSyntaxError("a ) is missing")
        return Label(f"({inner.expression})", inner.matches), rest[1:]
    if head in ("&&", "||", "<->", "->", ")"):
        raise LabelSyntaxError(f"{head} is no label")
    return atom(re.sub(r"\\(.)", r"\1", head[1:-1]) if head[0] == '"' else head), rest
