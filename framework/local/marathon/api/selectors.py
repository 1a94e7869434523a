"""Which apps a client asks for: by id, command and label selectors.

The grammar of selectors, as Marathon documents it: ``query: selector {, selector}``. A selector is a label that must
exist, ``label == value``, ``label != value``, ``label in (value, ...)`` or ``label notin (value, ...)``; all of them
match only apps that have the label. Labels and values consist of ``-A-Za-z0-9_.``; any other character is written with
a backslash before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from framework.local.marathon.api.problems import RefusedError
from framework.local.marathon.definition.app import App

Selector: TypeAlias = Callable[[App], bool]

_TERM = re.compile(r"\s*((?:\\.|[-A-Za-z0-9_.])+)", re.DOTALL)
_EQUALITY = re.compile(r"\s*(==|!=)")
_SET = re.compile(r"\s*(in|notin)\s*\(")


def selector(cmd: str | None, app_id: str | None, label: str | None) -> Selector:
    """Raises RefusedError (422) where the label selectors cannot be read."""
    tests: list[Selector] = []
    if cmd is not None:
        tests.append(lambda app: app.cmd is not None and cmd.lower() in app.cmd.lower())
    if app_id is not None:
        tests.append(lambda app: app_id.lower() in app.id.lower())
    if label is not None:
        tests += label_selectors(label)
    return lambda app: all(test(app) for test in tests)


def label_selectors(query: str) -> list[Selector]:
    """Raises RefusedError (422). None in an empty query."""
    found: list[Selector] = []
    at = 0
    if not query.strip():
        return found
    while True:
        name, at = _term(query, at)
        test, at = _rest(query, at, name)
        found.append(test)
        at = _past_spaces(query, at)
        if at == len(query):
            return found
        at = _past(query, at, ",")


def _rest(query: str, at: int, name: str) -> tuple[Selector, int]:
    """What is asked of the label ``name``: what comes after it."""
    if equality := _EQUALITY.match(query, at):
        value, at = _term(query, equality.end())
        wanted = equality[1] == "=="
        return (lambda app: name in app.labels and (app.labels[name] == value) is wanted), at
    if among := _SET.match(query, at):
        values, at = _values(query, among.end())
        wanted = among[1] == "in"
        return (lambda app: name in app.labels and (app.labels[name] in values) is wanted), at
    return (lambda app: name in app.labels), at


def _values(query: str, at: int) -> tuple[frozenset[str], int]:
    """Up to the parenthesis that closes the set; it may be empty."""
    if query.startswith(")", _past_spaces(query, at)):
        return frozenset(), _past_spaces(query, at) + 1
    values = set()
    while True:
        value, at = _term(query, at)
        values.add(value)
        at = _past_spaces(query, at)
        if query.startswith(")", at):
            return frozenset(values), at + 1
        at = _past(query, at, ",")


def _term(query: str, at: int) -> tuple[str, int]:
    found = _TERM.match(query, at)
    if not found:
        raise _unreadable(query, _past_spaces(query, at), "a label or value of the characters -A-Za-z0-9_.")
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), found.end()


def _past(query: str, at: int, mark: str) -> int:
    if not query.startswith(mark, at):
        raise _unreadable(query, at, f"'{mark}'")
    return at + 1


def _past_spaces(query: str, at: int) -> int:
    while at < len(query) and query[at].isspace():
        at += 1
    return at


def _unreadable(query: str, at: int, expected: str) -> RefusedError:
    found = repr(query[at : at + 20]) if at < len(query) else "its end"
    return RefusedError(422, f"Couldn't parse query: {query}. Expected {expected} at position {at}, found {found}.")
