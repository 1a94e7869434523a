"""What is wrong with a document, in Marathon's own words."""

from __future__ import annotations

import msgspec

from framework.errors import ButleryError


class Detail(msgspec.Struct, frozen=True):
    """``path`` such as ``/healthChecks(0)/path``, ``/`` for the whole."""

    path: str
    errors: list[str]


class InvalidJsonError(ButleryError):
    """400: not JSON, or a value of the wrong kind."""

    def __init__(self, message: str, details: list[Detail] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidObjectError(ButleryError):
    """422: a rule is broken; all that are, at once."""

    message = "Object is not valid"

    def __init__(self, details: list[Detail]) -> None:
        super().__init__("; ".join(f"{one.path}: {', '.join(one.errors)}" for one in details))
        self.details = details


MOST = 1000
"""Paths that are told of at once, so that no answer grows without end."""


class Faults:
    """Gathers all that is wrong with one document, in the order it was found."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}
        self._rules: dict[str, list[str]] = {}
        self._unusable = False

    def kind(self, at: str, error: str) -> None:
        """A value of the wrong kind, or a missing one. ``at``: its path, empty for the whole."""
        _add(self._kinds, at, error)

    def rule(self, at: str, error: str) -> None:
        """A rule that the value at this path breaks."""
        _add(self._rules, at, error)

    def unknown(self, at: str, error: str) -> None:
        """As ``rule``, of a value that means nothing, so that rules on what goes with it cannot be told of."""
        self._unusable = True
        self.rule(at, error)

    def unless(self, holds: bool, at: str, error: str) -> None:
        if not holds:
            self.rule(at, error)

    def take(self, below: Faults, at: str) -> None:
        """The broken rules of a document inside this one, which is at this path."""
        for path, errors in below._rules.items():
            for error in errors:
                self.rule(at if path == "/" else at + path, error)

    def raise_kinds(self) -> None:
        """Raises InvalidJsonError where a value was of the wrong kind, InvalidObjectError where one means nothing."""
        if self._kinds:
            raise InvalidJsonError("Invalid JSON", _details(self._kinds))
        if self._unusable:
            self.raise_rules()

    def raise_rules(self) -> None:
        """Raises InvalidObjectError where a rule was broken."""
        if self._rules:
            raise InvalidObjectError(_details(self._rules))


def _add(found: dict[str, list[str]], at: str, error: str) -> None:
    if len(found) >= MOST:
        return
    errors = found.setdefault(at or "/", [])
    if error not in errors:
        errors.append(error)


def _details(found: dict[str, list[str]]) -> list[Detail]:
    return [Detail(path, errors) for path, errors in found.items()]
