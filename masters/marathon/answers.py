"""What Marathon's answers mean: JSON of the expected form, or one of our errors in words. Pure."""

from __future__ import annotations

import http.client
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from framework.errors import ButleryError, Fault, UnavailableError
from masters.errors import CredentialsError, MarathonError, MarathonRefusedError
from masters.records import prepared

T = TypeVar("T")
MOST_FAULTS = 100
MOST_CHARS = 400
"""Of each text that is quoted."""
_PASSING = frozenset((408, 425, 429))
"""Told by proxies in front of it; Marathon itself answers 5xx where a retry can help."""


class NotThereError(MarathonError):
    """404, in Marathon's own words."""


class ConflictError(MarathonError):
    """409 that no deployment is the reason of: such an app is there already, or a group."""


class LockedError(ButleryError):
    """409: ``deployments`` are changing the app."""

    retryable = True

    def __init__(self, deployments: tuple[str, ...]) -> None:
        super().__init__(f"locked by {', '.join(deployments) or 'a deployment'}")
        self.deployments = deployments


class CrowdedError(ButleryError):
    """403: as many deployments run as Marathon lets run at once, of all its clients."""

    retryable = True


@prepared
class _Problem(msgspec.Struct):
    """The JSON of a refusal; details and deployments are as they were in several versions of Marathon."""

    message: str = ""
    details: Any = None
    deployments: Any = None


def decoded(body: bytes, kind: type[T], who: str, what: str) -> T:
    """``what`` that ``who`` answered. Raises UnavailableError where it is not of the kind that a Marathon answers."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise UnavailableError(f"{who} answered {what} that is none ({error}); is it a Marathon?") from error
    except (msgspec.DecodeError, ValueError) as error:  # the latter where it is no UTF-8
        raise UnavailableError(f"{who} answered {what} that is no JSON, or a part of it{_begin(body)}") from error


def refusal(status: int, kind: str, body: bytes, who: str, what: str) -> ButleryError:
    """The error of an answer that is not 2xx. ``kind``: its Content-Type; ``what`` was asked, such as ``PUT /v2/apps``.

    What is not in Marathon's own form is not Marathon's own word: somebody before it may have answered, so that a 404
    does not mean that there is no such app.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsError(
            f"{who} does not take our user and password; masters.marathon_credentials_file names theirs"
        )
    problem = _problem(kind, body)
    told = f"{who} answered {status} {_phrase(status)} to {what}"
    if problem is None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # a page of its web server, as where no leader is elected
            return UnavailableError(told)
        return UnavailableError(f"{told}, not as a Marathon would{_begin(body)}")
    words = _short(problem.message)
    if status == HTTPStatus.FORBIDDEN and "running deployments" in words:
        return CrowdedError(f"{who}: {words}")
    if status == HTTPStatus.FORBIDDEN:
        return MarathonError(f"{who} does not let this user do {what}: {words}")
    if status == HTTPStatus.CONFLICT:
        locking = _ids(problem.deployments)
        return LockedError(locking) if locking or "locked" in words else ConflictError(words)
    if status == HTTPStatus.NOT_FOUND:
        return NotThereError(words)
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        faults = _faults(problem)
        listed = "; ".join(f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in faults)
        return MarathonRefusedError(f"Marathon refuses it: {listed}", faults)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return UnavailableError(f"{told}: {words}")
    return MarathonError(f"{told}: {words}")


def _problem(kind: str, body: bytes) -> _Problem | None:
    if not body or "json" not in kind:
        return None
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, ValueError):
        return None
    return problem if problem.message else None


def _ids(deployments: Any) -> tuple[str, ...]:
    """``[{"id": ..}]``; versions before 0.8 had the ids alone."""
    if not isinstance(deployments, list):
        return ()
    found = (one.get("id") if isinstance(one, dict) else one for one in deployments)
    return tuple(one for one in found if isinstance(one, str))


def _faults(problem: _Problem) -> list[Fault]:
    """``[{"path": .., "errors": [..]}]``; older ones said ``attribute`` and ``error``."""
    found: list[Fault] = []
    for detail in problem.details if isinstance(problem.details, list) else []:
        if not isinstance(detail, dict):
            continue
        errors = detail.get("errors", detail.get("error", ""))
        words = "; ".join(map(str, errors)) if isinstance(errors, list) else str(errors)
        found.append(Fault(_short(str(detail.get("path", detail.get("attribute", "")))), _short(words)))
    return found[:MOST_FAULTS] or [Fault("", _short(problem.message))]


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "")


def _begin(body: bytes) -> str:
    """How a body begins that we did not expect, for the one who looks who it is that answers there."""
    if not body:
        return " (nothing at all)"
    return f" (it begins {_short(body[:60].decode('utf-8', 'replace'))!r})"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MOST_CHARS else f"{flat[:MOST_CHARS]}..."
