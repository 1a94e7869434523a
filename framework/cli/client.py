"""The API's client: every call has a timeout, and what may be tried again is, a few times."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import quote

import requests

import framework
from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.urls import is_loopback

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
"""Of one read of a call that does not wait by itself: ten times what a busy scheduler takes."""
RETRIES = 4
RETRY_BASE_S = 0.2
RETRY_CAP_S = 3.0
"""With the base and full jitter over the upper half, four retries take 2 to 3 s: a scheduler's restart."""
PATIENCE_S = 20.0
"""A call that took longer, and was not to wait, is not tried again: who asks would wait for minutes."""
_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}(\+\d{1,9})?\Z")
"""A job's, or that of a build which an agent of a pool served."""
_PASSING = frozenset((502, 503, 504))


class RefusedError(ButleryError):
    """The server does not do it and will not by asking again; holds its faults."""

    def __init__(self, status: int, detail: str, faults: list[Fault]) -> None:
        super().__init__(detail)
        self.status = status
        self.faults = faults


class _BearerAuth(requests.auth.AuthBase):
    """As requests' own ``auth``, since it would else put a password of ~/.netrc in the token's place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class ApiClient:
    """Asks one server with one token. ``server`` is its URL, without a path."""

    def __init__(self, server: str, token: str, told_by: str = "the token") -> None:
        """``told_by`` says where the token was found, for the one whose token is refused."""
        self.server = server.rstrip("/")
        self._told_by = told_by
        self._session = requests.Session()
        self._session.auth = _BearerAuth(token)
        self._session.headers["User-Agent"] = f"butlery/{framework.__version__}"
        self._session.trust_env = not is_loopback(self.server)  # a proxy would look for 127.0.0.1 on itself

    def get(self, path: str, params: Mapping[str, Any] | None = None, wait_s: float = 0) -> dict[str, Any]:
        """The answer's JSON object; ``wait_s`` is how long the server may wait by itself. Raises as ``call``."""
        return _object(self.call("GET", path, params=params, wait_s=wait_s))

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A call that changes something, such that a repeat changes nothing more. Raises as ``call``."""
        return _object(self.call(method, path, body=body, headers=headers))

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0,
        stream: bool = False,
    ) -> requests.Response:
        """One call, tried again where the server does not answer or says that it cannot now.

        Raises RefusedError, and UnavailableError where no retry helped.
        """
        given = dict(headers or {})
        sent = None
        if body is not None:
            sent = json.dumps(body)  # NaN included: the server names the field, as it does with other faults
            given["Content-Type"] = "application/json"
        attempt = 0
        give_up_at_s = time.monotonic() + PATIENCE_S if not wait_s else math.inf
        while True:
            try:
                with _told(self.server):
                    response = self._session.request(
                        method,
                        self.server + path,
                        params=params,
                        data=sent,
                        headers=given,
                        timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S + wait_s),
                        allow_redirects=False,
                        stream=stream,
                    )
                if response.ok and not response.is_redirect:
                    return response
                if response.status_code == 401:
                    message = f"the token from here is not, or no longer, valid at {self.server}; the administrator"
                    message += " draws another with `butlery tenants set NAME --new-token`"
                    raise RefusedError(401, "The token is refused.", [Fault(self._told_by, message)])
                raise _refusal(response)
            except UnavailableError:
                if attempt == RETRIES or time.monotonic() >= give_up_at_s:
                    raise
            ceiling = min(RETRY_CAP_S, RETRY_BASE_S * 2**attempt)
            time.sleep(random.uniform(ceiling / 2, ceiling))  # noqa: S311 jitter, no secret
            attempt += 1

    def chunks(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """The bytes of a file, as they come. Raises as ``call``, also where the answer ends too early."""
        with self.call("GET", path, params=params, stream=True) as response, _told(self.server):
            yield from response.iter_content(1 << 20)


def job_path(job_id: str, *rest: str) -> str:
    """The path of a job and what is below it. Raises InputError for an id that could lead elsewhere."""
    return _path("jobs", job_id, rest)


def build_path(build_id: str, *rest: str) -> str:
    """As ``job_path``, of a build."""
    return _path("builds", build_id, rest)


def _path(kind: str, job_id: str, rest: Sequence[str]) -> str:
    if not _ID.match(job_id):
        raise InputError([Fault("JOB", f"is no job's id; `butlery {kind} list` shows them")])
    return "/".join((f"/v1/{kind}", job_id, *(quote(part) for part in rest)))


@contextmanager
def _told(server: str) -> Iterator[None]:
    """requests' errors as UnavailableError, in words without its internals."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise UnavailableError(f"{server}: the server's certificate is not trusted: {_innermost(error)}") from error
    except requests.exceptions.ConnectTimeout as error:
        raise UnavailableError(f"{server} did not take the connection within {CONNECT_TIMEOUT_S:.0f} s") from error
    except requests.exceptions.Timeout as error:
        raise UnavailableError(f"{server} did not answer in time") from error
    except requests.exceptions.RequestException as error:
        raise UnavailableError(f"{server} cannot be reached: {_innermost(error)}") from error


def _innermost(error: BaseException) -> str:
    """What the system said, such as ``Connection refused``."""
    reason: BaseException | None = error
    while reason is not None:
        error, reason = reason, reason.__cause__ or reason.__context__
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _refusal(response: requests.Response) -> ButleryError:
    problem = _json(response)
    if not isinstance(problem, dict):
        problem = {}
    detail = str(problem.get("detail") or f"the server answered {response.status_code} {response.reason}")
    if response.status_code in _PASSING:
        return UnavailableError(detail)
    if response.status_code >= 500 and problem.get("instance"):
        detail += f" ({problem['instance']})"
    listed = problem.get("faults")
    faults = [
        Fault(str(fault.get("where", "")), str(fault.get("message", "")))
        for fault in (listed if isinstance(listed, list) else [])
        if isinstance(fault, dict)
    ]
    if not problem:
        detail += "; is it a Butlery scheduler?"
    return RefusedError(response.status_code, detail, faults)


def _object(response: requests.Response) -> dict[str, Any]:
    answer = _json(response)
    if not isinstance(answer, dict):
        raise RefusedError(response.status_code, "the answer is no JSON object; is it a Butlery scheduler?", [])
    return cast(dict[str, Any], answer)


def _json(response: requests.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None
