"""One tenant's Jenkins, asked at its direct address with the API token that it handed over.

An API token needs no crumb. What does not come from Jenkins itself has no ``X-Jenkins`` header: its page while it
starts, a proxy's, another program's that has its port now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

import framework
from framework.errors import ButleryError, UnavailableError
from masters.ports import Activity, Backup, MasterAccess

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
"""Between two pieces of an answer. A Jenkins with a full heap stands still for seconds while it collects garbage."""
MAX_BODY_BYTES = 8 << 20
"""Of an answer: 10,000 items of a queue, asked for as here, are 0.5 MB."""
_COMPUTERS = "/computer/api/json?tree=computer[executors[idle],oneOffExecutors[idle]]"
_QUEUE = "/queue/api/json?tree=items[id]"


class JenkinsError(ButleryError):
    """A master does not do what it was asked, and will not by asking again."""


class JenkinsMaster:
    """``masters.ports.Jenkins``. Safe to use from many threads: each call has a connection of its own."""

    def __init__(self, tenant: str, url: str, access: MasterAccess) -> None:
        """``url`` is the master's own, not the ingress': ``http://HOST:PORT`` and its path prefix."""
        self._tenant = tenant
        self._url = url.rstrip("/")
        self._auth = HTTPBasicAuth(access.user, access.token)

    def activity(self) -> Activity:
        """Pipelines count as running though they wait for an agent; their part that waits is queued."""
        computers = self._read(_COMPUTERS)
        top = self._read("/api/json?tree=quietingDown")
        queue = self._read(_QUEUE)
        try:
            busy = sum(
                not place["idle"]
                for computer in computers["computer"]
                for place in (*computer["executors"], *computer["oneOffExecutors"])
            )
            return Activity(busy, len(queue["items"]), bool(top["quietingDown"]))
        except (KeyError, TypeError) as error:
            raise self._not_jenkins(_COMPUTERS, "it lacks what Jenkins tells there") from error

    def quiet_down(self, on: bool) -> None:
        self._call("POST", "/quietDown" if on else "/cancelQuietDown")

    def backup(self, name: str) -> None:
        self._call("POST", "/butlery/backup", {"name": name})

    def backups(self) -> list[Backup]:
        path = "/butlery/backups"
        try:
            return [
                Backup(str(each["name"]), str(each["state"]), int(each["bytes"]), str(each["message"]))
                for each in self._read(path)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_jenkins(path, "it is not the list that Butlery's init script makes") from error

    def _read(self, path: str) -> Any:
        body = self._call("GET", path)
        try:
            return json.loads(body)
        except ValueError as error:
            raise self._not_jenkins(path, "it is not JSON") from error

    def _call(self, method: str, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The answer's body. Raises UnavailableError where a retry can help, else JenkinsError."""
        named = path.partition("?")[0]
        try:
            with requests.Session() as session:
                session.trust_env = False  # neither a proxy nor ~/.netrc is meant for masters
                session.auth = self._auth
                session.headers["User-Agent"] = f"butlery/{framework.__version__}"
                with session.request(
                    method,
                    self._url + path,
                    params=params,
                    timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    self._check(response, named)
                    return self._body(response, named)
        except requests.exceptions.Timeout as error:
            raise UnavailableError(f"{self._tenant}: its master at {self._url} did not answer in time") from error
        except requests.exceptions.RequestException as error:
            text = f"{self._tenant}: its master at {self._url} cannot be reached"
            raise UnavailableError(f"{text} ({type(error).__name__})") from error

    def _body(self, response: requests.Response, named: str) -> bytes:
        body = bytearray()
        for piece in response.iter_content(1 << 16):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise self._not_jenkins(named, f"it is longer than {MAX_BODY_BYTES >> 20} MiB")
        return bytes(body)

    def _check(self, response: requests.Response, named: str) -> None:
        status = response.status_code
        if status in (502, 503, 504):
            raise UnavailableError(f"{self._tenant}: its master at {self._url} is starting or stopping ({status})")
        if status in (401, 403):
            raise JenkinsError(
                f"{self._tenant}: its master refuses the token that it handed over, for {named} ({status}); "
                "restart it, so that it hands over another"
            )
        if status == 404 and named.startswith("/butlery/"):
            raise JenkinsError(f"{self._tenant}: its master has no {named}; it runs without Butlery's init scripts")
        unmarked = response.is_redirect or named.startswith("/butlery/")  # of redirects it marks only some
        if "X-Jenkins" not in response.headers and not unmarked:
            raise self._not_jenkins(named, "it is no Jenkins that answers there")
        if status >= 500:
            raise UnavailableError(f"{self._tenant}: its master failed at {named} ({status})")
        if status >= 400:
            reason = " ".join(response.headers.get("X-Error", "").split())[:200]
            raise JenkinsError(
                f"{self._tenant}: its master refused {named} ({status}{f': {reason}' if reason else ''})"
            )

    def _not_jenkins(self, path: str, reason: str) -> UnavailableError:
        """Its port may be another program's for the moment in which it moves; so a retry can help."""
        named = path.partition("?")[0]
        return UnavailableError(f"{self._tenant}: the answer of {self._url}{named} cannot be taken: {reason}")
