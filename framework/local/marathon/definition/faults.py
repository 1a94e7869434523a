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
