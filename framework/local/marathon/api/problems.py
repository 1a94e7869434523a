"""What is answered where a request is not served: Marathon's words, its status, and no traceback."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence

import msgspec

from framework.errors import ButleryError
from framework.local.marathon.control import AppLockedError, TooManyDeploymentsError
from framework.local.marathon.definition.faults import Detail, InvalidJsonError, InvalidObjectError

RETRY_AFTER_S = 2
"""Told with every 503: a full disk or a lost lock is looked at again within a second or two."""

_log = logging.getLogger(__name__)


class RefusedError(ButleryError):
    """Ends a request with ``status`` and a JSON object of ``message`` and ``more``."""

    def __init__(
        self,
        status: int,
        message: str,
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = msgspec.json.encode({"message": message, **(more or {})})
        self.headers = dict(headers or {})


def unknown_app(app_id: str, version: str | None = None) -> RefusedError:
    return RefusedError(404, f"App '{app_id}' does not exist{f' in version {version}' if version else ''}")


def unknown_group(group_id: str, version: str | None = None) -> RefusedError:
    return RefusedError(404, f"Group '{group_id}' does not exist{f' in version {version}' if version else ''}")


def unknown_task(task_id: str) -> RefusedError:
    return RefusedError(404, f"Task '{task_id}' does not exist")


def bad_request(message: str) -> RefusedError:
    return RefusedError(400, message)


def internal(reference: str) -> RefusedError:
    return RefusedError(500, f"An internal error; the server's log has it under {reference}")


def refused_of(error: ButleryError) -> RefusedError:
    """How an error that was raised on purpose is told. What is no fault of the request goes to the log as well."""
    match error:
        case RefusedError():
            return error
        case InvalidJsonError():
            return RefusedError(400, error.message, {"details": _details(error.details)} if error.details else None)
        case InvalidObjectError():
            return RefusedError(422, error.message, {"details": _details(error.details)})
        case AppLockedError():
            return RefusedError(
                409,
                "App is locked by one or more deployments. Override with the option '?force=true'. "
                "View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
                {"deployments": [{"id": one} for one in error.deployment_ids]},
            )
        case TooManyDeploymentsError():
            return RefusedError(
                403,
                f"Max number of running deployments ({error.limit}) is achieved. Wait for existing deployments to "
                "complete or cancel one using force=true parameter. You can increase max deployment number by using "
                "--max_running_deployments parameter but be advised that this can have negative effects on the "
                "performance.",
            )
        case ButleryError() if error.retryable:
            return RefusedError(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            reference = uuid.uuid4().urn
            _log.error("internal error: %s", reference, exc_info=error)
            return internal(reference)


def _details(details: Sequence[Detail]) -> list[dict[str, object]]:
    return [{"path": one.path, "errors": one.errors} for one in details]
