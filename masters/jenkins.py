"""One tenant's Jenkins, asked at its direct address with the API token that it handed over.

An API token needs no crumb. What does not come from Jenkins itself has no ``X-Jenkins`` header: its page while it
starts, a proxy's, another program's that has its port now. What does come may be whatever the tenant's people make of
their Jenkins; so it is bounded in time and size, and taken in the expected form only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
import requests
import urllib3
from requests.auth import HTTPBasicAuth

import framework
from framework.errors import ButleryError, UnavailableError
from masters.bounded import BoundedAdapter, CallBounds, within
from masters.ports import Activity, Backup, MasterAccess
from masters.records import prepared

T = TypeVar("T")
CONNECT_TIMEOUT_S = 3.0
CALL_TIMEOUT_S = 15.0
"""Of all of an answer. A Jenkins with a full heap stands still for seconds while it collects garbage."""
MAX_BODY_BYTES = 8 << 20
"""Of an answer: 10,000 items of a queue, asked for as here, are 0.5 MB."""
_COMPUTERS = "/computer/api/json?tree=computer[executors[idle],oneOffExecutors[idle]]"
_QUEUE = "/queue/api/json?tree=items[id]"
_BACKUP = "/butlery/backup"
MOST_BACKUPS = 3000
"""1000 are kept at most (``backup.keep``), and as many failures are told of."""
MOST_CHARS = 500
"""Of what is told of one."""


class _Place(msgspec.Struct):
    idle: bool


class _Computer(msgspec.Struct, rename="camel"):
    jenkins_executors: list[_Place] = msgspec.field(name="executors")
    one_off_executors: list[_Place]


@prepared
class _Computers(msgspec.Struct):
    computer: list[_Computer]


@prepared
class _Top(msgspec.Struct, rename="camel"):
    quieting_down: bool


@prepared
class _Queue(msgspec.Struct):
    items: list[msgspec.Raw]


@prepared
class _Backup(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")]
    state: Literal["running", "done", "failed"]
    bytes: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    message: str


_Backups = Annotated[list[_Backup], msgspec.Meta(max_length=MOST_BACKUPS)]


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
        computers = self._read(_COMPUTERS, _Computers).computer
        top = self._read("/api/json?tree=quietingDown", _Top)
        queue = self._read(_QUEUE, _Queue)
        places = (place for one in computers for place in (*one.jenkins_executors, *one.one_off_executors))
        return Activity(sum(not place.idle for place in places), len(queue.items), top.quieting_down)

    def quiet_down(self, on: bool) -> None:
        self._call("POST", "/quietDown" if on else "/cancelQuietDown")

    def backup(self, name: str) -> None:
        self._call("POST", _BACKUP, {"name": name})

    def backups(self) -> list[Backup]:
        found = {one.name: one for one in self._read("/butlery/backups", _Backups)}
        return [Backup(one.name, one.state, one.bytes, _line(one.message)) for one in found.values()]

    def _read(self, path: str, kind: type[T]) -> T:
        body = self._call("GET", path)
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            raise self._not_jenkins(path, f"it is not what Jenkins tells there ({error})") from error
        except (msgspec.DecodeError, RecursionError, ValueError) as error:  # the last where it is no UTF-8
            raise self._not_jenkins(path, "it is not JSON") from error

    def _call(self, method: str, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The answer's body. Raises UnavailableError where a retry can help, else JenkinsError."""
        named = path.partition("?")[0]
        who = f"{self._tenant}: its master at {self._url}"
        try:
            with requests.Session() as session, within(CallBounds(who, CALL_TIMEOUT_S, MAX_BODY_BYTES)):
                session.mount("http://", BoundedAdapter())
                session.trust_env = False  # neither a proxy nor ~/.netrc is meant for masters
                session.auth = self._auth
                session.headers["User-Agent"] = f"butlery/{framework.__version__}"
                session.headers["Accept-Encoding"] = "identity"
                with session.request(
                    method,
                    self._url + path,
                    params=params,
                    timeout=(CONNECT_TIMEOUT_S, CALL_TIMEOUT_S),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    self._check(response, named)
                    body: bytes = response.raw.read(decode_content=False)  # what is packed might be a bomb
                    return body
        except requests.exceptions.Timeout as error:
            raise UnavailableError(f"{who} did not answer in time") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(f"{who} cannot be reached ({type(error).__name__})") from error

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
        if status == 409 and named == _BACKUP:
            raise JenkinsError(f"{self._tenant}: another backup of its master runs, or it has no place for one")
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


def _line(text: str) -> str:
    """For people's terminals and the ledger."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[:MOST_CHARS]).split())
